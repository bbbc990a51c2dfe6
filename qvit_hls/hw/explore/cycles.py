"""Cycles per frame of many accelerators: those of the engine, and a lower bound that takes less time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from qvit_hls.hw.descriptor import Unit
from qvit_hls.hw.explore.loop_cycles import frame_cycles as frame_cycles_of_loops
from qvit_hls.hw.explore.workload import Workload
from qvit_hls.hw.timing.analytic import frame_cycles
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.vector_units import vector_work
from qvit_hls.hw.timing.work import gemm_work

#: Accelerators whose cycles are computed at once; bounds the memory of the arrays over their layers.
_CHUNK = 1024


def cycles_per_frame(workload: Workload, tiles: Tiles) -> np.ndarray:
    """Cycles per frame, int64 ``[N]``.

    Of the RTL engine by the cycle model, with images that are loaded ahead; of the C++ engine, those of its
    loops, layer after layer, or of the weight stream.

    Args:
        tiles: arrays ``[N]`` of one T_k.
    """
    return _in_parts(_loops if workload.mac == "hls" else _modelled, workload, tiles)


def least_cycles(workload: Workload, tiles: Tiles) -> np.ndarray:
    """A lower bound of the cycles per frame, int64 ``[N]``.

    With the RTL engine, the longest of what the array, the weight stream and the vector lane take each by
    itself. The C++ engine's cycles are quickly counted, so they are the bound.

    Args:
        tiles: arrays ``[N]`` of one T_k.
    """
    return _in_parts(_loops if workload.mac == "hls" else _least, workload, tiles)


def _in_parts(count: Callable[[Workload, Tiles], np.ndarray], workload: Workload, tiles: Tiles) -> np.ndarray:
    size = len(np.asarray(tiles.tile_tokens))
    parts = [count(workload, _part(tiles, start)) for start in range(0, size, _CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _loops(workload: Workload, tiles: Tiles) -> np.ndarray:
    tile_depth = int(np.ravel(tiles.tile_depth)[0])
    return frame_cycles_of_loops(workload.descriptors(tile_depth), tiles)


def _modelled(workload: Workload, tiles: Tiles) -> np.ndarray:
    return np.ceil(frame_cycles(workload.network, tiles)).astype(np.int64)


def _least(workload: Workload, tiles: Tiles) -> np.ndarray:
    layers, count = workload.different_layers
    columns = Tiles(**{f.name: _column(getattr(tiles, f.name)) for f in fields(Tiles)})
    gemm, vector = gemm_work(layers, columns), vector_work(layers, columns)
    is_gemm = layers.unit == Unit.GEMM
    array = np.where(is_gemm, gemm.between + gemm.k_steps, 0) @ count
    load = np.where(is_gemm, gemm.load_all, 0) @ count
    alone = np.isin(layers.unit, (Unit.LAYER_NORM, Unit.SOFTMAX))
    lane = np.where(alone, vector.per_tile * vector.token_tiles, 0) @ count
    return np.maximum(np.maximum(array, load), lane).astype(np.int64)


def _part(tiles: Tiles, start: int) -> Tiles:
    part = slice(start, start + _CHUNK)
    return Tiles(**{f.name: _cut(getattr(tiles, f.name), part) for f in fields(Tiles)})


def _cut(value: Any, part: slice) -> Any:
    return value[part] if isinstance(value, np.ndarray) and value.ndim else value


def _column(value: Any) -> Any:
    return value[:, None] if isinstance(value, np.ndarray) and value.ndim else value
