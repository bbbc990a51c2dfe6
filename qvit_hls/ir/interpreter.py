"""Running a graph in PyTorch: what ``graph(x)`` does, for float and integer graphs alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from qvit_hls.errors import QvitError
from qvit_hls.ir.execute_float import FLOAT_RULES, fake_quantize, quantize
from qvit_hls.ir.execute_integer import INTEGER_RULES
from qvit_hls.ir.float_ops import Constant, Input
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.integer_ops import QuantizedInput

_RULES = {**FLOAT_RULES, **INTEGER_RULES}


@torch.no_grad()
def run(
    graph: Graph,
    inputs: tuple[Tensor, ...],
    observe: Callable[[Node, Tensor], None] | None = None,
) -> dict[str, Tensor]:
    """Run ``graph`` on a batch and return every value by name.

    Float graphs compute in float32, or in float64 where the first input is float64; a node's ``quant``
    annotation rounds its value. Integer graphs give int64 codes. See ``Graph.run``.

    Raises:
        QvitError: number, shape or dtype of the inputs is wrong.
        OverflowError: an integer would leave the range in which the reference is exact.
    """
    values: dict[str, Tensor] = {}
    for node, _, value in steps(graph, inputs, keep=True):
        if observe is not None:
            observe(node, value)
        values[node.name] = value
    return values


def steps(
    graph: Graph, inputs: tuple[Tensor, ...], keep: bool = False
) -> Iterator[tuple[Node, tuple[Tensor, ...], Tensor]]:
    """Run ``graph`` on a batch, node by node; arithmetic and errors as in ``run``.

    Gradients are as the caller has them: with an input that requires them, float values carry them.

    Args:
        graph: float or integer.
        inputs: one tensor per input node, shape ``[batch, *node.shape]``.
        keep: hold every value to the end; else each is forgotten after the last node that reads it.

    Yields:
        A node, the values that it read, and its value.
    """
    _check_inputs(graph, inputs)
    dtype = torch.float64 if inputs and inputs[0].dtype == torch.float64 else torch.float32
    batch = inputs[0].shape[0] if inputs else 1
    remaining = iter(inputs)
    last_reader = {name: node.name for node in graph for name in node.inputs}
    values: dict[str, Tensor] = {}
    for node in graph:
        read = tuple(values[name] for name in node.inputs)
        if isinstance(node.op, Input):
            value = next(remaining).to(dtype)
        elif isinstance(node.op, QuantizedInput):
            value = quantize_input(node, next(remaining))
        elif isinstance(node.op, Constant):
            value = torch.from_numpy(node.op.value).to(dtype).expand(batch, *node.shape)
        else:
            value = _evaluate(node, read)
        if node.quant is not None and value.is_floating_point():
            value = fake_quantize(value, node.quant.scale, node.quant.qmax)
        values[node.name] = value
        yield node, read, value
        if not keep:
            for name in {*node.inputs, node.name}:
                if last_reader.get(name, node.name) == node.name:
                    values.pop(name, None)


def quantize_input(node: Node, image: Tensor) -> Tensor:
    """The int64 codes of a float batch ``[batch, *node.shape]`` at a QuantizedInput node.

    Computed in float32 whatever the dtype of ``image``, as in training and on any host.
    """
    if node.quant is None:
        raise QvitError(f"Input {node.name} has no quantization, so its codes are not defined.")
    return quantize(image.float(), node.quant.scale, node.quant.qmax).long()


def _evaluate(node: Node, inputs: tuple[Tensor, ...]) -> Tensor:
    rule = _RULES.get(type(node.op))
    if rule is None:
        raise TypeError(f"{node.name}: no rule runs {type(node.op).__name__}")
    try:
        return rule(node.op, *inputs)
    except OverflowError as error:
        raise OverflowError(f"{node.name}: {error}") from error


def _check_inputs(graph: Graph, inputs: tuple[Tensor, ...]) -> None:
    expected = [node for node in graph if isinstance(node.op, Input | QuantizedInput)]
    if len(inputs) != len(expected):
        raise QvitError(f"The number of inputs is {len(inputs)}; it must be {len(expected)}.")
    problems = []
    for node, value in zip(expected, inputs, strict=True):
        if tuple(value.shape[1:]) != node.shape:
            wanted = ", ".join(str(n) for n in node.shape)
            problems.append(f"Input {node.name} has shape {list(value.shape)}; it must be [batch, {wanted}].")
        elif not value.is_floating_point():
            problems.append(f"Input {node.name} is {value.dtype}; it must be a floating-point tensor.")
        elif not torch.isfinite(value).all():
            problems.append(f"Input {node.name} contains NaN or infinity; every value must be finite.")
    if len({value.shape[:1] for value in inputs}) > 1:
        problems.append("The inputs have different batch sizes; they must have the same.")
    if problems:
        raise QvitError(problems)
