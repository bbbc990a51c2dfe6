"""The weight buffer as the loader sees it: when there is room for row tiles that are still to be loaded."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from qvit_hls.hw.timing.tiles import Numbers, Tiles

#: Layers whose row tiles may still be in the buffer; it holds only a few row tiles.
_REMEMBERED = 4
_TABLE_BYTES_PER_WORD = 16


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

    def released(self, tiles: np.ndarray) -> np.ndarray:
        """Cycle behind the last step of the first so many row tiles."""
        behind = np.maximum(self.tiles - tiles, 0)
        earlier = np.maximum(behind - self.last, 0)
        groups = np.floor(earlier / self.group)
        in_last = self.end - behind * self.slot
        in_earlier = self.end - self.last_cycles - groups * self.group_cycles
        in_earlier = in_earlier - (earlier - groups * self.group) * self.slot
        return np.where(behind < self.last, in_last, in_earlier) + 1


class WeightRing:
    """Row tiles that have been loaded, in order, and when the array was done with the latest of them."""

    def __init__(self, steps: Numbers, tiles: int, like: np.ndarray) -> None:
        self._capacity = np.asarray(steps, np.float64)
        self._most = tiles
        self._tiles = self._steps = np.zeros_like(like)
        self._recent: deque[tuple[np.ndarray, np.ndarray, LoadedTiles]] = deque(maxlen=_REMEMBERED)

    def tiles(self, k_steps: np.ndarray) -> np.ndarray:
        """Row tiles of so many steps that fit into the empty buffer."""
        return np.minimum(self._most, np.floor(self._capacity / np.maximum(k_steps, 1)))

    def room_for(self, tiles: float, k_steps: np.ndarray) -> np.ndarray:
        """When so many more row tiles fit: the cycle behind the last step of those that they replace."""
        by_tiles = self._tiles + tiles - self._most
        by_steps = self._steps + tiles * k_steps - self._capacity
        result = np.zeros_like(self._tiles)
        for first_tile, first_step, layer in self._recent:
            steps_done = np.ceil((by_steps - first_step) / np.maximum(layer.k_steps, 1))
            needed = np.maximum(by_tiles - first_tile, steps_done)
            here = (needed > 0) & (layer.tiles > 0)
            if here.any():
                result = np.where(here, layer.released(needed), result)
        return result

    def push(self, layer: LoadedTiles) -> None:
        """A layer's row tiles have been loaded."""
        self._recent.append((self._tiles, self._steps, layer))
        self._tiles = self._tiles + layer.tiles
        self._steps = self._steps + layer.tiles * layer.k_steps


def table_cycles(entries: np.ndarray, tiles: Tiles) -> np.ndarray:
    """Cycles of the loader for a table: one entry per cycle, and one for each beat; 0 without a table."""
    per_beat = _TABLE_BYTES_PER_WORD * np.asarray(tiles.weight_ports)
    beats = np.ceil(entries / per_beat)
    return np.where(entries > 0, np.maximum(entries + beats, beats * tiles.beat_cycles) + 1, 0.0)
