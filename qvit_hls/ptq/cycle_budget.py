"""8-bit rows within a budget of cycles per frame, where they lower the error most for each cycle.

Up to the end of a row tile they cost nothing, so that even with the cycles of 4-bit rows some have 8 bits.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from qvit_hls.ir.graph import Graph
from qvit_hls.ptq.rows import RowSteps


class RowCost(Protocol):
    """Cycles of a network on an accelerator, by the widths of its rows.

    Attributes:
        limit: cycles per frame that are allowed, at least as many as 4-bit rows take.
    """

    limit: int

    def parts(self, layer: str) -> int:
        """Parts of a linear layer that run one after the other, of equally many rows, at least 1."""

    def own_cycles(self, layer: str) -> np.ndarray:
        """About what each part of a layer takes, int64 ``[n + 1]``, with 0 to n 8-bit rows."""

    def frame_cycles(self, widths: Mapping[str, np.ndarray]) -> int:
        """Exact cycles per frame, from 4 or 8 of each row, uint8 ``[R]``, by linear layer."""


@dataclass(frozen=True, eq=False)
class CycleBudget:
    """A budget of cycles per frame.

    Attributes:
        cost_of: from the integer graph with 4-bit rows, as lowering leaves it, to what its rows cost; raises
            QvitError where even that takes more than is allowed. A second argument that is not None is what
            it said of the network before, whose accelerator is kept.
    """

    cost_of: Callable[[Graph, RowCost | None], RowCost]


def widths_within(layers: Mapping[str, RowSteps], cost: RowCost) -> dict[str, Tensor]:
    """Which rows have 8 bits: uint8 ``[R]`` of 4 or 8, by layer.

    What a part of a layer takes by itself says which rows are tried first: those that cost nothing, then
    those whose error falls most for each cycle. The frame's exact cycles say which of them stay.
    """
    return _Allocation(layers, cost).widths()


@dataclass(eq=False)
class _Part:
    """Rows of one part of a layer.

    Attributes:
        layer: its name.
        order: rows of the layer, those whose error falls most first, int64 ``[n]``.
        gain: what the error falls by with the first so many of them, float64 ``[n + 1]``.
        cycles: of the part, int64 ``[n + 1]``.
        count: how many have 8 bits.
        most: how many may have.
    """

    layer: str
    order: np.ndarray
    gain: np.ndarray
    cycles: np.ndarray
    count: int
    most: int

    def next(self, count: int, left: int) -> tuple[float, int] | None:
        """From ``count`` rows on, the most that is gained per cycle within ``left``, and the new count.

        Infinite for rows that cost nothing; None where there are no more rows within ``left``.
        """
        extra = np.maximum(self.cycles[count + 1 : self.most + 1] - self.cycles[count], 0)
        within = np.flatnonzero(extra <= left)
        if not len(within):
            return None
        free = within[extra[within] == 0]
        if len(free):
            return np.inf, count + 1 + int(free[-1])
        ratio = (self.gain[count + 1 + within] - self.gain[count]) / extra[within]
        best = int(ratio.argmax())
        return float(ratio[best]), count + 1 + int(within[best])


@dataclass(frozen=True)
class _Change:
    """More 8-bit rows in a part: from so many to so many."""

    part: int
    before: int
    after: int


class _Allocation:
    def __init__(self, layers: Mapping[str, RowSteps], cost: RowCost) -> None:
        self._cost = cost
        self._rows = {name: len(rows.gain) for name, rows in layers.items()}
        self._parts = [part for name, rows in layers.items() for part in _parts(name, rows, cost)]
        self._left = cost.limit - cost.frame_cycles(self._arrays(()))

    def widths(self) -> dict[str, Tensor]:
        """Rounds of proposals, until there is nothing left to propose."""
        while changes := self._proposed():
            self._try(changes)
        return {name: torch.from_numpy(bits) for name, bits in self._arrays(()).items()}

    def _proposed(self) -> list[_Change]:
        """Changes that the parts' own cycles allow together, the best first."""
        left, found = self._left, []
        counts = [part.count for part in self._parts]
        heap: list[tuple[float, float, int, int]] = []

        def offer(index: int) -> None:
            part = self._parts[index]
            step = part.next(counts[index], left)
            if step is not None:
                gain = part.gain[step[1]] - part.gain[counts[index]]
                heapq.heappush(heap, (-step[0], -float(gain), index, step[1]))

        for index in range(len(self._parts)):
            offer(index)
        while heap:
            _, _, index, after = heapq.heappop(heap)
            part, before = self._parts[index], counts[index]
            extra = max(0, int(part.cycles[after] - part.cycles[before]))
            if extra <= left:
                found.append(_Change(index, before, after))
                counts[index], left = after, left - extra
            offer(index)
        return found

    def _try(self, changes: Sequence[_Change]) -> None:
        """Make the changes that do not exceed the limit: all, or those of either half; half of a single one
        is left for another round."""
        changes = self._still_possible(changes)
        if not changes:
            return
        left = self._cost.limit - self._cost.frame_cycles(self._arrays(changes))
        if left >= 0:
            self._left = left
            for change in changes:
                self._parts[change.part].count = change.after
        elif len(changes) == 1:
            (change,) = changes
            self._parts[change.part].most = (change.before + change.after) // 2
        else:
            middle = len(changes) // 2
            self._try(changes[:middle])
            self._try(changes[middle:])

    def _still_possible(self, changes: Sequence[_Change]) -> list[_Change]:
        """Those that go on from where their parts are, within what is left by the parts' own cycles."""
        left, found = self._left, []
        counts = [part.count for part in self._parts]
        for change in changes:
            part = self._parts[change.part]
            extra = max(0, int(part.cycles[change.after] - part.cycles[change.before]))
            if counts[change.part] == change.before and change.after <= part.most and extra <= left:
                found.append(change)
                counts[change.part], left = change.after, left - extra
        return found

    def _arrays(self, changes: Sequence[_Change]) -> dict[str, np.ndarray]:
        """Widths of all rows with some changes."""
        counts = [part.count for part in self._parts]
        for change in changes:
            counts[change.part] = change.after
        widths = {name: np.full(rows, 4, np.uint8) for name, rows in self._rows.items()}
        for part, count in zip(self._parts, counts, strict=True):
            widths[part.layer][part.order[:count]] = 8
        return widths


def _parts(name: str, rows: RowSteps, cost: RowCost) -> list[_Part]:
    gains = rows.gain.double().numpy()
    parts = []
    for mine in np.split(np.arange(len(gains)), cost.parts(name)):
        order = mine[np.argsort(-gains[mine], kind="stable")]
        order = order[gains[order] > 0]  # the others lose by 8 bits, or lose nothing
        cycles = cost.own_cycles(name)[: len(order) + 1]
        gain = np.concatenate([[0.0], np.cumsum(gains[order])])[: len(cycles)]
        parts.append(_Part(name, order, gain, cycles, 0, len(cycles) - 1))
    return parts
