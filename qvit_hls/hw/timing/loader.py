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
class _Loaded:
    """Row tiles of a layer, counted through the frame; the array takes ``spacing`` cycles for one."""

    first_tile: np.ndarray
    end_tile: np.ndarray
    first_step: np.ndarray
    k_steps: np.ndarray
    end: np.ndarray
    spacing: np.ndarray


class WeightRing:
    """Row tiles that have been loaded, in order, and when the array was done with the latest of them."""

    def __init__(self, steps: Numbers, tiles: int, like: np.ndarray) -> None:
        self._capacity = np.asarray(steps, np.float64)
        self._most = tiles
        self._tiles = self._steps = np.zeros_like(like)
        self._recent: deque[_Loaded] = deque(maxlen=_REMEMBERED)

    def tiles(self, k_steps: np.ndarray) -> np.ndarray:
        """Row tiles of so many steps that fit into the empty buffer."""
        return np.minimum(self._most, np.floor(self._capacity / np.maximum(k_steps, 1)))

    def room_for(self, tiles: float, k_steps: np.ndarray) -> np.ndarray:
        """When so many more row tiles fit: the cycle behind the last step of those that they replace."""
        by_tiles = self._tiles + tiles - self._most
        by_steps = self._steps + tiles * k_steps - self._capacity
        result = np.zeros_like(self._tiles)
        for layer in self._recent:
            steps_done = np.ceil((by_steps - layer.first_step) / np.maximum(layer.k_steps, 1))
            needed = np.maximum(by_tiles, layer.first_tile + steps_done)
            left = np.maximum(layer.end_tile - needed, 0)
            here = (needed > layer.first_tile) & (layer.end_tile > layer.first_tile)
            result = np.where(here, layer.end - left * layer.spacing + 1, result)
        return result

    def push(self, tiles: np.ndarray, k_steps: np.ndarray, end: np.ndarray, spacing: np.ndarray) -> None:
        """A layer's row tiles have been loaded; the array is done with the last one in cycle ``end``."""
        after = self._tiles + tiles
        self._recent.append(_Loaded(self._tiles, after, self._steps, k_steps, end, spacing))
        self._tiles, self._steps = after, self._steps + tiles * k_steps


def table_cycles(entries: np.ndarray, tiles: Tiles) -> np.ndarray:
    """Cycles of the loader for a table: one entry per cycle, and one for each beat; 0 without a table."""
    per_beat = _TABLE_BYTES_PER_WORD * np.asarray(tiles.weight_ports)
    beats = np.ceil(entries / per_beat)
    return np.where(entries > 0, np.maximum(entries + beats, beats * tiles.beat_cycles) + 1, 0.0)
