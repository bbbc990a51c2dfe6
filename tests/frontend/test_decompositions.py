"""Operators in terms of others compute the same; where that is not possible, they are refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from test_layout_operators import Function, problems_of
from torch import Tensor
from torch.nn import functional

from qvit_hls.frontend.importer import import_module


def check(function: Callable[[Tensor], Tensor], *shape: int) -> None:
    """The graph must compute the function, also of a batch that it was not traced with."""
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    graph = import_module(Function(function), images, "function")
    torch.testing.assert_close(graph(images), function(images))


@pytest.mark.parametrize(
    "equation", ["bhid,bhjd->bhij", "b h i d, b h j d -> b h j i", "bhid,bhjd->bijh", "bhid,bhie->bhde"]
)
def test_a_product_in_the_notation_of_indices(equation: str) -> None:
    check(lambda x: torch.einsum(equation, x, x + 1), 2, 5, 4)


def test_a_product_with_a_constant_in_the_notation_of_indices() -> None:
    weight = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    check(lambda x: torch.einsum("bnc,co->bno", x, weight), 5, 6)


@pytest.mark.parametrize("equation", ["bii->bi", "bij->bj"])
def test_other_sums_of_indices_are_refused(equation: str) -> None:
    assert "is not supported" in problems_of(lambda x: torch.einsum(equation, x), 4, 4)[0]


def test_pooling_to_one_element_is_a_mean() -> None:
    check(lambda x: functional.adaptive_avg_pool1d(x, 1).flatten(1), 6, 5)
    check(lambda x: functional.adaptive_avg_pool2d(x, 1).flatten(1), 6, 3, 4)
    check(lambda x: functional.adaptive_avg_pool2d(x, (1, 1)), 6, 3, 4)
    check(lambda x: x.mean((1, 2)), 3, 4, 6)


def test_pooling_to_more_is_refused() -> None:
    assert problems_of(lambda x: functional.adaptive_avg_pool1d(x, 2), 6, 4)[0] == (
        "the model itself: aten.adaptive_avg_pool1d.default is not supported."
    )


def test_blocks_that_do_not_overlap() -> None:
    check(lambda x: functional.unfold(x, (2, 3), stride=(2, 3)), 3, 4, 6)
    check(lambda x: x.unfold(2, 3, 3).unfold(1, 2, 2), 4, 6)


@pytest.mark.parametrize(
    "options", [{"stride": 1}, {"stride": 2, "padding": 1}, {"stride": 2, "dilation": 2}]
)
def test_blocks_that_overlap_or_leave_out_pixels_are_refused(options: dict[str, int]) -> None:
    assert problems_of(lambda x: functional.unfold(x, 2, **options), 3, 4, 4)[0] == (
        "the model itself: aten.im2col.default is not supported."
    )
    assert problems_of(lambda x: x.unfold(1, 3, 1), 4, 4)[0] == (
        "the model itself: aten.unfold.default is not supported."
    )


@pytest.mark.parametrize("dimension", [0, 1, -1])
def test_what_is_stacked_and_summed_is_added(dimension: int) -> None:
    check(lambda x: torch.stack([x, x.relu(), x + 1], dimension).sum(dimension), 4, 5)


def test_stacks_that_are_summed_otherwise_are_refused() -> None:
    problems = problems_of(lambda x: torch.stack([x, x.relu()], 1).sum(2), 4, 5)
    assert "the model itself: aten.sum.dim_IntList is not supported." in problems


def test_an_image_is_normalised_within_the_network() -> None:
    mean, deviation = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([[[0.2]], [[0.3]], [[0.1]]])
    check(lambda x: (x - mean) / deviation, 3, 4, 4)
    check(lambda x: 2 * x - 1, 3, 4, 4)
    check(lambda x: (x / 255 - mean[None]) * deviation[None], 3, 4, 4)


def test_differences_of_two_values() -> None:
    check(lambda x: x.relu() - x, 4, 5)


def test_sums_begin_with_zero() -> None:
    check(lambda x: torch.as_tensor(sum([x, x])).relu(), 4, 5)


@pytest.mark.parametrize(
    "function",
    [
        *(functional.elu, functional.hardsigmoid, functional.hardswish, functional.leaky_relu),
        *(functional.mish, functional.relu6, functional.softplus, torch.tanh),
    ],
)
def test_functions_of_pytorch_are_imported(function: Callable[[Tensor], Tensor]) -> None:
    check(function, 4, 5)


def test_functions_with_parameters_of_their_own_are_refused() -> None:
    assert problems_of(lambda x: functional.leaky_relu(x, 0.2), 4, 5)[0] == (
        "the model itself: aten.leaky_relu.default is not supported with parameters other than PyTorch's "
        "defaults."
    )
    assert problems_of(lambda x: functional.hardtanh(x), 4, 5)[0] == (
        "the model itself: aten.hardtanh.default is not supported with other limits than those of ReLU6."
    )
