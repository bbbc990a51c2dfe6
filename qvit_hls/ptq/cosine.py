"""EasyQuant (arXiv 2006.16669): steps with the largest cosine similarity of the outputs, by turns.

The graph runs once over some images, node by node. Where the operands of a product are at hand, the steps of
the one and of the other are searched in turns, each with the other rounded at its present step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from qvit_hls.ir.execute_float import FLOAT_RULES, fake_quantize
from qvit_hls.ir.float_ops import AttentionContext, AttentionScores, Elementwise, Linear
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.interpreter import steps as run_steps
from qvit_hls.ptq.annotate import WeightRows, grid_value
from qvit_hls.ptq.calibration import Progress
from qvit_hls.ptq.placement import COVERING, Grid, Placement
from qvit_hls.quant.fake_quant import fake_quantize_rows
from qvit_hls.quant.rows import MIN_SCALE


@dataclass(frozen=True)
class CosineSearch:
    """How EasyQuant searches.

    Attributes:
        images: calibration images that it looks at, the first ones.
        tokens: of those that a linear layer's search looks at, evenly spread.
        rounds: turns of weights and activations.
        candidates: steps that are tried, evenly from ``low`` to ``high`` times the present one.
        low, high: factors.
    """

    images: int = 16
    tokens: int = 1024
    rounds: int = 2
    candidates: int = 24
    low: float = 0.7
    high: float = 1.2

    @property
    def factors(self) -> list[float]:
        """Candidates relative to the present step, which is the first one."""
        return [1.0, *torch.linspace(self.low, self.high, self.candidates).tolist()]


@torch.no_grad()
def refine_steps(
    graph: Graph,
    placement: Placement,
    images: Tensor,
    steps: Mapping[str, float],
    rows: Mapping[str, WeightRows],
    search: CosineSearch,
    progress: Progress = lambda stage, done, total: None,
) -> tuple[dict[str, float], dict[str, WeightRows]]:
    """Steps of activations and of rows whose outputs are nearer in direction to the float ones.

    Args:
        graph: float, after FLOAT_PASSES, without annotations.
        placement: its grids.
        images: float32 ``[n, *shape of the input]``.
        steps: to start from, by grid.
        rows: to start from, by linear layer; widths stay.
        search: how.
        progress: told after each node.
    """
    found = _Refinement(graph, placement, steps, rows, search)
    for done, (node, read, _) in enumerate(run_steps(graph, (images[: search.images].float(),)), start=1):
        found.visit(node, read)
        progress("search steps", done, len(graph.nodes))
    return found.steps, found.rows


class _Refinement:
    """The steps so far."""

    def __init__(
        self,
        graph: Graph,
        placement: Placement,
        steps: Mapping[str, float],
        rows: Mapping[str, WeightRows],
        search: CosineSearch,
    ) -> None:
        self.steps, self.rows = dict(steps), dict(rows)
        self._graph, self._search = graph, search
        self._users = graph.users()
        self._grids = placement.by_value()

    def visit(self, node: Node, read: tuple[Tensor, ...]) -> None:
        """Search the steps of what ``node`` reads, where it is the first to compute with it."""
        match node.op:
            case Linear():
                self._linear_layers(node, read[0])
            case AttentionScores():
                for _ in range(self._search.rounds):
                    self._operand(node, read, 0)
                    self._operand(node, read, 1)
            case AttentionContext():
                self._operand(node, read, 1)
            case Elementwise():
                self._operand(node, read, 0)

    def _grid(self, name: str) -> Grid:
        return self._grids[grid_value(self._graph, name, self._grids)]

    def _rounded(self, name: str, value: Tensor) -> Tensor:
        """``value`` on its grid as it is now; probabilities, which have none, as they are."""
        if name not in self._grids:
            return value
        grid = self._grid(name)
        return fake_quantize(value, self.steps[grid.name], grid.qmax)

    def _operand(self, node: Node, read: tuple[Tensor, ...], index: int) -> None:
        """Search the step of one operand of a product or function, the other rounded."""
        rule, grid = FLOAT_RULES[type(node.op)], self._grid(node.inputs[index])
        if len(grid.values) > 1 or grid.kind in COVERING:
            return
        wanted = rule(node.op, *read)
        operands = [self._rounded(name, value) for name, value in zip(node.inputs, read, strict=True)]

        def output(step: float) -> Tensor:
            operands[index] = fake_quantize(read[index], step, grid.qmax)
            return rule(node.op, *operands)

        self._improve(grid, lambda step: _cosine(output(step), wanted))

    def _linear_layers(self, node: Node, x: Tensor) -> None:
        """Search the steps of a value and of the weights of all linear layers that read it."""
        readers = [user for user in self._users[node.inputs[0]] if isinstance(user.op, Linear)]
        if readers[0] is not node:
            return
        x = x.reshape(-1, x.shape[-1])
        x = x[:: max(1, len(x) // self._search.tokens) | 1]
        weights = {user.name: _weight(user) for user in readers}
        wanted = {name: x @ weight.T for name, weight in weights.items()}
        grid = self._grid(node.inputs[0])
        for _ in range(self._search.rounds):
            rounded = fake_quantize(x, self.steps[grid.name], grid.qmax)
            for name, weight in weights.items():
                self.rows[name] = self._better_rows(weight, self.rows[name], rounded, wanted[name])
            if len(grid.values) > 1 or grid.kind in COVERING:
                return
            on_grid = {
                name: fake_quantize_rows(weight, self.rows[name].step, self.rows[name].bits)
                for name, weight in weights.items()
            }

            def similarity(step: float, on_grid: Mapping[str, Tensor] = on_grid) -> float:
                rounded = fake_quantize(x, step, grid.qmax)
                return sum(_cosine(rounded @ on_grid[name].T, wanted[name]) for name in weights)

            self._improve(grid, similarity)

    def _improve(self, grid: Grid, similarity: Callable[[float], float]) -> None:
        """Take the candidate step of the largest ``similarity``, or keep the present one."""
        present = self.steps[grid.name]
        candidates = [max(float(np.float32(present * factor)), MIN_SCALE) for factor in self._search.factors]
        self.steps[grid.name] = max(candidates, key=similarity)

    def _better_rows(self, weight: Tensor, rows: WeightRows, x: Tensor, wanted: Tensor) -> WeightRows:
        """Steps of the largest cosine of the layer's output, one row after the other.

        Args:
            weight: ``[R, K]``.
            rows: to start from.
            x: rounded input ``[n, K]``.
            wanted: float output without the bias ``[n, R]``.
        """
        candidates = [(rows.step * factor).clamp(min=MIN_SCALE) for factor in self._search.factors]
        products, powers = [], []
        for step in candidates:
            output = x @ fake_quantize_rows(weight, step, rows.bits).T
            products.append((output * wanted).sum(0).double())
            powers.append(output.square().sum(0).double())
        product, power = torch.stack(products).numpy(), torch.stack(powers).numpy()
        # The cosine is sum(product) / sqrt(sum(power)) but for a constant; each row changes one term of both.
        total_product, total_power = product[0].sum(), power[0].sum()
        chosen = np.zeros(len(weight), np.int64)
        for row in range(len(weight)):
            new_product = total_product - product[0, row] + product[:, row]
            new_power = total_power - power[0, row] + power[:, row]
            best = int(np.argmax(new_product / np.sqrt(np.maximum(new_power, np.finfo(float).tiny))))
            chosen[row], total_product, total_power = best, new_product[best], new_power[best]
        step = torch.stack(candidates)[torch.from_numpy(chosen), torch.arange(len(weight))]
        return replace(rows, step=step)


def _weight(node: Node) -> Tensor:
    assert isinstance(node.op, Linear)
    return torch.from_numpy(np.asarray(node.op.weight, np.float32))


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(functional.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0))
