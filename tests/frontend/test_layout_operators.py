"""Operators that move data, wherever the batch dimension stands on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from float_models import randn
from torch import Tensor, nn
from torch.nn import functional

from qvit_hls.errors import QvitError
from qvit_hls.frontend.importer import import_module
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.passes.eliminate_dead import eliminate_dead


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> object:
        return self.function(x)


def imported(function: Callable[[Tensor], Tensor], *shape: int) -> Graph:
    """The graph of a function, which must compute the same for a batch that it was not traced with."""
    images = randn(3, *shape)
    graph = eliminate_dead(import_module(Function(function), images, "function"))
    assert torch.equal(graph(images), function(images))
    return graph


def problems_of(function: Callable[[Tensor], object], *shape: int) -> tuple[str, ...]:
    with pytest.raises(QvitError) as error:
        import_module(Function(function), randn(1, *shape), "function")
    return error.value.problems


def kinds(graph: Graph) -> set[str]:
    return {node.op.kind for node in graph}


def fused(x: Tensor) -> Tensor:
    """``[batch, 4, 12]`` as three times two heads of two channels, the three in front."""
    return x.reshape(len(x), 4, 3, 2, 2).permute(2, 0, 3, 1, 4)


PARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "unbind": lambda x: fused(x).unbind(0)[1],
    "select": lambda x: fused(x)[1],
    "negative select": lambda x: fused(x)[-2],
    "slice": lambda x: fused(x)[1:2].squeeze(0),
    "split": lambda x: fused(x).split(1)[1].squeeze(0),
    "chunk": lambda x: x.chunk(3, dim=-1)[1],
    "split with sizes": lambda x: x.split([2, 7, 3], dim=2)[1],
    "narrow": lambda x: x.narrow(2, 4, 4),
    "narrow of the batch in the middle": lambda x: fused(x).narrow(2, 1, 1)[0],
    "transposed twice": lambda x: x.transpose(0, 1)[1:3].transpose(1, 0),
    "reshaped behind the batch": lambda x: fused(x).flatten(2)[2],
    "reshaped before the batch": lambda x: fused(x)[None].flatten(0, 1)[0],
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_parts_of_a_value_are_slices(part: Callable[[Tensor], Tensor]) -> None:
    assert {"slice", "take_token"} & kinds(imported(part, 4, 12))


def heads_with_batch(x: Tensor) -> Tensor:
    """``[batch, tokens, 12] -> [batch * 3, tokens, 4]``, as ``torch.nn.MultiheadAttention`` has it."""
    return x.transpose(0, 1).reshape(x.shape[1], -1, 4).transpose(0, 1)


def heads_apart(x: Tensor) -> Tensor:
    """``heads_with_batch`` undone."""
    return x.transpose(0, 1).reshape(x.shape[1], -1, 12).transpose(0, 1)


MERGED: dict[str, Callable[[Tensor], Tensor]] = {
    "tokens and batch": lambda x: x.transpose(0, 1).reshape(-1, 12).relu().view(4, -1, 12).transpose(0, 1),
    "batch and tokens": lambda x: x.reshape(-1, 12).relu().view(-1, 4, 12),
    "batch and heads": lambda x: heads_apart(heads_with_batch(x).relu()),
    "all but channels, and apart again": lambda x: (
        x.view(-1, 2, 2, 12).transpose(0, 1).reshape(-1, 12).relu().view(2, -1, 24).transpose(0, 1).flatten(1)
    ),
    "merged and permuted": lambda x: (
        x.reshape(-1, 3, 4).permute(2, 0, 1).relu().permute(1, 2, 0).reshape(-1, 4, 12)
    ),
    "reshaped twice": lambda x: x.reshape(-1, 3, 4).relu().reshape(-1, 6).relu().reshape(-1, 2, 24),
}


@pytest.mark.parametrize("function", MERGED.values(), ids=MERGED)
def test_the_batch_may_be_one_dimension_with_others(function: Callable[[Tensor], Tensor]) -> None:
    assert "elementwise" in kinds(imported(function, 4, 12))


def test_several_tokens_are_a_slice_and_one_is_a_token() -> None:
    assert kinds(imported(lambda x: x[:, 1:].mean(1), 4, 6)) == {"input", "slice", "mean_tokens", "reshape"}
    assert kinds(imported(lambda x: x[:, 2], 4, 6)) == {"input", "take_token", "reshape"}


def test_stack_undoes_unbind() -> None:
    assert kinds(imported(lambda x: torch.stack(x.unbind(2), 2).relu(), 4, 3, 5)) == {"input", "elementwise"}
    assert kinds(imported(lambda x: torch.stack(x.unbind(1), 1).relu(), 4, 5)) == {"input", "elementwise"}


def test_stacked_single_tokens_are_a_sequence() -> None:
    graph = imported(lambda x: torch.stack((x[:, 2], x[:, 0]), 1), 4, 6)
    assert graph[graph.outputs[0]].op.kind == "concat_tokens"


def test_stacks_of_anything_else_are_refused() -> None:
    problems = problems_of(lambda x: torch.stack((x[:, 1:], x[:, :-1]), 1), 4, 6)
    assert problems[:-1] == (
        "the model itself: aten.stack.default is not supported of anything but single tokens, or of what was "
        "one value before.",
    )


def test_a_batch_dimension_that_goes_where_it_cannot_is_refused() -> None:
    assert problems_of(lambda x: x.transpose(0, 1), 4, 6)[:-1] == (
        "the model itself: the output's batch dimension is not in front.",
    )
    assert problems_of(lambda x: x.view(-1, 6).relu(), 4, 6)[:-1] == (
        "the model itself: the output's batch dimension is not in front.",
    )
    assert problems_of(lambda x: x.transpose(0, 1).reshape(-1, 6)[3:], 4, 6)[:-1] == (
        "the model itself: aten.slice.Tensor is not supported while the batch dimension is not in front.",
    )
    assert problems_of(lambda x: x.transpose(0, 2).softmax(-1), 4, 6)[:-1] == (
        "the model itself: aten.softmax.int is not supported over the batch dimension.",
    )
    assert problems_of(lambda x: x.view(-1).relu(), 3)[:-1] == (
        "the model itself: aten.relu.default is not supported along the batch dimension.",
    )
    operator = "the model itself: aten.matmul.default is not supported"
    assert problems_of(lambda x: x @ x.transpose(0, 1), 2, 3, 3)[:-1] == (
        f"{operator} of values with their batch dimensions in different places.",
    )
    assert problems_of(lambda x: x.view(3, -1).relu(), 4, 6)[:-1] == (
        "the model itself: aten.view.default is not supported where it moves or merges the batch dimension.",
    )
    assert problems_of(lambda x: x.unbind(0)[0], 4, 6)[0] == (
        "the model itself: aten.unbind.int is not supported over the batch dimension."
    )
    assert problems_of(lambda x: x[:, ::2], 4, 6)[:-1] == (
        "the model itself: aten.slice.Tensor is not supported with a step.",
    )


@pytest.mark.parametrize("shape", [(), (6,), (1, 6), (4, 6), (1, 4, 6), (4, 1)])
def test_constants_of_fewer_dimensions_are_added_as_in_torch(shape: tuple[int, ...]) -> None:
    constant = randn(*shape)
    imported(lambda x: x + constant, 4, 6)


def attention(x: Tensor, **options: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(x, x, x, **options)


def test_a_mask_that_hides_nothing_is_none() -> None:
    mask = torch.ones(4, 4, dtype=torch.bool)
    images = randn(3, 2, 4, 6)
    graph = import_module(Function(lambda x: attention(x, attn_mask=mask)), images, "masked")
    torch.testing.assert_close(graph(images), attention(images), rtol=1e-5, atol=1e-6)
    assert "add" not in kinds(graph)


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4), (1, 2, 4, 4), (1, 1, 4, 4), (1, 4)])
def test_a_bias_of_any_shape_that_broadcasts_is_added_to_the_scores(shape: tuple[int, ...]) -> None:
    bias, images = 3 * randn(*shape), randn(3, 2, 4, 6)
    graph = import_module(Function(lambda x: attention(x, attn_mask=bias)), images, "biased")
    expected = attention(images, attn_mask=bias)
    torch.testing.assert_close(graph(images), expected, rtol=1e-5, atol=1e-6)


def test_masks_that_hide_keys_or_depend_on_the_image_are_refused() -> None:
    operator = "the model itself: aten.scaled_dot_product_attention.default is not supported"
    mask = torch.ones(4, 4).tril().bool()
    assert problems_of(lambda x: attention(x, attn_mask=mask), 2, 4, 6)[:-1] == (
        f"{operator} with a mask that hides keys; only finite numbers can be added to scores.",
    )
    assert problems_of(lambda x: attention(x, attn_mask=x[:, :1, :, :4]), 2, 4, 6)[:-1] == (
        f"{operator} with a mask that depends on the input.",
    )


def test_random_numbers_are_refused() -> None:
    assert problems_of(lambda x: x + torch.rand(4), 4)[:-1] == (
        "the model itself: aten.rand.default is not supported, because it is random.",
    )


@dataclass
class Output:
    """What a classifier of transformers returns, without its library."""

    logits: Tensor
    hidden: None = None


def test_of_an_object_its_logits_are_taken() -> None:
    images = randn(3, 4)
    graph = import_module(Function(lambda x: Output(x.relu())), images, "object")
    assert torch.equal(graph(images), images.relu())


def test_an_object_without_logits_is_refused() -> None:
    assert problems_of(lambda x: (x, x), 4) == (
        "torch.export cannot trace the model: it returns a tuple; it must return a tensor or have logits",
    )
