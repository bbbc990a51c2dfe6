"""Steps whose outputs are the nearest to the float ones by some metric: of weights and activations, by turns.

EasyQuant (arXiv 2006.16669) and PTQ4ViT (arXiv 2111.12293) search like this, with different metrics. The
graph runs once over some images, node by node. Where the operands of a product are at hand, the steps of the
one and of the other are searched in turns, each with the other rounded at its present step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from qvit_hls.ir.execute_float import FLOAT_RULES, fake_quantize
from qvit_hls.ir.float_ops import AttentionContext, AttentionScores, Elementwise, Linear
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.interpreter import steps as run_steps
from qvit_hls.ptq.annotate import WeightRows, grid_value
from qvit_hls.ptq.calibration import Progress
from qvit_hls.ptq.importance import element_importance
from qvit_hls.ptq.metrics import CosineSimilarity, Metric
from qvit_hls.ptq.placement import COVERING, Grid, Placement
from qvit_hls.ptq.setting_ranges import check_ranges
from qvit_hls.ptq.token_sample import sampled_queries, sampled_tokens
from qvit_hls.quant.fake_quant import fake_quantize_rows
from qvit_hls.quant.rows import MIN_SCALE

#: Operations whose operands' steps are searched, and the operands of each that are on narrow grids.
_SEARCHED: Mapping[type, tuple[int, ...]] = {
    Linear: (0,),
    AttentionScores: (0, 1),
    AttentionContext: (1,),
    Elementwise: (0,),
}


@dataclass(frozen=True)
class StepSearch:
    """How steps are searched.

    Attributes:
        metric: what makes an output near to another.
        images: calibration images that it looks at, the first ones.
        tokens: of those, over all images, as rows of the outputs that are compared.
        rounds: turns of weights and activations; a turn without a change ends them.
        candidates: steps that are tried, evenly from ``low`` to ``high`` times the present one.
        low, high: factors.

    Raises:
        QvitError: settings out of their ranges; all are listed.
    """

    metric: Metric = field(default_factory=CosineSimilarity)
    images: int = 16
    tokens: int = 512
    rounds: int = 2
    candidates: int = 24
    low: float = 0.7
    high: float = 1.2

    def __post_init__(self) -> None:
        rules = (
            ("images", self.images >= 1, "at least 1"),
            ("tokens", self.tokens >= 1, "at least 1"),
            ("rounds", self.rounds >= 1, "at least 1"),
            ("candidates", self.candidates >= 2, "at least 2"),
            ("low", 0 < self.low < math.inf, "greater than 0"),
            ("high", self.low < self.high < math.inf, f"greater than low, {self.low:g}"),
        )
        check_ranges("The step search", self, rules)

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
    search: StepSearch,
    progress: Progress = lambda stage, done, total: None,
) -> tuple[dict[str, float], dict[str, WeightRows]]:
    """Steps of activations and of rows whose outputs are nearer to the float ones.

    Args:
        graph: float, after FLOAT_PASSES, without annotations.
        placement: its grids.
        images: float32 ``[n, *shape of the input]``.
        steps: to start from, by grid.
        rows: to start from, by linear layer; widths stay.
        search: how.
        progress: told after each node.
    """
    images = images[: search.images].float()
    importance: Mapping[str, Tensor] = {}
    if search.metric.needs_importance:
        searched = [node.name for node in graph if type(node.op) in _SEARCHED]
        importance = element_importance(graph, images, searched, search.tokens, progress=progress)
    found = _Refinement(graph, placement, steps, rows, search, importance)
    for done, (node, read, _) in enumerate(run_steps(graph, (images,)), start=1):
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
        search: StepSearch,
        importance: Mapping[str, Tensor],
    ) -> None:
        self.steps, self.rows = dict(steps), dict(rows)
        self._graph, self._search, self._importance = graph, search, importance
        self._users = graph.users()
        self._grids = placement.by_value()

    def visit(self, node: Node, read: tuple[Tensor, ...]) -> None:
        """Search the steps of what ``node`` reads, where it is the first to compute with it."""
        if isinstance(node.op, Linear):
            self._linear_layers(node, self._rows_of(read[0]))
        elif type(node.op) in _SEARCHED:
            self._operands(node, read)

    def _grid(self, name: str) -> Grid:
        return self._grids[grid_value(self._graph, name, self._grids)]

    def _rows_of(self, x: Tensor) -> Tensor:
        return sampled_tokens(x, 0, len(x), self._search.tokens)

    def _operands(self, node: Node, read: tuple[Tensor, ...]) -> None:
        """Search the steps of the operands of a product or function, the others rounded."""
        op, operands = node.op, list(read)
        if isinstance(op, AttentionScores):
            # What is added behind the product depends on no operand.
            op, operands[0] = replace(op, bias=None), self._rows_of(read[0])
        elif isinstance(op, AttentionContext):
            operands[0] = sampled_queries(read[0], 0, len(read[0]), self._search.tokens)
        else:
            operands[0] = self._rows_of(read[0])
        rule = FLOAT_RULES[type(op)]
        wanted, importance = rule(op, *operands), self._importance.get(node.name)
        grids = {index: self._grid(node.inputs[index]) for index in _SEARCHED[type(op)]}
        rounded = [
            self._rounded(grids[index], x) if index in grids else x for index, x in enumerate(operands)
        ]

        def score(index: int, step: float) -> float:
            changed = list(rounded)
            changed[index] = fake_quantize(operands[index], step, grids[index].qmax)
            return self._score([(rule(op, *changed), wanted, importance)])

        open_grids = {index: grid for index, grid in grids.items() if _is_open(grid)}
        for _ in range(self._search.rounds):
            changes = False
            for index, grid in open_grids.items():
                if self._improve(grid, partial(score, index)):
                    changes = True
                    rounded[index] = self._rounded(grid, operands[index])
            # There are no turns to take with one operand alone.
            if not changes or len(open_grids) == 1:
                return

    def _rounded(self, grid: Grid, value: Tensor) -> Tensor:
        return fake_quantize(value, self.steps[grid.name], grid.qmax)

    def _linear_layers(self, node: Node, x: Tensor) -> None:
        """Search the steps of a value and of the weights of all linear layers that read it.

        Args:
            node: a layer that reads it.
            x: sampled tokens ``[n, t, K]``.
        """
        readers = [user for user in self._users[node.inputs[0]] if isinstance(user.op, Linear)]
        if readers[0] is not node:
            return
        x = x.flatten(0, -2)
        weights = {user.name: _weight(user) for user in readers}
        wanted = {name: x @ weight.T for name, weight in weights.items()}
        importance = {
            name: self._importance[name].flatten(0, -2) if self._importance else None for name in weights
        }
        grid = self._grid(node.inputs[0])
        for _ in range(self._search.rounds):
            changes = False
            rounded = self._rounded(grid, x)
            for name, weight in weights.items():
                found = self._better_steps(weight, self.rows[name], rounded, wanted[name], importance[name])
                changes |= not torch.equal(found, self.rows[name].step)
                self.rows[name] = replace(self.rows[name], step=found)
            if not _is_open(grid):
                return
            on_grid = {
                name: fake_quantize_rows(weight, self.rows[name].step, self.rows[name].bits)
                for name, weight in weights.items()
            }

            def score(step: float, on_grid: Mapping[str, Tensor] = on_grid) -> float:
                rounded = fake_quantize(x, step, grid.qmax)
                return self._score(
                    [(rounded @ on_grid[name].T, wanted[name], importance[name]) for name in weights]
                )

            changes |= self._improve(grid, score)
            if not changes:
                return

    def _score(self, outputs: Sequence[tuple[Tensor, Tensor, Tensor | None]]) -> float:
        """The sum of the scores of outputs, each with the wanted one and its importance, ``[..., R]``."""
        metric, total = self._search.metric, 0.0
        for output, wanted, importance in outputs:
            flat = None if importance is None else importance.flatten(0, -2)
            terms = metric.terms(output.flatten(0, -2), wanted.flatten(0, -2), flat)
            total += float(metric.score(terms.sum(1)))
        return total

    def _improve(self, grid: Grid, score: Callable[[float], float]) -> bool:
        """Take the candidate step of the largest ``score``; whether it is not the present one."""
        present = self.steps[grid.name]
        candidates = [max(float(np.float32(present * factor)), MIN_SCALE) for factor in self._search.factors]
        self.steps[grid.name] = max(candidates, key=score)
        return self.steps[grid.name] != present

    def _better_steps(
        self, weight: Tensor, rows: WeightRows, x: Tensor, wanted: Tensor, importance: Tensor | None
    ) -> Tensor:
        """Steps of the largest score of the layer's output, one row after the other, ``[R]``.

        Args:
            weight: ``[R, K]``.
            rows: to start from.
            x: rounded input ``[n, K]``.
            wanted: float output without the bias ``[n, R]``.
            importance: of its elements ``[n, R]``, or None.
        """
        metric = self._search.metric
        candidates = [(rows.step * factor).clamp(min=MIN_SCALE) for factor in self._search.factors]
        # [candidates, terms, R]
        terms = np.stack(
            [
                metric.terms(x @ fake_quantize_rows(weight, step, rows.bits).T, wanted, importance)
                for step in candidates
            ]
        )
        totals = terms[0].sum(1)
        chosen = np.zeros(len(weight), np.int64)
        for row in range(len(weight)):
            others = totals - terms[0, :, row]
            chosen[row] = int(np.argmax(metric.score((others + terms[:, :, row]).T)))
            totals = others + terms[chosen[row], :, row]
        return torch.stack(candidates)[torch.from_numpy(chosen), torch.arange(len(weight))]


def _is_open(grid: Grid) -> bool:
    """Whether one product alone decides the grid's step."""
    return len(grid.values) == 1 and grid.kind not in COVERING


def _weight(node: Node) -> Tensor:
    assert isinstance(node.op, Linear)
    return torch.from_numpy(np.asarray(node.op.weight, np.float32))
