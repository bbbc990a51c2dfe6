"""Running a graph: inputs are checked, annotations round, values are observed in order."""

from __future__ import annotations

import pytest
import torch

from qvit_hls.errors import QvitError
from qvit_hls.ir import float_ops as f
from qvit_hls.ir import integer_ops as integer
from qvit_hls.ir.graph import Graph, Node, Quantization
from qvit_hls.ir.interpreter import quantize_input, run

GRID = Quantization(0.1, 7)
IMAGE = Node("image", integer.QuantizedInput((1, 2, 2)), (), (1, 2, 2), GRID)
PATCHES = Node("patches", integer.Patches(2), ("image",), (1, 4), GRID)
GRAPH = Graph("two", (IMAGE, PATCHES), ("patches",))


def test_the_input_is_rounded_half_up_in_float32() -> None:
    # 0.05 and 0.15 over 0.1 are ties that single and double precision break differently.
    image = torch.tensor([[[[0.05, 0.15], [-0.05, 9.0]]]], dtype=torch.float64)
    expected = torch.floor(image.float() / torch.tensor(0.1) + 0.5).clamp(-7, 7).long()
    assert torch.equal(quantize_input(IMAGE, image), expected)
    assert torch.equal(GRAPH(image), expected.reshape(1, 1, 4))


def test_values_are_observed_in_order() -> None:
    seen: list[str] = []
    values = GRAPH.run(torch.zeros(3, 1, 2, 2), observe=lambda node, value: seen.append(node.name))
    assert seen == ["image", "patches"] == list(values)


def test_an_annotation_rounds_a_float_value() -> None:
    graph = Graph("one", (Node("x", f.Input((2,)), (), (2,), GRID),), ("x",))
    torch.testing.assert_close(graph(torch.tensor([[0.26, -3.0]])), torch.tensor([[0.3, -0.7]]))


def test_float64_inputs_are_computed_in_float64() -> None:
    graph = Graph("one", (Node("x", f.Input((2,)), (), (2,)),), ("x",))
    assert graph(torch.zeros(1, 2, dtype=torch.float64)).dtype == torch.float64
    assert graph(torch.zeros(1, 2, dtype=torch.float16)).dtype == torch.float32


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "The number of inputs is 0; it must be 1."),
        ((torch.zeros(1, 2, 2),), "Input image has shape [1, 2, 2]; it must be [batch, 1, 2, 2]."),
        (
            (torch.zeros(1, 1, 2, 2, dtype=torch.int64),),
            "Input image is torch.int64; it must be a floating-point tensor.",
        ),
        (
            (torch.full((1, 1, 2, 2), torch.nan),),
            "Input image contains NaN or infinity; every value must be finite.",
        ),
    ],
)
def test_bad_inputs_are_refused(inputs: tuple[torch.Tensor, ...], message: str) -> None:
    with pytest.raises(QvitError) as error:
        run(GRAPH, inputs)
    assert str(error.value) == message


def test_an_input_without_a_grid_has_no_codes() -> None:
    with pytest.raises(QvitError) as error:
        quantize_input(Node("image", integer.QuantizedInput((2,)), (), (2,)), torch.zeros(1, 2))
    assert str(error.value) == "Input image has no quantization, so its codes are not defined."
