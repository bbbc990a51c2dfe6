"""What the C++ engine takes: estimates to about 20 %, since the schedule is Vitis HLS's own.

LUTs of lanes are from trial syntheses of single units by Yosys, with DSP cascades as primitives; those for
each memory lane and for the whole engine from the literature. Block RAMs follow from memories as the C++
declares them. Registers are taken to be as many as LUTs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qvit_hls.hw.accelerator import DSP_LANES

_BITS = range(max(DSP_LANES) + 1)
#: LUTs of a lane by activation bits: packing or product, adder tree, accumulator.
_DSP_LANE = np.array([0, 0, 0, 0, 4.3, 4.3, 4.3, 7.3, 14.0])
_LUT_LANE = np.array([0, 0, 0, 0, 28, 36, 40, 42, 48])
_DSP_LANES = np.array([DSP_LANES.get(bits, 1) for bits in _BITS])
#: For each of the T_n memory lanes: requantization, LayerNorm, softmax, masking of operands.
_VECTOR_LUT, _VECTOR_DSP = 700, 4
#: Control, memory ports, serial square root and dividers.
_FIXED_LUT, _FIXED_DSP = 20_000, 16
_LUT_MEMORY = 64  # words of a bank up to which it goes to LUTs


def unit_arrays(columns: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """LUT, FF, DSP and BRAM36 of the lanes, the vector units, memories and what there is once."""
    tokens, bits = columns["tile_tokens"], columns["activation_bits"]
    lanes, nothing = tokens * columns["tile_depth"], 0 * tokens
    lut_rows = columns["tile_rows"] - columns["dsp_rows"]
    lut = lanes * (columns["dsp_rows"] * _DSP_LANE[bits] + lut_rows * _LUT_LANE[bits])
    return {
        "mac_tile": _unit(lut, lanes * columns["dsp_rows"] // _DSP_LANES[bits], nothing),
        "vector_units": _unit(_VECTOR_LUT * tokens, _VECTOR_DSP * tokens, nothing),
        "memories": _unit(nothing, nothing, -(-_block_ram_halves(columns) // 2)),
        "control": _unit(nothing + _FIXED_LUT, nothing + _FIXED_DSP, nothing),
    }


def _unit(lut: np.ndarray, dsp: np.ndarray, bram36: np.ndarray) -> dict[str, np.ndarray]:
    whole = lut.astype(np.int64)
    return {"lut": whole, "ff": whole, "dsp": dsp, "bram36": bram36.astype(np.float64)}


def _block_ram_halves(c: Mapping[str, np.ndarray]) -> np.ndarray:
    """Block RAMs of 18 Kbit: lane memories, and the weight buffer with nine atoms of a row in one."""
    tokens, depth = c["tile_tokens"], c["tile_depth"]
    codes = _halves(-(-c["activation_depth"] // depth), 2048) + _halves(-(-c["digit_depth"] // depth), 2048)
    weights = -(-c["tile_rows"] * depth // 9) * _halves(2 * c["weight_depth"], 512)
    return tokens * depth * codes + tokens * _halves(c["wide_depth"], 1024) + weights


def _halves(words: np.ndarray, depth: int) -> np.ndarray:
    return np.where(words <= _LUT_MEMORY, 0, -(-words // depth))
