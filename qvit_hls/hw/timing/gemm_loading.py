"""How a GEMM waits for the loader: when its row tiles are loaded, and what that leaves for its last step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qvit_hls.hw.timing.constants import TILE_TO_STEP
from qvit_hls.hw.timing.loader import LoadedTiles, Room, WeightRing
from qvit_hls.hw.timing.work import GemmWork


@dataclass(frozen=True, eq=False)
class GemmLoading:
    """The row tiles of one GEMM on their way into the weight buffer; cycles, arrays as in ``work``.

    Attributes:
        begin: when the first one begins to be loaded.
        each: cycles that the loader takes for one, on average.
        room: what they wait for in the buffer.
        fit: how many of them the buffer holds.
    """

    work: GemmWork
    begin: np.ndarray
    each: np.ndarray
    room: Room
    fit: np.ndarray

    @classmethod
    def into(cls, ring: WeightRing, work: GemmWork, earliest: np.ndarray) -> GemmLoading:
        """Loading that begins as soon as the loader is free for it and there is room."""
        each = work.load_all / work.row_tiles
        room = ring.room(work.k_steps, each)
        begin = np.maximum(earliest, room.loaded(1.0) - each)
        return cls(work, begin, each, room, np.minimum(ring.tiles(work.k_steps), work.row_tiles))

    @property
    def first_step(self) -> np.ndarray:
        """The first step that may use the first row tile."""
        return self.begin + self.work.load_first + TILE_TO_STEP

    @cached_property
    def groups(self) -> np.ndarray:
        """Groups of row tiles."""
        return np.ceil(self.work.row_tiles / self.work.group)

    @cached_property
    def last_tiles(self) -> np.ndarray:
        """Row tiles of the last group."""
        return self.work.row_tiles - (self.groups - 1) * self.work.group

    @cached_property
    def _slot(self) -> np.ndarray:
        return self.work.first_group / self.work.group

    def loaded(self, group_end: np.ndarray) -> np.ndarray:
        """Cycle behind the loading of all row tiles, if the array ends the first group in a cycle.

        Those that do not fit beside the first groups wait until these are used up, or until the layer before
        is done.
        """
        work, more = self.work, self.work.row_tiles - self.fit
        loaded = np.maximum(self.begin + work.load_all, self.room.loaded(self.fit) + more * self.each)
        if not np.any(more > 0):
            return loaded
        used_up = group_end + (more * self.each - (work.group - 1) * self._slot)
        return np.where(more > 0, np.maximum(loaded, used_up), loaded)

    def last_step(self, loaded: np.ndarray) -> np.ndarray:
        """The GEMM's last step is not before this cycle.

        Counted each time from the first step with a row tile that has just been loaded: the last one of the
        first group, of the group before the last one, and of all.
        """
        work = self.work
        several = work.token_tiles - 1
        behind = several * work.last_group
        before = several * work.first_group + work.token_tiles * work.last_group - work.load_last_group
        behind = np.where(self.groups > 1, np.maximum(behind, before), behind)
        first_loaded = np.maximum(self.begin + work.load_group, self.room.loaded(work.group))
        by_group = first_loaded + (work.between - (work.group - 1) * self._slot)
        return np.maximum(loaded + behind, by_group) + (TILE_TO_STEP + work.k_steps - 1)

    def in_buffer(self, group_end: np.ndarray, end: np.ndarray) -> LoadedTiles:
        """The row tiles as the next layers find them, if the first group and the GEMM end in these cycles."""
        work = self.work
        last_cycles = np.minimum(work.token_tiles * work.last_group, end - group_end)
        between = np.maximum(self.groups - 2, 1)  # groups behind the first one and before the last one
        return LoadedTiles(
            tiles=work.row_tiles,
            k_steps=work.k_steps,
            group=work.group,
            last=self.last_tiles,
            end=end,
            group_cycles=(end - group_end - last_cycles) / between,
            last_cycles=last_cycles,
            slot=work.last_group / self.last_tiles,
        )
