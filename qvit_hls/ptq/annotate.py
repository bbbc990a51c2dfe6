"""From a float graph and the chosen grids to an annotated one, which lowering takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from qvit_hls.ir.float_ops import AttentionScores, Linear, Softmax
from qvit_hls.ir.graph import Graph, Node, Quantization, with_quant
from qvit_hls.ptq.placement import Placement
from qvit_hls.quant.fake_quant import fake_quantize_bias, fake_quantize_rows
from qvit_hls.quant.rows import bound_row_scale


@dataclass(frozen=True, eq=False)
class WeightRows:
    """Grids of one layer's weights.

    Attributes:
        bits: 4 or 8 for each row, uint8 ``[R]``.
        step: of each row, float32 ``[R]``.
    """

    bits: Tensor
    step: Tensor


def annotate(
    graph: Graph,
    placement: Placement,
    steps: Mapping[str, float],
    rows: Mapping[str, WeightRows],
    softmax_levels: int = 0,
) -> Graph:
    """``graph`` with every value, weight and bias on its grid.

    Args:
        graph: float, after FLOAT_PASSES, without annotations.
        placement: its grids.
        steps: step of each grid by the grid's name.
        rows: grids of the weights by linear layer.
        softmax_levels: of the exponents in each factor of two; 0: exponents are on a uniform grid.
    """
    quants = {
        value: Quantization(steps[grid.name], grid.qmax) for grid in placement.grids for value in grid.values
    }
    nodes: list[Node] = []
    for node in graph:
        if node.name in quants:
            node = with_quant(node, quants[node.name])
        if isinstance(node.op, Linear):
            source = grid_value(graph, node.inputs[0], quants)
            node = replace(node, op=quantized_linear(node.op, quants[source].scale, rows[node.name]))
        elif isinstance(node.op, Softmax):
            source = grid_value(graph, node.inputs[0], quants)
            node = replace(node, op=Softmax(quants[source].scale, softmax_levels))
        elif isinstance(node.op, AttentionScores) and node.op.bias is not None:
            step = quants[node.name].scale
            # On the grid, so that rounding the sum rounds the product.
            bias = (np.floor(node.op.bias.astype(np.float64) / step + 0.5) * step).astype(np.float32)
            node = replace(node, op=replace(node.op, bias=bias))
        nodes.append(node)
    return graph.with_nodes(nodes)


def grid_value(graph: Graph, name: str, on_grids: Mapping[str, object]) -> str:
    """The value whose grid ``name`` is on: itself, or what it is moved from."""
    while name not in on_grids:
        (name,) = graph[name].inputs
    return name


def quantized_linear(op: Linear, input_step: float, rows: WeightRows) -> Linear:
    """``op`` with weights on their rows' grids and the bias in whole accumulator steps.

    A row's step grows where the integer bias would not fit its format otherwise.

    Args:
        op: float.
        input_step: of the layer's input.
        rows: of the weights.
    """
    bias = None if op.bias is None else torch.from_numpy(np.asarray(op.bias, np.float64))
    step = bound_row_scale(rows.step, None if bias is None else bias.float(), torch.tensor(input_step))
    weight = fake_quantize_rows(torch.from_numpy(np.asarray(op.weight, np.float32)), step, rows.bits)
    if bias is not None:
        bias = fake_quantize_bias(bias, step.double() * input_step)
    return Linear(
        weight.numpy(),
        None if bias is None else bias.numpy(),
        step.numpy(),
        rows.bits.numpy(),
    )
