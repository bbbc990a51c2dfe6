"""What an engine costs in LUTs, DSPs and block RAMs: first figures, from the literature and trial syntheses.

Measured cost models take their place later.
"""

from __future__ import annotations

from dataclasses import dataclass

from qvit_hls.hw.accelerator import AcceleratorConfig, Mac
from qvit_hls.hw.gemm_timing import ceil_div


@dataclass(frozen=True)
class LaneCost:
    """LUTs and DSPs of one kind of engine.

    Attributes:
        lut_per_dsp_lane: by activation bits; packing adders, field decoding, adder tree and accumulator.
        lut_per_lut_lane: by activation bits; the product, adder tree and accumulator.
        vector_lut, vector_dsp: requantization, LayerNorm, softmax and operand masking, for each of the T_n
            memory lanes.
        fixed_lut, fixed_dsp: control, memory ports, serial square root and dividers.
    """

    lut_per_dsp_lane: dict[int, float]
    lut_per_lut_lane: dict[int, float]
    vector_lut: int = 700
    vector_dsp: int = 4
    fixed_lut: int = 20_000
    fixed_dsp: int = 16


#: Yosys, xcup. HLS: trial syntheses with the DSP cascades as primitives. RTL: lanes as `make area` measures
#: them at T_k = 8, shift registers counted as LUTs; for each memory lane gemm_drain (1,550 LUTs and 2 DSPs at
#: two rows per cycle), LayerNorm (240 and 1), softmax (100) and operand masking.
LANE_COST: dict[Mac, LaneCost] = {
    "hls": LaneCost(
        lut_per_dsp_lane={4: 4.3, 5: 4.3, 6: 4.3, 7: 7.3, 8: 14.0},
        lut_per_lut_lane={4: 28, 5: 36, 6: 40, 7: 42, 8: 48},
    ),
    "rtl": LaneCost(
        lut_per_dsp_lane={4: 2.9, 5: 3.1, 6: 3.1, 7: 4.7, 8: 8.0},
        lut_per_lut_lane={4: 14.5, 5: 16.2, 6: 18.8, 7: 20.4, 8: 23.0},
        vector_lut=2200,
        vector_dsp=3,
    ),
}


def luts(config: AcceleratorConfig) -> int:
    """LUTs of the whole accelerator, to about 20 %."""
    cost = LANE_COST[config.mac]
    lanes = config.tile_tokens * config.tile_depth
    dsp = lanes * config.dsp_rows * cost.lut_per_dsp_lane[config.activation_bits]
    lut = lanes * (config.tile_rows - config.dsp_rows) * cost.lut_per_lut_lane[config.activation_bits]
    return int(dsp + lut) + cost.vector_lut * config.tile_tokens + cost.fixed_lut


def dsps(config: AcceleratorConfig) -> int:
    """DSP48E2 slices of the whole accelerator."""
    cost = LANE_COST[config.mac]
    return config.mac_dsps + cost.vector_dsp * config.tile_tokens + cost.fixed_dsp


def bram36(config: AcceleratorConfig) -> int:
    """Block RAMs of the lane memories and the weight buffer; a bank of up to 64 words goes to LUTs."""
    # Both halves of the weight buffer; atoms side by side share a block RAM of 36 bits.
    halves = ceil_div(config.tile_rows * config.tile_depth, 9) * _halves(2 * config.weight_depth, 36)
    return ceil_div(_activation_halves(config) + halves, 2)


def activation_bram36(config: AcceleratorConfig) -> int:
    """Block RAMs of the lane memories alone; they depend on T_n and T_k, not on rows or ports."""
    return ceil_div(_activation_halves(config), 2)


def _activation_halves(config: AcceleratorConfig) -> int:
    banks = config.tile_tokens * config.tile_depth
    halves = banks * _halves(ceil_div(config.activation_depth, config.tile_depth), 8)
    halves += banks * _halves(ceil_div(config.digit_depth, config.tile_depth), 8)
    return halves + config.tile_tokens * _halves(config.wide_depth, 16)


def _halves(depth: int, width: int) -> int:
    """Block RAMs of 18 Kbit for one memory of a width up to 36."""
    if depth <= 64:
        return 0
    words = 512 if width > 18 else 1024 if width > 9 else 2048
    return ceil_div(depth, words)
