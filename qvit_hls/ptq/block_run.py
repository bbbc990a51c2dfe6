"""A block with quantized weights and activations, run so that its roundings and steps can be learned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from qvit_hls.ir.execute_float import FLOAT_RULES
from qvit_hls.ir.float_ops import Constant, Linear, Softmax
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ptq.annotate import WeightRows, grid_value
from qvit_hls.ptq.blocks import Block
from qvit_hls.ptq.learned_rounding import LearnedRounding
from qvit_hls.ptq.placement import COVERING, Placement
from qvit_hls.quant.fake_quant import fake_quantize, fake_softmax
from qvit_hls.quant.rows import MIN_SCALE, bound_row_scale


class QuantizedBlock:
    """One block, and what is learned of it.

    The steps of grids whose values are all computed in the block are learned, but for those that cover their
    range: of attention scores, residual stream and outputs. A step is learned as the logarithm of its ratio
    to the first one, so that one learning rate fits all.

    Args:
        graph: float, after FLOAT_PASSES, without annotations.
        start: the same with weights to start from, and biases.
        block: of the graph.
        placement: grids of the activations.
        steps: to start from, by grid.
        rows: grids of the weights, by linear layer.
        hold: how near to their first codes the weights begin; see ``LearnedRounding``.
    """

    def __init__(
        self,
        graph: Graph,
        start: Graph,
        block: Block,
        placement: Placement,
        steps: Mapping[str, float],
        rows: Mapping[str, WeightRows],
        hold: float,
    ) -> None:
        self._graph, self._block = graph, block
        self._grids = placement.by_value()
        self._first_steps = {name: torch.tensor(step) for name, step in steps.items()}
        inside = {node.name for node in block.nodes}
        #: By grid, the logarithm of the ratio between its step and the first one, 0-d, to be learned.
        self.log_ratios = {
            grid.name: torch.zeros((), requires_grad=True)
            for grid in placement.grids
            if grid.kind not in COVERING and inside.issuperset(grid.values)
        }
        self._biases: dict[str, Tensor | None] = {}
        #: By linear layer.
        self.roundings: dict[str, LearnedRounding] = {}
        for node in block.linears:
            weight, _ = _parameters(node)
            first, bias = _parameters(start[node.name])
            grid = self._grids[grid_value(graph, node.inputs[0], self._grids)]
            step = bound_row_scale(rows[node.name].step, bias, self._first_steps[grid.name])
            grids = WeightRows(rows[node.name].bits, step)
            self._biases[node.name] = bias
            self.roundings[node.name] = LearnedRounding(weight, first, hold, grids)

    def steps(self) -> dict[str, float]:
        """The learned steps, by grid: float32 numbers."""
        return {name: float(self._step(name).detach()) for name in self.log_ratios}

    def run(self, source: Tensor, drop: float, generator: torch.Generator) -> Tensor:
        """The block's output while it is learned: soft weights, and roundings that gradients pass through.

        Args:
            source: the block's input ``[n, ...]``.
            drop: probability with which an element of a quantized activation stays as it was (QDrop, arXiv
                2203.05740).
            generator: decides which ones.
        """
        weights = {name: rounding.soft() for name, rounding in self.roundings.items()}
        return self._run(source, weights, drop, generator)

    @torch.no_grad()
    def run_quantized(self, source: Tensor) -> Tensor:
        """The block's output with weights on their grids and every activation rounded.

        Args:
            source: ``[n, ...]``.
        """
        weights = {name: rounding.hard() for name, rounding in self.roundings.items()}
        return self._run(source, weights, 0.0, None)

    def _step(self, grid: str) -> Tensor:
        first = self._first_steps[grid]
        if grid not in self.log_ratios:
            return first
        return (first * self.log_ratios[grid].exp()).clamp(min=MIN_SCALE)

    def _run(
        self, source: Tensor, weights: Mapping[str, Tensor], drop: float, generator: torch.Generator | None
    ) -> Tensor:
        values = {self._block.source: source}
        for node in self._block.nodes:
            read = [self._value(values, name, len(source)) for name in node.inputs]
            value = self._evaluate(node, read, weights)
            if node.name in self._grids:
                value = self._rounded(node, value, drop, generator)
            values[node.name] = value
        return value

    def _value(self, values: Mapping[str, Tensor], name: str, batch: int) -> Tensor:
        op = self._graph[name].op
        if isinstance(op, Constant):
            return torch.from_numpy(op.value).float().expand(batch, *op.value.shape)
        return values[name]

    def _evaluate(self, node: Node, read: list[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        match node.op:
            case Linear():
                return functional.linear(read[0], weights[node.name], self._biases[node.name])
            case Softmax():
                grid = self._grids[grid_value(self._graph, node.inputs[0], self._grids)]
                return fake_softmax(read[0], self._step(grid.name))
        return FLOAT_RULES[type(node.op)](node.op, *read)

    def _rounded(self, node: Node, value: Tensor, drop: float, generator: torch.Generator | None) -> Tensor:
        grid = self._grids[node.name]
        rounded = fake_quantize(value, self._step(grid.name), grid.qmax)
        # Grids that cover their range are so fine that dropping them would change nothing.
        if drop and grid.kind not in COVERING:
            return mixed(rounded, value, drop, generator)
        return rounded


def mixed(rounded: Tensor, value: Tensor, drop: float, generator: torch.Generator | None) -> Tensor:
    """``rounded`` with elements of ``value`` in the place of some, each with probability ``drop``."""
    dropped = torch.rand(value.shape, generator=generator) < drop
    # Exact for weights of 0 and 1, and several times as fast as torch.where with its gradient.
    return torch.lerp(rounded, value, dropped.to(value.dtype))


def _parameters(node: Node) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a linear layer, float32."""
    assert isinstance(node.op, Linear)
    weight = torch.from_numpy(np.asarray(node.op.weight, np.float32))
    return weight, None if node.op.bias is None else torch.from_numpy(np.asarray(node.op.bias, np.float32))
