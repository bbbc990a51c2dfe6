"""Faults in the MAC tile: the functional one, and DSP and LUT lanes of the packed one."""

from __future__ import annotations

from qvit_hls.hw.descriptor import DigitSource
from qvit_hls.verify.faults.fault import SourceFault
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import (
    digits_from,
    every,
    fills_dsp_rows,
    fills_lut_rows,
    gemm,
    paired,
    tripled,
    two_digits,
)

_FUNCTIONAL = "src/kernels/mac_functional.hpp"
_PACKED = "src/kernels/mac_packed.hpp"
_LOAD = "src/kernels/gemm_load.hpp"


def _long_cascade(layer: ProgramLayer, subject: Subject) -> bool:
    return paired(layer, subject) and subject.config.cascade > 1


def _overflowing_cascade(layer: ProgramLayer, subject: Subject) -> bool:
    # Four times the safe length: sums of so many products do leave +-1023 in practice.
    return paired(layer, subject) and subject.config.tile_depth >= 4 * subject.config.cascade


MAC_FAULTS = (
    SourceFault(
        "mac-step-short",
        "MAC tile",
        "a step leaves out its last product",
        _FUNCTIONAL,
        (
            (
                "for (int k = 0; k < C::T_K; ++k) {\n            const int16_t w",
                "for (int k = 0; k < C::T_K - 1; ++k) {\n            const int16_t w",
            ),
        ),
        gemm,
        "a matrix product",
    ),
    SourceFault(
        "mac-accumulates-from-second-step",
        "MAC tile",
        "every step starts a new sum",
        _FUNCTIONAL,
        (("        if (first)\n", "        if (true)\n"),),
        every(gemm, lambda layer, subject: layer.words["k_steps"] > 1),
        "a matrix product of several steps",
    ),
    SourceFault(
        "dsp-borrow-missing",
        "DSP packing",
        "a field's value is its bits alone, without the bit below",
        _PACKED,
        (("return bits + below;", "return bits;"),),
        fills_dsp_rows,
        "DSP lanes",
        "packed",
    ),
    SourceFault(
        "dsp-field-misplaced",
        "DSP packing",
        "the second row enters port A one bit too low",
        _PACKED,
        (("(ap_int<27>(w1[k]) << (2 * FIELD)) + w0[k];", "(ap_int<27>(w1[k]) << (2 * FIELD - 1)) + w0[k];"),),
        paired,
        "DSP lanes of two rows by two tokens (A <= 7)",
        "packed",
    ),
    SourceFault(
        "dsp-operand-unsigned",
        "DSP packing",
        "the first token enters port B without its sign",
        _PACKED,
        (
            (
                "(ap_int<18>(x1[k]) << FIELD) + x0[k];",
                "(ap_int<18>(x1[k]) << FIELD) + ap_uint<FIELD>(ap_int<FIELD>(x0[k]));",
            ),
        ),
        paired,
        "DSP lanes of two rows by two tokens (A <= 7)",
        "packed",
    ),
    SourceFault(
        "dsp-cascade-short",
        "DSP packing",
        "a cascade leaves out its last product",
        _PACKED,
        (("k < k0 + C::CASCADE; ++k)", "k < k0 + C::CASCADE - 1; ++k)"),),
        _long_cascade,
        "DSP cascades of several products (A <= 7)",
        "packed",
    ),
    SourceFault(
        "dsp-cascade-overflows",
        "DSP packing",
        "a cascade sums all products of a step, more than its fields hold",
        _PACKED,
        (
            ("k0 < C::T_K; k0 += C::CASCADE)", "k0 < C::T_K; k0 += C::T_K)"),
            ("k < k0 + C::CASCADE; ++k)", "k < k0 + C::T_K; ++k)"),
        ),
        _overflowing_cascade,
        "steps at least four times as long as a DSP cascade (A <= 7)",
        "packed",
    ),
    SourceFault(
        "dsp-fields-exchanged",
        "DSP packing",
        "the two middle fields go to each other's sums",
        _PACKED,
        (
            (
                "sum[m][n + 1] = field[1];\n                sum[m + 1][n] = field[2];",
                "sum[m][n + 1] = field[2];\n                sum[m + 1][n] = field[1];",
            ),
        ),
        paired,
        "DSP lanes of two rows by two tokens (A <= 7)",
        "packed",
    ),
    SourceFault(
        "dsp-triple-misplaced",
        "DSP packing",
        "the middle row enters port A one bit too low",
        _PACKED,
        (("(ap_int<27>(w1[k]) << FIELD) + w0[k];", "(ap_int<27>(w1[k]) << (FIELD - 1)) + w0[k];"),),
        tripled,
        "DSP lanes of three rows by one token (A = 8)",
        "packed",
    ),
    SourceFault(
        "dsp-triple-exchanged",
        "DSP packing",
        "two of three rows go to each other's sums",
        _PACKED,
        (
            (
                "sum[m + 1][n] = field[1];\n                sum[m + 2][n] = field[2];",
                "sum[m + 1][n] = field[2];\n                sum[m + 2][n] = field[1];",
            ),
        ),
        tripled,
        "DSP lanes of three rows by one token (A = 8)",
        "packed",
    ),
    SourceFault(
        "lut-lane-short",
        "LUT lanes",
        "a LUT lane leaves out its first product",
        _PACKED,
        (("        sum += product;", "        if (k > 0) sum += product;"),),
        fills_lut_rows,
        "LUT lanes",
        "packed",
    ),
    SourceFault(
        "packed-accumulator-not-restarted",
        "MAC tile",
        "the first step adds to the sum of the tile before",
        _PACKED,
        (("(first ? typename C::acc_t(0) : acc[m][n])", "acc[m][n]"),),
        gemm,
        "a matrix product",
        "packed",
    ),
    SourceFault(
        "low-digit-unsigned",
        "digits",
        "the low digit of an attention operand is 0 to 15, which four signed bits do not hold",
        _LOAD,
        (("static_cast<sint<8>>(((value + 8) & 15) - 8);", "static_cast<sint<8>>(value & 15);"),),
        every(digits_from(DigitSource.MEMORY), two_digits),
        "an attention product",
        "packed",
    ),
)
