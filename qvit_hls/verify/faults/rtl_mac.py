"""Faults in the RTL's MAC tile: packing for DSP slices, fields, LUT lanes, adder trees, accumulators."""

from __future__ import annotations

from qvit_hls.verify.faults.rtl_fault import Edit, RtlFault, Shows
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import (
    either,
    fills_dsp_rows,
    fills_lut_rows,
    gemm,
    paired,
    tripled,
)

_TILE = "rtl/mac/mac_tile.sv"
_DSP_ROWS = "rtl/mac/mac_dsp_rows.sv"
_DSP_CHAIN = "rtl/mac/dsp_chain.sv"
_LUT_LANE = "rtl/mac/mac_lut_lane.sv"
_SUM_TREE = "rtl/mac/sum_tree.sv"
_ADDER = "rtl/mac/ternary_adder.sv"
_BOOTH = "rtl/mac/booth_product.sv"

_PAIRS = "DSP lanes of two rows by two tokens (A <= 7)"
_TRIPLES = "DSP lanes of three rows by one token (A = 8)"


def _several_steps(layer: ProgramLayer, subject: Subject) -> bool:
    return gemm(layer, subject) and layer.words["k_steps"] > 1


def _long_cascade(layer: ProgramLayer, subject: Subject) -> bool:
    return paired(layer, subject) and subject.config.cascade > 1


RTL_MAC_FAULTS = (
    RtlFault(
        "row-borrow-lost",
        "DSP packing",
        "the second row enters port A without the borrow of a negative first one",
        _DSP_ROWS,
        (
            Edit(
                "weight[2*m][k][3]",
                "1'b0",
                ".value({weight[2*m+1][k][3], weight[2*m+1][k]}), .borrow(weight[2*m][k][3]),",
            ),
        ),
        paired,
        _PAIRS,
    ),
    RtlFault(
        "row-sign-lost",
        "DSP packing",
        "the first row enters port A without its sign",
        _DSP_ROWS,
        (Edit("{18{late[3]}}", "18'd0"),),
        paired,
        _PAIRS,
    ),
    RtlFault(
        "token-borrow-lost",
        "DSP packing",
        "the second token enters port B without the borrow of a negative first one",
        _DSP_ROWS,
        (Edit("activation[2*n][k][A-1]", "1'b0"),),
        paired,
        _PAIRS,
    ),
    RtlFault(
        "third-row-borrow-lost",
        "DSP packing",
        "of three rows, the last enters port A without the borrow of the middle one",
        _DSP_ROWS,
        (Edit("middle[4]", "1'b0", ".borrow(middle[4])"),),
        tripled,
        _TRIPLES,
    ),
    RtlFault(
        "block-sums-exchanged",
        "DSP packing",
        "the two middle sums of a block go to each other's row and token",
        _DSP_ROWS,
        (
            Edit(
                "sum[(WIDE*i+j)*SUM_BITS+:SUM_BITS]",
                "sum[(HIGH*j+i)*SUM_BITS+:SUM_BITS]",
            ),
        ),
        paired,
        _PAIRS,
    ),
    RtlFault(
        "field-offset-missing",
        "DSP packing",
        "the first slice of a cascade adds no half to the fields, which borrow from each other",
        _DSP_CHAIN,
        (Edit("(OPMODE)", "{2'b00, OPMODE[6:0]}", ".OPMODE(OPMODE)"),),
        fills_dsp_rows,
        "DSP lanes",
    ),
    RtlFault(
        "cascade-cut",
        "DSP packing",
        "a slice leaves out the sum that the slice before it hands on",
        _DSP_CHAIN,
        (Edit("(cascade[i])", "48'd0", ".PCIN(cascade[i])"),),
        _long_cascade,
        "DSP cascades of several products (A <= 7)",
    ),
    RtlFault(
        "field-sign-kept",
        "adder trees",
        "the accumulator takes a field with its offset",
        _ADDER,
        (Edit("(b ^ INVERT_B)", "b"),),
        fills_dsp_rows,
        "DSP lanes",
    ),
    RtlFault(
        "tree-third-term-lost",
        "adder trees",
        "a ternary adder of a tree leaves out its third term",
        _SUM_TREE,
        (Edit("node[l-1][3*i+2][BITS-1:0]", "{BITS{1'b0}}"),),
        either(fills_lut_rows, tripled),
        "trees of three terms and more: LUT lanes, or A = 8",
    ),
    RtlFault(
        "tree-second-root-lost",
        "adder trees",
        "the accumulator leaves out the second of the tree's roots",
        _SUM_TREE,
        (Edit("second", "{SUM_BITS{1'b0}}", ".c(second)"),),
        gemm,
        "a matrix product",
    ),
    RtlFault(
        "booth-carry-lost",
        "LUT lanes",
        "the one that completes a negative low Booth digit is not added",
        _LUT_LANE,
        (Edit("(carry)", "{CARRIES{1'b0}}", ".carry(carry)"),),
        fills_lut_rows,
        "LUT lanes",
    ),
    RtlFault(
        "booth-weight-unsigned",
        "LUT lanes",
        "a weight's sign is not seen",
        _BOOTH,
        (Edit("{(A-1){weight[3]}}", "{(A-1){1'b0}}"),),
        fills_lut_rows,
        "LUT lanes",
    ),
    RtlFault(
        "lut-lane-short",
        "LUT lanes",
        "a LUT lane leaves out its first product",
        _LUT_LANE,
        (Edit("product", "{product[T_K-1:1], {(A+3){1'b0}}}", "term <= product;"),),
        fills_lut_rows,
        "LUT lanes",
    ),
    RtlFault(
        "accumulator-not-restarted",
        "MAC tile",
        "the first step adds to the sum of the slot before",
        _TILE,
        (Edit("first_before", "1'b0", "{T_M{first_before}}"),),
        gemm,
        "a matrix product",
    ),
    RtlFault(
        "accumulates-idle-cycles",
        "MAC tile",
        "cycles without a step add the products of what lies on the operands",
        _TILE,
        (Edit("valid_after[ACCUMULATE-2] & ~rst", "~rst"),),
        gemm,
        "a matrix product",
        frozenset({Shows.LAYER, Shows.UNTRACED}),
    ),
    RtlFault(
        "sums-handed-over-every-step",
        "MAC tile",
        "the drain takes the sums after every step, not after the last",
        _TILE,
        (Edit("valid_after[ACCUMULATE] & last_after[ACCUMULATE]", "valid_after[ACCUMULATE]"),),
        _several_steps,
        "a matrix product of several steps",
        frozenset({Shows.LAYER, Shows.HANG}),
    ),
)
