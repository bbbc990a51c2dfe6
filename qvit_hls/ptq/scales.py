"""Steps of activation grids from calibration samples: the range, a percentile, or the least L_p error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from qvit_hls.ir.execute_float import fake_quantize
from qvit_hls.ir.float_ops import Elementwise
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.tables import FUNCTIONS
from qvit_hls.ptq.observations import Observations
from qvit_hls.ptq.placement import Grid, GridKind, Placement
from qvit_hls.quant.modules import HEADROOM
from qvit_hls.quant.rows import MIN_SCALE

#: Step of attention scores where it covers them: as fine as the softmax's exponents need.
SCORE_STEP = 1 / 32

#: A function of one variable, any shape, kept.
Function = Callable[[Tensor], Tensor]


class RangeRule(Protocol):
    """How much of a value's range its grid covers."""

    def clipping(self, samples: Tensor, largest: float, qmax: int, function: Function | None) -> float:
        """The magnitude of the largest code, > 0.

        Args:
            samples: elements of the value, ``[n]``.
            largest: largest magnitude of all its elements, > 0.
            qmax: largest code.
            function: what is computed of the rounded value, where that is one function alone.
        """


@dataclass(frozen=True)
class FullRange:
    """MinMax: everything that calibration has seen is within the grid."""

    def clipping(self, samples: Tensor, largest: float, qmax: int, function: Function | None) -> float:
        """As ``RangeRule``."""
        return largest


@dataclass(frozen=True)
class PercentileRange:
    """All but the largest magnitudes are within the grid.

    Attributes:
        percentile: share of the samples within, 50 to 100.
    """

    percentile: float

    def clipping(self, samples: Tensor, largest: float, qmax: int, function: Function | None) -> float:
        """As ``RangeRule``; the whole range where the percentile is 0."""
        ordered = samples.abs().sort().values
        index = min(len(ordered) - 1, int(len(ordered) * self.percentile / 100))
        return float(ordered[index]) or largest


@dataclass(frozen=True)
class LeastErrorRange:
    """The range, shrunk step by step, with the least L_p error of the samples.

    Attributes:
        norm: p.
        shrink: the range's steps, as a share of the whole.
        smallest: the smallest range, as a share of the whole.
    """

    norm: float = 2.4
    shrink: float = 0.01
    smallest: float = 0.1

    def clipping(self, samples: Tensor, largest: float, qmax: int, function: Function | None) -> float:
        """As ``RangeRule``; with a function, the error is that of its value."""
        wanted = samples if function is None else function(samples)
        best, best_error = largest, float("inf")
        for i in range(round((1 - self.smallest) / self.shrink) + 1):
            candidate = largest * (1 - i * self.shrink)
            rounded = fake_quantize(samples, candidate / qmax, qmax)
            error = float(
                ((rounded if function is None else function(rounded)) - wanted).abs().pow(self.norm).sum()
            )
            if error < best_error:
                best, best_error = candidate, error
        return best


def find_steps(graph: Graph, placement: Placement, seen: Observations, rule: RangeRule) -> dict[str, float]:
    """The step of every grid, by the grid's name. Steps are float32 numbers.

    Grids of the residual stream, of scores and of outputs cover the range with room; ``rule`` decides the
    others.

    Args:
        graph: float.
        placement: its grids.
        seen: complete.
        rule: how much of a range is covered.
    """
    functions = _functions(graph)
    return {
        grid.name: float(np.float32(max(_step(grid, seen, rule, functions.get(grid.name)), MIN_SCALE)))
        for grid in placement.grids
    }


def _step(grid: Grid, seen: Observations, rule: RangeRule, function: Function | None) -> float:
    largest = seen.range_of(grid)
    match grid.kind:
        case GridKind.RESIDUAL | GridKind.LOGIT:
            return largest * HEADROOM / grid.qmax
        case GridKind.SCORE:
            return max(SCORE_STEP, largest * HEADROOM / grid.qmax)
    return rule.clipping(seen.samples_of(grid), largest, grid.qmax, function) / grid.qmax


def _functions(graph: Graph) -> Mapping[str, Function]:
    """By value that only one elementwise function reads, that function."""
    found: dict[str, Function] = {}
    for name, users in graph.users().items():
        if len(users) == 1 and isinstance(users[0].op, Elementwise):
            found[name] = FUNCTIONS[users[0].op.function]
    return found
