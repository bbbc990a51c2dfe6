"""The search: candidates are timed in the order of their least cycles, until no other can be the fastest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qvit_hls.hw.explore.pareto import dominated, pareto_set
from qvit_hls.hw.explore.space import Space

#: Designs within this factor of another one's resources are no smaller than it.
_SAME_COST = 1.05
#: A design this much slower than the fastest is taken when it is smaller.
TOLERANCE = 1.03
#: Candidates that are looked at between two updates of the Pareto set.
_BATCH = 4096


@dataclass(frozen=True, eq=False)
class Found:
    """Designs that fit the board and were timed.

    Attributes:
        index: positions in the space, int64 ``[n]``, fastest first.
        cycles: per frame, int64 ``[n, models]``.
    """

    index: np.ndarray
    cycles: np.ndarray

    @property
    def objective(self) -> np.ndarray:
        """Geometric mean of the cycles over the models, float ``[n]``."""
        return geometric_mean(self.cycles)

    def take(self, order: np.ndarray) -> Found:
        """Some of the designs."""
        return Found(self.index[order], self.cycles[order])


def geometric_mean(cycles: np.ndarray) -> np.ndarray:
    """Over the models, float ``[n]``."""
    return np.exp(np.log(np.maximum(cycles, 1)).mean(axis=1))


def search(space: Space, fastest_only: bool) -> Found:
    """The Pareto set of cycles, LUTs, flip-flops, DSP slices and block RAMs among the designs that fit.

    The fastest design is exact: whatever may be within ``TOLERANCE`` of it is timed, unless a design that
    is at least as fast takes less than 5 % more. Further away, of designs that differ by less than 5 % in
    every cost one is kept, and those are timed whose lower bounds are on the Pareto set.

    Args:
        fastest_only: look only at designs around the fastest one.
    """
    while True:
        found = _fastest(space)
        if not fastest_only and len(found.index):
            found = _with(space, found, _smaller(space, TOLERANCE * found.objective.min()))
        # Designs were found with estimated memories: go on until those that matter have exact ones.
        if not space.make_exact(found.index):
            return found


def _fastest(space: Space) -> Found:
    fitting = np.flatnonzero((space.needs <= space.limits).all(axis=1))
    least = geometric_mean(space.least_cycles[fitting])
    share = space.excess(space.needs[fitting])
    order = np.lexsort((fitting, share, least))
    fitting, least = fitting[order], least[order]
    found = Found(np.zeros(0, np.int64), np.zeros((0, len(space.workloads)), np.int64))
    for start in range(0, len(fitting), _BATCH):
        part = slice(start, start + _BATCH)
        index = fitting[part][least[part] <= TOLERANCE * found.objective.min(initial=np.inf)]
        if not len(index):
            break
        points = _points(space, index, least[part][: len(index)])
        points[:, 1:] *= _SAME_COST
        known = _points(space, found.index, found.objective)
        found = _with(space, found, index[~dominated(points, known)])
    return found


def _smaller(space: Space, from_cycles: float) -> np.ndarray:
    """Designs of at least so many cycles that may be on the Pareto set, by their lower bounds."""
    least = geometric_mean(space.least_cycles)
    index = np.flatnonzero((space.needs <= space.limits).all(axis=1) & (least > from_cycles))
    points = _points(space, index, least[index])
    cells = np.floor(np.log(np.maximum(points, 1)) / np.log(_SAME_COST)).astype(np.int64)
    order = np.lexsort((index, least[index]))
    _, first = np.unique(cells[order], axis=0, return_index=True)
    kept = order[np.sort(first)]
    return index[kept][pareto_set(cells[kept])]


def _with(space: Space, found: Found, index: np.ndarray) -> Found:
    """The Pareto set when further candidates are timed."""
    cycles = space.cycles(index)
    everything = Found(np.concatenate([found.index, index]), np.concatenate([found.cycles, cycles]))
    return everything.take(pareto_set(_points(space, everything.index, everything.objective)))


def _points(space: Space, index: np.ndarray, cycles: np.ndarray) -> np.ndarray:
    return np.concatenate([cycles[:, None], space.needs[index]], axis=1).astype(np.float64)
