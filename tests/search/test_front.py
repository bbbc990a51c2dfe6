"""Ranks, crowding and hypervolume against their definitions."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qvit_hls.search.front import best_first, crowding, dominance_ranks, hypervolume

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25).map(
    lambda points: np.array(points, np.float64)
)


def _dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a <= b).all() and (a < b).any())


@given(POINTS)
@settings(max_examples=60, deadline=None)
def test_a_rank_is_the_longest_chain_of_points_that_dominate_it(points: np.ndarray) -> None:
    ranks = dominance_ranks(points)
    for point, rank in zip(points, ranks, strict=True):
        above = [int(r) for p, r in zip(points, ranks, strict=True) if _dominates(p, point)]
        assert rank == max(above, default=-1) + 1


@given(POINTS)
@settings(max_examples=60, deadline=None)
def test_the_hypervolume_is_the_count_of_unit_squares(points: np.ndarray) -> None:
    reference = np.array([6.0, 5.0])
    squares = {
        (x, y)
        for x in range(6)
        for y in range(5)
        if any(a <= x and b <= y for a, b in points)
    }  # fmt: skip
    assert hypervolume(points, reference) == len(squares)


def test_ends_of_a_front_and_lone_points_come_first() -> None:
    points = np.array([[0, 10], [1, 8], [2, 7.5], [10, 0], [5, 9]], np.float64)
    ranks = dominance_ranks(points)
    assert ranks.tolist() == [0, 0, 0, 0, 1]
    distance = crowding(points, ranks)
    assert np.isinf(distance[[0, 3]]).all()
    assert distance[2] > distance[1]
    assert distance[1] == 2 / 10 + 2.5 / 10
    assert best_first(points).tolist() == [0, 3, 2, 1, 4]


def test_equal_points_share_a_rank() -> None:
    assert dominance_ranks(np.zeros((3, 2))).tolist() == [0, 0, 0]
