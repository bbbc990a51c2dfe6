"""Pareto sets: the points that no other point beats in one cost without losing in another."""

from __future__ import annotations

import numpy as np

#: Points that are compared with the set at once; bounds the memory of the comparison.
_CHUNK = 512


def dominated(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether any of the other points is as good as each point in every cost, bool ``[n]``.

    Args:
        points: ``[n, costs]``; others: ``[m, costs]``; less is better.
    """
    result = np.zeros(len(points), bool)
    if len(others):
        for start in range(0, len(points), _CHUNK):
            part = points[start : start + _CHUNK]
            as_good = np.ones((len(part), len(others)), bool)
            for cost in range(points.shape[1]):
                as_good &= others[None, :, cost] <= part[:, None, cost]
            result[start : start + _CHUNK] = as_good.any(axis=1)
    return result


def pareto_set(points: np.ndarray) -> np.ndarray:
    """Indices of the Pareto set, int64, in ascending order of the first cost; equal points are in it once.

    Args:
        points: ``[n, costs]``; less is better.
    """
    # In this order no later point dominates an earlier one, so a point only looks back.
    order = np.lexsort(points.T[::-1])
    kept: list[np.ndarray] = []
    found = np.zeros((0, points.shape[1]), points.dtype)
    for start in range(0, len(order), _CHUNK):
        part = order[start : start + _CHUNK]
        part = part[~dominated(points[part], found)]
        here = points[part]
        # Within a part: does an earlier point dominate?
        as_good = np.ones((len(part), len(part)), bool)
        for cost in range(points.shape[1]):
            as_good &= here[None, :, cost] <= here[:, None, cost]
        as_good &= np.tri(len(part), k=-1, dtype=bool)
        part = part[~as_good.any(axis=1)]
        kept.append(part)
        found = np.concatenate([found, points[part]])
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)
