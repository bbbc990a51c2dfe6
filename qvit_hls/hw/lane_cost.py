"""What lanes cost in LUTs and DSPs: first figures, from the literature and from trial syntheses.

LUTs per DSP lane include packing adders, field decoding, adder tree and accumulator, with the DSP
cascades as primitives (Yosys, xcup); LUT lanes likewise. Measured cost models take their place later.
"""

from __future__ import annotations

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.gemm_timing import ceil_div

#: By activation bits.
LUT_PER_DSP_LANE = {4: 4.3, 5: 4.3, 6: 4.3, 7: 7.3, 8: 14.0}
LUT_PER_LUT_LANE = {4: 28, 5: 36, 6: 40, 7: 42, 8: 48}
#: Requantization, LayerNorm, softmax and operand masking, for each of the T_n memory lanes.
VECTOR_LUT_PER_LANE = 700
VECTOR_DSP_PER_LANE = 4
#: Control, memory ports, serial square root and dividers.
FIXED_LUT = 20_000
FIXED_DSP = 16


def luts(config: AcceleratorConfig) -> int:
    """LUTs of the whole accelerator, to about 20 %."""
    lanes = config.tile_tokens * config.tile_depth
    dsp = lanes * config.dsp_rows * LUT_PER_DSP_LANE[config.activation_bits]
    lut = lanes * (config.tile_rows - config.dsp_rows) * LUT_PER_LUT_LANE[config.activation_bits]
    return int(dsp + lut) + VECTOR_LUT_PER_LANE * config.tile_tokens + FIXED_LUT


def dsps(config: AcceleratorConfig) -> int:
    """DSP48E2 slices of the whole accelerator."""
    return config.mac_dsps + VECTOR_DSP_PER_LANE * config.tile_tokens + FIXED_DSP


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
