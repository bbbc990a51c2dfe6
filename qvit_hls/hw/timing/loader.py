"""The weight buffer as the loader sees it: when there is room for row tiles that are still to be loaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qvit_hls.hw.timing.constants import GROUP_TILES, MOST_TILES
from qvit_hls.hw.timing.tiles import Numbers, Tiles

_TABLE_BYTES_PER_WORD = 16
#: Row tiles behind a place in the buffer, of those that may still be in it: 0 is the latest.
_BEHIND = np.arange(MOST_TILES, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class LoadedTiles:
    """Row tiles of a layer in the buffer, and when the array is done with them.

    Attributes:
        tiles: how many; the last group has ``last`` of them, the others ``group``.
        end: cycle of the last step; the last group takes ``last_cycles``, each other one ``group_cycles``.
        slot: cycles from tile to tile within a group, when the array is done with them.
    """

    tiles: np.ndarray
    k_steps: np.ndarray
    group: np.ndarray
    last: np.ndarray
    end: np.ndarray
    group_cycles: np.ndarray
    last_cycles: np.ndarray
    slot: np.ndarray

    def released(self, behind: np.ndarray) -> np.ndarray:
        """Cycle behind the last step of the row tile with so many behind it."""
        if (behind < self.last).all():
            return self.end + 1 - behind * self.slot
        earlier = np.maximum(behind - self.last, 0)
        groups = np.floor(earlier / self.group)
        back = self.last_cycles + groups * (self.group_cycles - self.group * self.slot) + earlier * self.slot
        return self.end + 1 - np.where(behind < self.last, behind * self.slot, back)

    def last_loaded(self, fit: np.ndarray, each: np.ndarray, last: np.ndarray) -> np.ndarray:
        """When the last row tile has been loaded, if it waits for the array: as many as ``fit`` are in the
        buffer, each takes so long to load, and the last one ``last``."""
        result = np.zeros_like(self.end)
        for further in range(GROUP_TILES):
            behind = fit + further
            waits = behind < self.tiles
            if waits.any():
                loaded = self.released(behind) + (further * each + last)
                result = np.where(waits, np.maximum(result, loaded), result)
        return result


@dataclass(frozen=True, eq=False)
class Room:
    """When the next row tiles may be loaded, if each takes equally long.

    Attributes:
        number: which of the next row tiles has to wait for each one that may still be in the buffer, from 1,
            ``[MOST_TILES, ...]``.
        before: when the row tile before that one would have to be loaded for it to wait no longer than for
            that, less the cycles for all before it.
        each: cycles to load a row tile.
    """

    number: np.ndarray
    before: np.ndarray
    each: np.ndarray

    def loaded(self, tiles: np.ndarray | float) -> np.ndarray:
        """Cycle behind the loading of the next so many row tiles, if room is all that they wait for."""
        return np.where(self.number <= tiles, self.before, -np.inf).max(0) + tiles * self.each


class WeightRing:
    """Row tiles that have been loaded, the latest ones first, and when the array is done with them."""

    def __init__(self, steps: Numbers, like: np.ndarray) -> None:
        self._capacity = np.asarray(steps, np.float64)
        self._behind = _BEHIND.reshape(-1, *[1] * like.ndim)
        self._at = np.zeros((MOST_TILES, *like.shape))
        self._steps = np.zeros((MOST_TILES, *like.shape))  # of a tile and those behind it

    def tiles(self, k_steps: np.ndarray) -> np.ndarray:
        """Row tiles of so many steps that fit into the empty buffer."""
        return np.minimum(MOST_TILES, np.floor(self._capacity / np.maximum(k_steps, 1)))

    def room(self, k_steps: np.ndarray, each: np.ndarray) -> Room:
        """For row tiles of so many steps that take so long to load."""
        by_steps = np.floor((self._capacity - self._steps) / np.maximum(k_steps, 1)) + 1
        number = np.maximum(np.minimum(MOST_TILES - self._behind, by_steps), 1)
        return Room(number, self._at - (number - 1) * each, each)

    def push(self, layer: LoadedTiles, mask: np.ndarray | None) -> None:
        """A layer's row tiles have been loaded, in the networks of the mask, or in all."""
        at, steps = layer.released(self._behind), (self._behind + 1) * layer.k_steps
        if (layer.tiles < MOST_TILES).any():
            # Layers of few tiles leave some of the earlier ones in the buffer.
            earlier_at, earlier_steps = self._at, self._steps + layer.tiles * layer.k_steps
            if layer.tiles.ndim:
                place = np.maximum(self._behind - layer.tiles, 0).astype(np.int64)
                place = np.broadcast_to(place, self._at.shape)
                earlier_at = np.take_along_axis(earlier_at, place, 0)
                earlier_steps = np.take_along_axis(earlier_steps, place, 0)
            else:
                count = int(layer.tiles)
                earlier_at, earlier_steps = (np.roll(v, count, axis=0) for v in (earlier_at, earlier_steps))
            mine = self._behind < layer.tiles
            at, steps = np.where(mine, at, earlier_at), np.where(mine, steps, earlier_steps)
        if mask is None:
            self._at, self._steps = at, np.broadcast_to(steps, at.shape)
        else:
            self._at, self._steps = np.where(mask, at, self._at), np.where(mask, steps, self._steps)


def table_cycles(entries: np.ndarray, tiles: Tiles) -> np.ndarray:
    """Cycles of the loader for a table: one entry per cycle, and one for each beat; 0 without a table."""
    per_beat = _TABLE_BYTES_PER_WORD * np.asarray(tiles.weight_ports)
    beats = np.ceil(entries / per_beat)
    return np.where(entries > 0, np.maximum(entries + beats, beats * tiles.beat_cycles) + 1, 0.0)
