"""Lowering of linear layers: weight codes, integer biases and one rescaling factor per row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qvit_hls.ir.dyadic import dyadic
from qvit_hls.ir.execute_integer import ACCUMULATOR_BITS
from qvit_hls.ir.float_ops import Linear
from qvit_hls.ir.graph import Node
from qvit_hls.ir.integer_ops import BIAS_BITS, IntegerLinear
from qvit_hls.ir.lowering_context import Lowering, Unlowerable, own_quant
from qvit_hls.quant.levels import MAX_ACTIVATION_BITS, weight_qmax

#: How far a weight may lie from its grid, in steps: float32 rounding, nothing more.
_OFF_GRID = 1e-3


def lower_linear(context: Lowering, node: Node) -> None:
    """Linear to IntegerLinear; ``acc * row_scale * input_scale`` is the real value of an accumulator."""
    assert isinstance(node.op, Linear)
    before, after = context.input_quant(node.inputs[0]), own_quant(node)
    if before.bits > MAX_ACTIVATION_BITS:
        raise Unlowerable(
            f"its input {node.inputs[0]} has {before.bits} bits; operands of products have at most "
            f"{MAX_ACTIVATION_BITS} bits"
        )
    codes, step, row_bits = _weight_codes(node.op)
    real_bias = np.zeros(len(codes)) if node.op.bias is None else node.op.bias.astype(np.float64)
    bias = _bias_codes(real_bias, step * before.scale)
    reach = np.abs(codes).sum(axis=1) * before.qmax + np.abs(bias)
    _raise_for_rows(
        reach >= 1 << (ACCUMULATOR_BITS - 1),
        lambda r: f"row {r} may accumulate {reach[r]}; accumulators have {ACCUMULATOR_BITS} bits",
    )
    factors = []
    for r, ratio in enumerate(step * before.scale / after.scale):
        try:
            factors.append(dyadic(float(ratio)))
        except ValueError as error:
            raise Unlowerable(f"row {r}: {error}") from error
    multiplier, shift = np.array(factors, dtype=np.int64).T
    op = IntegerLinear(
        codes.astype(np.int8),
        row_bits,
        bias,
        np.ascontiguousarray(multiplier),
        np.ascontiguousarray(shift),
        after.qmax,
    )
    context.emit(node, op, node.inputs, after)


def _weight_codes(op: Linear) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes int64 ``[rows, k]``, steps float64 ``[rows]`` and bits uint8 ``[rows]`` of quantized weights."""
    if op.row_scale is None or op.row_bits is None:
        raise Unlowerable(
            "its weights are not quantized; round them with quant.fake_quant.fake_quantize_rows"
        )
    step = op.row_scale.astype(np.float64)
    _raise_for_rows(~(step > 0), lambda r: f"row {r} has a step of {step[r]}; it must be positive")
    bits = op.row_bits
    _raise_for_rows(
        ~np.isin(bits, (4, 8)), lambda r: f"row {r} has {bits[r]}-bit weights; rows are 4 or 8 bit"
    )
    real = op.weight.astype(np.float64) / step[:, None]
    codes = np.rint(real)
    limit = np.array([weight_qmax(int(b)) for b in bits])
    off = (np.abs(real - codes).max(axis=1, initial=0) > _OFF_GRID) | (
        np.abs(codes).max(axis=1, initial=0) > limit
    )
    _raise_for_rows(
        off, lambda r: f"row {r} has weights off its grid of {bits[r]}-bit multiples of {step[r]:.6g}"
    )
    return codes.astype(np.int64), step, bits.astype(np.uint8)


def _bias_codes(bias: np.ndarray, step: np.ndarray) -> np.ndarray:
    """``floor(bias / step + 1/2)``, int64 ``[rows]``."""
    codes = np.floor(bias / step + 0.5)
    largest = (1 << (BIAS_BITS - 1)) - 1
    _raise_for_rows(
        ~(np.abs(codes) <= largest),
        lambda r: f"row {r} has a bias of {codes[r]:.0f} accumulator steps; at most {largest} fit",
    )
    return codes.astype(np.int64)


def _raise_for_rows(bad: np.ndarray, problem: Callable[[int], str]) -> None:
    """Raise for the first row where ``bad [rows]`` holds, and say how many others there are."""
    rows = np.flatnonzero(bad)
    if len(rows):
        others = f" (and {len(rows) - 1} other rows likewise)" if len(rows) > 1 else ""
        raise Unlowerable(problem(int(rows[0])) + others)
