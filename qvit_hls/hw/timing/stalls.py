"""Cycles in which LayerNorm leaves a memory to the drain: the wide memory that it reads, its codes' banks."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from qvit_hls.hw.timing.constants import (
    CODES_TO_DRAIN,
    RANDOM_PAIR,
    RANDOM_ROW,
    READ_TO_COMPLETE,
    TURNS,
    mac_latency,
)
from qvit_hls.hw.timing.network import NetworkShape
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.vector_units import VectorWork
from qvit_hls.hw.timing.work import GemmWork

#: Cycles between drains that never leave room for a step.
_LEAST_ROOM = 1e-9


@dataclass(frozen=True, eq=False)
class Source:
    """The last group of row tiles of the GEMM that LayerNorm follows token tile by token tile.

    Attributes:
        group: cycles of the group per token tile; drains: of these, cycles that drain.
        slot, drain: the same of the group's last row tile.
        tiles: row tiles of the group.
        first, end: when the first and the last token tile are complete.
    """

    group: np.ndarray
    drains: np.ndarray
    slot: np.ndarray
    drain: np.ndarray
    tiles: np.ndarray
    first: np.ndarray
    end: np.ndarray

    def where(self, mask: np.ndarray | None, other: Source) -> Source:
        """This one in the networks of the mask, or in all, and another one elsewhere."""
        if mask is None:
            return self
        values = {f.name: np.where(mask, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return Source(**values)

    def of_first(self, work: VectorWork, begin: np.ndarray) -> np.ndarray:
        """Cycles that a LayerNorm which begins in a cycle loses in its first token tile.

        Its steps take the room between the drains. From the cycle on in which the first token tile's last
        slot begins to drain, these follow each other: drain and room of the group's last row tile, then of
        all others, taken as equal.
        """
        others = np.maximum(self.tiles - 1, 0)
        slot = np.maximum((self.group - self.slot) / np.maximum(others, 1), 1)
        drain = (self.drains - self.drain) / np.maximum(others, 1)
        last_room, room = self.slot - self.drain, slot - drain
        group, group_room = np.maximum(self.group, 1), np.maximum(self.group - self.drains, _LEAST_ROOM)

        def room_before(cycle: np.ndarray) -> np.ndarray:
            groups, inside = np.divmod(cycle, group)
            full, left = np.divmod(inside - self.slot, slot)
            in_last = np.maximum(inside - self.drain, 0)
            in_others = last_room + full * room + np.maximum(left - drain, 0)
            return groups * group_room + np.where(inside < self.slot, in_last, in_others)

        def cycle_of(number: np.ndarray) -> np.ndarray:
            """The cycle of the room of a number, from 0."""
            groups, inside = np.divmod(number, group_room)
            full, left = np.divmod(inside - last_room, np.maximum(room, _LEAST_ROOM))
            in_others = self.slot + full * slot + drain + left
            return groups * group + np.where(inside < last_room, self.drain + inside, in_others)

        begins_to_drain = self.first - READ_TO_COMPLETE + 1 - self.drain
        start = np.maximum(begin + work.latency - begins_to_drain, 0)
        before = room_before(start)
        lost = cycle_of(before + work.steps - 1) - start - (work.steps - 1)
        # Behind the last drain there is nothing but room.
        left = np.maximum(self.end - self.first, 0) / group * self.drains + self.drain
        return np.clip(lost, 0, np.maximum(left - (start - before), 0))

    def of_all(self, work: VectorWork, begin: np.ndarray) -> np.ndarray:
        """The same in all token tiles, which find room beside the drains as long as these go on."""
        beside = np.maximum(self.end - READ_TO_COMPLETE - begin - work.latency, 0)
        beside = beside * self.drains / np.maximum(self.group, 1)
        per_step = self.drains / np.maximum(self.group - self.drains, _LEAST_ROOM)
        return np.minimum(work.token_tiles * work.steps * per_step, beside)


def reader_stalls(work: VectorWork, reader: NetworkShape, follower: GemmWork, tiles: Tiles) -> np.ndarray:
    """Cycles that LayerNorm loses to the drains of the GEMM that reads its codes token tile by token tile.

    Those are the drains until the last codes are written.
    """
    several = work.token_tiles - 1
    lag = CODES_TO_DRAIN + follower.k_steps + mac_latency(tiles.activation_bits, tiles.tile_depth)
    pace = np.maximum(np.maximum(work.per_tile, follower.first_group) / follower.group, 1)
    slots = np.clip(np.floor((several * work.per_tile - lag) / pace) + 1, 0, several * follower.group)
    return slots * _blocked_cycles(reader, follower, tiles) / follower.group


def _blocked_cycles(reader: NetworkShape, work: GemmWork, tiles: Tiles) -> np.ndarray:
    """Of the drains of a group's slots into the activation memory, cycles that LayerNorm loses.

    Rows in the order of their channels take turns with LayerNorm's banks after one cycle; others fall on
    them as random ones do.
    """
    rows = np.asarray(tiles.drain_rows)
    turns = np.minimum(work.first_drains, TURNS * work.group)
    in_order = (reader.table_entries > 0) | (reader.rows8 == 0) | (reader.rows8 == reader.rows)
    pairs = RANDOM_PAIR * work.first_drains
    singles = RANDOM_ROW * work.first_drains8 + np.where(work.first_drains > work.first_drains8, turns, 0.0)
    by_banks = np.where(in_order, turns, np.where(rows == 2, pairs, singles))
    return np.where(2 * rows <= tiles.tile_depth, by_banks, work.first_drains)
