"""Cycles per frame of many accelerators: a lower bound from the layers by themselves, and the cycle model."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import Unit
from qvit_hls.hw.explore.workload import Workload
from qvit_hls.hw.timing.analytic import frame_timing
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.vector_units import vector_work
from qvit_hls.hw.timing.work import gemm_work
from qvit_hls.hw.unit_cycles import layer_cycles

#: Accelerators whose cycles are computed at once; bounds the memory of the arrays over their layers.
_CHUNK = 1024


def least_cycles(workload: Workload, tiles: Tiles) -> np.ndarray:
    """A lower bound of the cycles per frame, int64 ``[N]``.

    With the RTL engine, the longest of what the array, the weight stream and the vector lane take each by
    itself. The C++ engine runs layer after layer, so its GEMMs and vector units add up.

    Args:
        tiles: arrays ``[N]``.
    """
    size = len(np.asarray(tiles.tile_tokens))
    parts = [_least(workload, _part(tiles, start)) for start in range(0, size, _CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def modelled_cycles(workload: Workload, tiles: Tiles) -> np.ndarray:
    """Cycles per frame of the RTL engine by the cycle model, int64 ``[N]``; images are loaded ahead."""
    size = len(np.asarray(tiles.tile_tokens))
    parts = [frame_timing(workload.network, _part(tiles, start)).cycles for start in range(0, size, _CHUNK)]
    return np.ceil(np.concatenate(parts)).astype(np.int64) if parts else np.zeros(0, np.int64)


def counted_cycles(workload: Workload, config: AcceleratorConfig, bytes_per_cycle: float) -> int:
    """Cycles per frame of the C++ engine: those of its loops, layer after layer, or of the weight stream."""
    loops = sum(count * layer_cycles(config, d) for d, count in workload.descriptors.items())
    return max(loops, int(workload.stream_bytes / min(config.beat_bits / 8, bytes_per_cycle)))


def _least(workload: Workload, tiles: Tiles) -> np.ndarray:
    layers, count = workload.different_layers
    columns = Tiles(**{f.name: _column(getattr(tiles, f.name)) for f in fields(Tiles)})
    gemm, vector = gemm_work(layers, columns), vector_work(layers, columns)
    is_gemm = layers.unit == Unit.GEMM
    array = np.where(is_gemm, gemm.between + gemm.k_steps, 0) @ count
    load = np.where(is_gemm, gemm.load_all, 0) @ count
    alone = np.isin(layers.unit, (Unit.LAYER_NORM, Unit.SOFTMAX))
    lane = np.where(alone, vector.per_tile * vector.token_tiles, 0) @ count
    least = np.maximum(array, load)
    return (least + lane if workload.mac == "hls" else np.maximum(least, lane)).astype(np.int64)


def _part(tiles: Tiles, start: int) -> Tiles:
    part = slice(start, start + _CHUNK)
    return Tiles(**{f.name: _cut(getattr(tiles, f.name), part) for f in fields(Tiles)})


def _cut(value: Any, part: slice) -> Any:
    return value[part] if isinstance(value, np.ndarray) and value.ndim else value


def _column(value: Any) -> Any:
    return value[:, None] if isinstance(value, np.ndarray) and value.ndim else value
