"""One lowering rule per float operation; formulas of the constants as in ``ir/integer_ops.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from qvit_hls.ir import float_ops as ops
from qvit_hls.ir import integer_ops as integer
from qvit_hls.ir.dyadic import channel_shifts
from qvit_hls.ir.execute_integer import ACCUMULATOR_BITS
from qvit_hls.ir.graph import Node, Op, Quantization
from qvit_hls.ir.lowering_context import Lowering, Unlowerable, own_quant, rescale
from qvit_hls.ir.lowering_linear import lower_linear
from qvit_hls.ir.tables import exponent_table, function_table
from qvit_hls.quant.levels import EXPONENT_LEVELS, MAX_ACTIVATION_BITS, WEIGHT_QMAX_8

#: Most bits of the codes that enter a function table.
MAX_TABLE_BITS = 10
#: Variances stay below 2**this, the range in which the reference's square root is exact.
MAX_VARIANCE_BITS = 53

Rule = Callable[[Lowering, Node], None]


def _input(context: Lowering, node: Node) -> None:
    assert isinstance(node.op, ops.Input)
    context.emit(node, integer.QuantizedInput(node.op.shape), (), own_quant(node))


def _movement(context: Lowering, node: Node) -> None:
    """Patches and the picking and joining of tokens, which leave codes and their meaning alone."""
    quants = {context.input_quant(name) for name in node.inputs}
    if len(quants) > 1:
        raise Unlowerable("its inputs are on different grids; what is joined must be on one")
    (quant,) = quants
    if node.quant not in (None, quant):
        raise Unlowerable("its value is rounded to another grid than its input; it must keep the grid")
    context.emit(node, node.op, node.inputs, quant)


def _elementwise(context: Lowering, node: Node) -> None:
    assert isinstance(node.op, ops.Elementwise)
    before, after = context.input_quant(node.inputs[0]), own_quant(node)
    if before.bits > MAX_TABLE_BITS:
        raise Unlowerable(
            f"its input has {before.bits} bits; a function is a table over codes of at most "
            f"{MAX_TABLE_BITS} bits"
        )
    context.emit(node, integer.Table(function_table(node.op.function, before, after)), node.inputs, after)


def _add(context: Lowering, node: Node) -> None:
    quant = own_quant(node)
    for name in node.inputs:
        scale = context.input_quant(name).scale
        if scale != quant.scale:
            raise Unlowerable(
                f"it adds {name} with steps of {scale:.6g} to a sum with steps of {quant.scale:.6g}; "
                "both terms and the sum must have the same step"
            )
    context.emit(node, integer.IntegerAdd(quant.qmax), node.inputs, quant)


def _layer_norm(context: Lowering, node: Node) -> None:
    assert isinstance(node.op, ops.LayerNorm)
    before, after = context.input_quant(node.inputs[0]), own_quant(node)
    channels = node.shape[-1] // node.op.groups
    epsilon = max(1, math.floor(node.op.eps * (channels / before.scale) ** 2 + 0.5))
    largest = (channels * before.qmax) ** 2 + epsilon
    if largest >= 1 << MAX_VARIANCE_BITS:
        raise Unlowerable(
            f"the variance of {channels} channels of {before.bits} bits may reach 2**{largest.bit_length()}; "
            f"it must stay below 2**{MAX_VARIANCE_BITS}"
        )
    shifts = None if node.op.weight is None else channel_shifts(node.op.weight)
    if shifts is not None and not shifts.any():
        shifts = None
    largest_shift = 0 if shifts is None else int(shifts.max())
    spare = integer.MAX_SHIFT - math.isqrt(largest).bit_length() - largest_shift
    multiplier, exponent = rescale(1 / after.scale, spare)
    op = integer.IntegerLayerNorm(epsilon, multiplier, exponent, after.qmax, shifts, node.op.groups)
    context.emit(node, op, node.inputs, after)


def _requantize(context: Lowering, node: Node) -> None:
    before, after = context.input_quant(node.inputs[0]), own_quant(node)
    multiplier, shift = rescale(before.scale / after.scale, integer.MAX_SHIFT - 1)
    op = integer.IntegerRequantize(multiplier, shift, after.qmax)
    context.emit(node, op, node.inputs, after)


def _scores(context: Lowering, node: Node) -> None:
    assert isinstance(node.op, ops.AttentionScores)
    q, k = (context.input_quant(name) for name in node.inputs)
    quant = own_quant(node)
    if k.qmax > WEIGHT_QMAX_8:
        raise Unlowerable(f"keys have codes up to {k.qmax}; they may go up to {WEIGHT_QMAX_8}")
    _check_activation(node.inputs[0], q)
    head_dim = context.input(node.inputs[0]).shape[-1] // node.op.heads
    _check_accumulator(head_dim * q.qmax * k.qmax)
    multiplier, shift = rescale(node.op.scale * q.scale * k.scale / quant.scale)
    bias = None
    if node.op.bias is not None:
        codes = np.floor(node.op.bias.astype(np.float64) / quant.scale + 0.5)
        bias = codes.clip(-quant.qmax, quant.qmax).astype(np.int16)
    op = integer.IntegerScores(node.op.heads, multiplier, shift, quant.qmax, bias)
    context.emit(node, op, node.inputs, quant)


def _softmax(context: Lowering, node: Node) -> None:
    assert isinstance(node.op, ops.Softmax)
    scores = context.input_quant(node.inputs[0])
    if not node.op.step:
        raise Unlowerable("its exponents are not quantized; use the quantized softmax")
    if node.op.step != scores.scale:
        raise Unlowerable(
            f"its step is {node.op.step:.9g}, but its input has steps of {scores.scale:.9g}; "
            "they must be the same"
        )
    if node.quant is not None:
        raise Unlowerable("its value is quantized; normalised probabilities are never stored")
    table = exponent_table(node.op.step, node.op.levels_per_octave)
    largest = int(table[0])
    meaning = Quantization(1 / largest, largest)  # relative to the row's largest
    context.emit(node, integer.SoftmaxExponents(table), node.inputs, meaning)


def _context(context: Lowering, node: Node) -> None:
    assert isinstance(node.op, ops.AttentionContext)
    exponents, values = (context.input(name) for name in node.inputs)
    if not isinstance(exponents.op, integer.SoftmaxExponents):
        raise Unlowerable("its first operand is not a softmax")
    v, quant = context.input_quant(node.inputs[1]), own_quant(node)
    _check_activation(node.inputs[1], v)
    largest_sum = EXPONENT_LEVELS * values.shape[0]
    _check_accumulator(largest_sum * v.qmax)
    multiplier, exponent = rescale(v.scale / quant.scale, integer.MAX_SHIFT - largest_sum.bit_length())
    op = integer.IntegerContext(node.op.heads, multiplier, exponent, quant.qmax)
    context.emit(node, op, node.inputs, quant)


def _mean_tokens(context: Lowering, node: Node) -> None:
    before, quant = context.input_quant(node.inputs[0]), own_quant(node)
    tokens = context.input(node.inputs[0]).shape[0]
    multiplier, shift = rescale(before.scale / (tokens * quant.scale))
    op = integer.IntegerMeanTokens(multiplier, shift, quant.qmax)
    context.emit(node, op, node.inputs, quant)


def _check_activation(name: str, quant: Quantization) -> None:
    if quant.bits > MAX_ACTIVATION_BITS:
        raise Unlowerable(
            f"{name} has {quant.bits} bits; operands of products have at most {MAX_ACTIVATION_BITS} bits"
        )


def _check_accumulator(largest: int) -> None:
    if largest >= 1 << (ACCUMULATOR_BITS - 1):
        raise Unlowerable(f"a sum of products may reach {largest}; accumulators have {ACCUMULATOR_BITS} bits")


#: The rule of each operation.
RULES: Mapping[type[Op], Rule] = {
    ops.Input: _input,
    ops.Patches: _movement,
    ops.TakeToken: _movement,
    ops.Slice: _movement,
    ops.ConcatTokens: _movement,
    ops.Linear: lower_linear,
    ops.Elementwise: _elementwise,
    ops.Add: _add,
    ops.LayerNorm: _layer_norm,
    ops.Requantize: _requantize,
    ops.AttentionScores: _scores,
    ops.Softmax: _softmax,
    ops.AttentionContext: _context,
    ops.MeanTokens: _mean_tokens,
}
