"""Cycles of the C++ engine's loops for many accelerators at once; ``unit_cycles.py`` says them of one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qvit_hls.hw.accelerator import PORT_BITS
from qvit_hls.hw.descriptor import Descriptor, Destination, DigitSource, Scaling, Unit
from qvit_hls.hw.gemm_timing import PARAMETER_BITS
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.unit_cycles import RECIPROCAL_LATENCY, ROOT_LATENCY, window_tiles


def frame_cycles(layers: Mapping[Descriptor, int], tiles: Tiles) -> np.ndarray:
    """Cycles per frame, int64 ``[N]``: those of all layers, one after the other, or of the weight stream.

    Args:
        layers: descriptors, and how many layers there are of each.
        tiles: arrays ``[N]``, or numbers.
    """
    cycles: np.ndarray = np.zeros((), np.int64)
    beats = cycles
    for descriptor, count in layers.items():
        layer_cycles, layer_beats = _layer(descriptor, tiles)
        cycles, beats = cycles + count * layer_cycles, beats + count * layer_beats
    beat_bytes = _beat_bits(tiles) // 8
    stream = beats * beat_bytes / np.minimum(beat_bytes, tiles.bytes_per_cycle)
    return np.maximum(cycles, stream.astype(np.int64))


def _layer(d: Descriptor, tiles: Tiles) -> tuple[np.ndarray, np.ndarray]:
    """Cycles, and beats that it takes from the weight stream."""
    table_beats = _ceil_div(d.table_entries * 8, _beat_bits(tiles))
    table = table_beats * (_beat_bits(tiles) // 8)  # an entry per cycle
    if d.unit == Unit.GEMM:
        planning = _ceil_div(d.rows + d.rows8, tiles.tile_rows) + 1
        cycles, beats = _gemm(d, tiles)
        return table + planning + cycles, table_beats + beats
    cycles = _vector_cycles(d, tiles)
    return table + cycles, table_beats + (cycles if d.unit == Unit.LOAD_RESIDUAL else 0)


def _vector_cycles(d: Descriptor, tiles: Tiles) -> np.ndarray:
    lanes = np.asarray(tiles.tile_tokens)
    token_tiles = _ceil_div(d.tokens, lanes)
    if d.unit == Unit.LOAD_IMAGE:
        return d.k * d.height * d.width // np.asarray(tiles.image_pixels)
    if d.unit == Unit.LOAD_RESIDUAL:
        return token_tiles * d.k * _ceil_div(lanes * 16, _beat_bits(tiles))
    if d.unit == Unit.LAYER_NORM:
        passes = 1 if d.scaling == Scaling.CONSTANT else 2
        return token_tiles * (passes * d.k + lanes + ROOT_LATENCY)
    if d.unit == Unit.SOFTMAX:
        return token_tiles * (d.k + lanes + RECIPROCAL_LATENCY)
    if d.unit == Unit.MEAN_TOKENS:
        return d.k * window_tiles(d.first_token, d.rows, d.tokens, lanes)
    return np.asarray(d.k)


def _gemm(d: Descriptor, tiles: Tiles) -> tuple[np.ndarray, np.ndarray]:
    """Cycles, and beats of the weight stream.

    Row tiles come in four runs: of two-digit rows, one of both kinds, of one-digit rows, and their rest.
    """
    t_m = np.asarray(tiles.tile_rows)
    half = t_m // 2
    mixed8 = d.rows8 % half
    mixed4 = np.where(mixed8 > 0, np.minimum(d.rows - d.rows8, t_m - 2 * mixed8), 0)
    rows4 = d.rows - d.rows8 - mixed4
    runs = (
        (d.rows8 // half, half, t_m),
        (np.sign(mixed8), mixed8 + mixed4, 2 * mixed8 + mixed4),
        (rows4 // t_m, t_m, t_m),
        (np.sign(rows4 % t_m), rows4 % t_m, rows4 % t_m),
    )
    steps = _ceil_div(d.k, tiles.tile_depth)
    token_tiles = _ceil_div(d.tokens, tiles.tile_tokens)
    # A row tile is multiplied while the next one is loaded; its first slot drains the one before it.
    cycles, slots, drained, loads = (np.zeros(np.shape(t_m), np.int64) for _ in range(4))
    for count, rows, atoms in runs:
        load, drain = _load_cycles(d, tiles, steps, rows, atoms), _drain_cycles(d, tiles, rows)
        first = np.maximum(steps, drained) + (token_tiles - 1) * np.maximum(steps, drain)
        others = token_tiles * np.maximum(steps, drain)
        run = np.maximum(slots, load) + np.where(count > 1, np.maximum(first, load), 0)
        run = run + np.maximum(count - 2, 0) * np.maximum(others, load)
        there = count > 0
        cycles = cycles + np.where(there, run, 0)
        slots = np.where(there, np.where(count > 1, others, first), slots)
        drained = np.where(there, drain, drained)
        loads = loads + count * load
    streamed = d.digit_source == DigitSource.STREAM
    return cycles + slots + drained, loads if streamed else np.zeros_like(loads)


def _load_cycles(
    d: Descriptor, tiles: Tiles, steps: np.ndarray, rows: np.ndarray, atoms: np.ndarray
) -> np.ndarray:
    if d.digit_source == DigitSource.MEMORY:
        together = np.gcd(tiles.tile_tokens, np.asarray(tiles.tile_rows) // 2)
        return _ceil_div(rows, together) * steps
    beat = _beat_bits(tiles)
    return _ceil_div(rows * PARAMETER_BITS, beat) + steps * _ceil_div(atoms * tiles.tile_depth * 4, beat)


def _drain_cycles(d: Descriptor, tiles: Tiles, rows: np.ndarray) -> np.ndarray:
    if d.destination != Destination.ACTIVATION_TRANSPOSED:
        return np.asarray(rows)
    block = np.asarray(tiles.tile_tokens) // np.asarray(tiles.tile_depth)
    return _ceil_div(rows, block) * block


def _beat_bits(tiles: Tiles) -> np.ndarray:
    return PORT_BITS * np.asarray(tiles.weight_ports)


def _ceil_div(a: int | np.ndarray, b: int | np.ndarray) -> np.ndarray:
    return -(-np.asarray(a) // np.asarray(b))
