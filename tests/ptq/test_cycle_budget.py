"""8-bit rows within a budget of cycles: those that are free first, then those that help most per cycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qvit_hls.ptq.cycle_budget import widths_within
from qvit_hls.ptq.rows import RowSteps


@dataclass
class TileCost:
    """Every part of a layer takes a number of cycles per tile; a tile holds so many 4-bit rows.

    Attributes:
        rows: by layer.
        cycles: of a tile, by layer.
        tile_rows: an 8-bit row takes the place of two.
        heads: parts, by layer, where it is more than one.
        hidden: further cycles of the frame, once a layer has any 8-bit row.
        most: 8-bit rows that a part may have, by layer.
    """

    limit: int
    rows: dict[str, int]
    cycles: dict[str, int]
    tile_rows: int = 4
    heads: dict[str, int] = field(default_factory=dict)
    hidden: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)

    def parts(self, layer: str) -> int:
        return self.heads.get(layer, 1)

    def own_cycles(self, layer: str) -> np.ndarray:
        rows = self.rows[layer] // self.parts(layer)
        counts = np.arange(min(rows, self.most.get(layer, rows)) + 1)
        return -(-(rows + counts) // self.tile_rows) * self.cycles[layer]

    def frame_cycles(self, widths: Mapping[str, np.ndarray]) -> int:
        total = 0
        for name, bits in widths.items():
            for part in np.split(bits == 8, self.parts(name)):
                total += -(-(len(part) + int(part.sum())) // self.tile_rows) * self.cycles[name]
            total += self.hidden.get(name, 0) * bool((bits == 8).any())
        return total


def steps(gains: list[float]) -> RowSteps:
    """Rows whose error falls by ``gains`` with 8 bits."""
    gain = torch.tensor(gains)
    ones = torch.ones(len(gains))
    return RowSteps({4: ones, 8: ones}, {4: gain + 1, 8: ones}, columns=8)


def eight_bit(widths: Mapping[str, torch.Tensor]) -> dict[str, list[int]]:
    return {name: (bits == 8).nonzero().flatten().tolist() for name, bits in widths.items()}


def test_rows_up_to_the_end_of_a_tile_are_free() -> None:
    """6 rows in tiles of 4 leave 2 places, 4 rows none."""
    layers = {"a": steps([1, 5, 2, 4, 3, 0.5]), "b": steps([9, 9, 9, 9])}
    cost = TileCost(limit=3 * 10, rows={"a": 6, "b": 4}, cycles={"a": 10, "b": 10})
    assert eight_bit(widths_within(layers, cost)) == {"a": [1, 3], "b": []}


def test_a_budget_goes_where_the_error_falls_most_for_each_cycle() -> None:
    """Equal gains: those of ``b`` cost half. One more tile of ``a`` or two of ``b`` are allowed."""
    layers = {"a": steps([1.0] * 4), "b": steps([0.9] * 4)}
    cost = TileCost(limit=10 + 5 + 10, rows={"a": 4, "b": 4}, cycles={"a": 10, "b": 5})
    assert eight_bit(widths_within(layers, cost)) == {"a": [], "b": [0, 1, 2, 3]}
    cost.cycles["b"], cost.limit = 10, 30
    assert eight_bit(widths_within(layers, cost)) == {"a": [0, 1, 2, 3], "b": []}


def test_every_head_fills_its_own_tiles() -> None:
    """Two heads of 3 rows: each has one free place, wherever the large gains are."""
    layers = {"v": steps([9, 8, 7, 1, 3, 2])}
    cost = TileCost(limit=2 * 10, rows={"v": 6}, cycles={"v": 10}, heads={"v": 2})
    assert eight_bit(widths_within(layers, cost)) == {"v": [0, 4]}


def test_rows_that_cost_cycles_elsewhere_are_taken_back() -> None:
    """By itself each layer has free places; with those of ``b`` the frame is longer by a cycle."""
    layers = {name: steps([4.0, 3.0, 2.0]) for name in "abcd"}
    cost = TileCost(40, dict.fromkeys("abcd", 3), dict.fromkeys("abcd", 10), hidden={"b": 1})
    assert eight_bit(widths_within(layers, cost)) == {"a": [0], "b": [], "c": [0], "d": [0]}


def test_rows_that_lose_by_8_bits_keep_4() -> None:
    layers = {"a": steps([0.0, -1.0, 2.0, 0.0])}
    cost = TileCost(limit=1000, rows={"a": 4}, cycles={"a": 10})
    assert eight_bit(widths_within(layers, cost)) == {"a": [2]}


def test_no_more_rows_than_the_accelerator_has_row_tiles_for() -> None:
    layers = {"a": steps([1.0, 2.0, 3.0, 4.0])}
    cost = TileCost(limit=1000, rows={"a": 4}, cycles={"a": 10}, most={"a": 3})
    assert eight_bit(widths_within(layers, cost)) == {"a": [1, 2, 3]}


@settings(deadline=None, max_examples=30, derandomize=True, database=None)
@given(st.integers(0, 10_000), st.integers(0, 60))
def test_the_limit_holds_and_the_gain_is_near_the_best_possible(seed: int, more: int) -> None:
    generator = np.random.default_rng(seed)
    rows = {"a": 5, "b": 6, "c": 3}
    layers = {name: steps(generator.exponential(size=count).tolist()) for name, count in rows.items()}
    cycles = {name: int(generator.integers(5, 30)) for name in rows}
    cost = TileCost(0, rows, cycles)
    four_bit = {name: np.full(count, 4) for name, count in rows.items()}
    cost.limit = cost.frame_cycles(four_bit) + more

    def gain(counts: Mapping[str, int]) -> float:
        return sum(
            float(layers[name].gain.sort(descending=True).values[:n].sum()) for name, n in counts.items()
        )

    widths = widths_within(layers, cost)
    assert cost.frame_cycles({name: bits.numpy() for name, bits in widths.items()}) <= cost.limit
    found = gain({name: len(chosen) for name, chosen in eight_bit(widths).items()})
    # All ways to give each layer so many 8-bit rows, those that help most.
    best = 0.0
    for counts in product(*(range(count + 1) for count in rows.values())):
        named = dict(zip(rows, counts, strict=True))
        bits = {name: np.where(np.arange(rows[name]) < count, 8, 4) for name, count in named.items()}
        if cost.frame_cycles(bits) <= cost.limit:
            best = max(best, gain(named))
    assert found >= 0.75 * best
    if more == 0:
        assert found > 0.999 * best
