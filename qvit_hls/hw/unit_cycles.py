"""Cycles of every unit's main loop, from a descriptor and the accelerator alone."""

from __future__ import annotations

import numpy as np

from qvit_hls.hw.accelerator import PORT_BITS, AcceleratorConfig
from qvit_hls.hw.descriptor import Descriptor, Destination, DigitSource, Scaling, Unit
from qvit_hls.hw.gemm_timing import ceil_div, gemm_cycles, round_up

#: Cycles before the serial reciprocal's first result (17 quotient bits, pipelined).
RECIPROCAL_LATENCY = 24
#: Cycles before the serial square root and reciprocal's first result.
ROOT_LATENCY = 60


def window_tiles(
    first: int | np.ndarray, windows: int | np.ndarray, tokens: int | np.ndarray, lanes: int | np.ndarray
) -> np.ndarray:
    """Token tiles of ``lanes`` tokens that successive windows touch, all windows together.

    Window j is the ``tokens`` tokens from ``first + j`` on, at least one. Whole numbers, or arrays of them.
    """
    size = np.asarray(lanes)

    def tiles_before(token: int | np.ndarray) -> np.ndarray:
        """Sum of ``i // size`` over all i below this one."""
        whole = token // size
        return size * (whole * (whole - 1) // 2) + whole * (token % size)

    # Window j touches (first + j + tokens - 1) // size - (first + j) // size + 1 of them.
    end = first + tokens - 1
    further = (
        tiles_before(end + windows) - tiles_before(end) - tiles_before(first + windows) + tiles_before(first)
    )
    return further + windows


def unit_cycles(config: AcceleratorConfig, d: Descriptor) -> int:
    """Cycles of a descriptor's main loop. A GEMM runs exactly so many iterations; the others' loops are
    fixed by their shape, and pipeline latencies are added where a loop waits for them."""
    lanes = config.tile_tokens
    tiles = ceil_div(d.tokens, lanes)
    if d.unit == Unit.LOAD_IMAGE:
        return d.k * d.height * d.width // config.image_pixels
    if d.unit == Unit.LOAD_RESIDUAL:
        return tiles * d.k * ceil_div(lanes * 16, config.beat_bits)
    if d.unit == Unit.GEMM:
        return gemm_cycles(
            config,
            tokens=d.tokens,
            rows=d.rows,
            rows8=d.rows8,
            k=d.k,
            from_memory=d.digit_source == DigitSource.MEMORY,
            transposed=d.destination == Destination.ACTIVATION_TRANSPOSED,
        )
    if d.unit == Unit.LAYER_NORM:
        passes = 1 if d.scaling == Scaling.CONSTANT else 2
        return tiles * (passes * d.k + lanes + ROOT_LATENCY)
    if d.unit == Unit.SOFTMAX:
        return tiles * (d.k + lanes + RECIPROCAL_LATENCY)
    if d.unit == Unit.MEAN_TOKENS:
        return d.k * int(window_tiles(d.first_token, d.rows, d.tokens, lanes))
    return d.k


def table_cycles(config: AcceleratorConfig, d: Descriptor) -> int:
    """Cycles to load a layer's table before its main loop: one entry per cycle."""
    return round_up(d.table_entries, config.weight_ports * PORT_BITS // 8)


def layer_cycles(config: AcceleratorConfig, d: Descriptor) -> int:
    """Cycles of a whole layer: table, the planning of row tiles, main loop."""
    planning = ceil_div(d.rows + d.rows8, config.tile_rows) + 1 if d.unit == Unit.GEMM else 0
    return table_cycles(config, d) + planning + unit_cycles(config, d)
