"""Several costs at once: ranks, crowding, and the volume that a front covers. Less is better."""

from __future__ import annotations

import numpy as np


def dominance_ranks(points: np.ndarray) -> np.ndarray:
    """0 for points that no other dominates, 1 for those that only such dominate, and so on, int64 ``[n]``.

    A point dominates another one that it is no worse than in any cost, and better than in one.

    Args:
        points: ``[n, costs]``.
    """
    no_worse = (points[:, None] <= points[None]).all(axis=2)
    dominates = no_worse & ~no_worse.T
    ranks = np.full(len(points), -1, np.int64)
    rank = 0
    while (left := ranks < 0).any():
        ranks[left & ~dominates[left].any(axis=0)] = rank
        rank += 1
    return ranks


def crowding(points: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """How far the neighbours of each point are within its rank, float64 ``[n]``; infinite at the ends.

    NSGA-II's distance: the sum over the costs of the gap between both neighbours, by the range of the cost.
    """
    result = np.zeros(len(points))
    for rank in np.unique(ranks):
        here = np.flatnonzero(ranks == rank)
        for cost in range(points.shape[1]):
            order = here[np.argsort(points[here, cost], kind="stable")]
            values = points[order, cost]
            result[order[[0, -1]]] = np.inf
            if len(order) > 2 and values[-1] > values[0]:
                result[order[1:-1]] += (values[2:] - values[:-2]) / (values[-1] - values[0])
    return result


def best_first(points: np.ndarray) -> np.ndarray:
    """Indices by rank, and within a rank the least crowded first, int64 ``[n]``."""
    ranks = dominance_ranks(points)
    return np.lexsort((-crowding(points, ranks), ranks))


def hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """The area that points of two costs dominate, up to a reference point.

    Args:
        points: ``[n, 2]``.
        reference: ``[2]``; points that are no better than it in both costs count nothing.
    """
    inside = points[(points < reference).all(axis=1)]
    area, best = 0.0, float(reference[1])
    for first, second in inside[np.lexsort((inside[:, 1], inside[:, 0]))].tolist():
        if second < best:
            area += (float(reference[0]) - first) * (best - second)
            best = second
    return area
