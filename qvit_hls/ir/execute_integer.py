"""How each integer operation runs in PyTorch: the golden reference, formulas as in ``ir/integer_ops.py``.

Values are int64, with a batch dimension in front. Matrix products go through float64, which holds
every integer below 2**53 exactly; the bound is checked on the operands before each product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Op

#: Accumulators of matrix products are signed and have this many bits in every implementation.
ACCUMULATOR_BITS = 32
_EXACT_IN_FLOAT64 = 1 << 53


def requantize(acc: Tensor, multiplier: Tensor, shift: Tensor, qmax: int) -> Tensor:
    """``clamp((acc * multiplier + 2**(shift-1)) >> shift, qmax)``, all int64, broadcasting."""
    half = torch.bitwise_left_shift(torch.ones_like(shift), shift - 1)
    return ((acc * multiplier).add_(half) >> shift).clamp_(-qmax, qmax)


def bit_length(value: Tensor) -> Tensor:
    """Bits of each int64 element in 1..2**53-1, as ``int.bit_length``."""
    return torch.frexp(value.double()).exponent.long()


def reciprocal(divisor: Tensor, multiplier: int, exponent: int) -> tuple[Tensor, Tensor]:
    """``M = (multiplier << z) // divisor`` and ``s = exponent + z``, z the divisor's bit length."""
    bits = bit_length(divisor)
    numerator = torch.bitwise_left_shift(torch.full_like(bits, multiplier), bits)
    return torch.div(numerator, divisor, rounding_mode="floor"), bits + exponent


def integer_sqrt(value: Tensor) -> Tensor:
    """Exact ``floor(sqrt(value))`` of int64 elements in 0..2**53-1, as ``math.isqrt``."""
    root = value.double().sqrt().long()
    root -= (root * root > value).long()  # the square root may have been rounded up to the next integer
    return root


def exact_matmul(a: Tensor, b: Tensor) -> Tensor:
    """Integer matrix product ``a @ b`` of int64 tensors, exact.

    Raises:
        OverflowError: the product cannot be shown exact in float64, or an element needs more than
            ACCUMULATOR_BITS bits.
    """
    bound = a.shape[-1] * _largest(a) * _largest(b)
    if bound >= _EXACT_IN_FLOAT64:
        raise OverflowError(f"a product may reach {bound}, which float64 does not hold exactly")
    acc = torch.matmul(a.double(), b.double()).long()
    return checked_accumulator(acc) if bound >= 1 << (ACCUMULATOR_BITS - 1) else acc


def checked_accumulator(acc: Tensor) -> Tensor:
    """``acc`` itself; raises OverflowError when an element reaches 2**(ACCUMULATOR_BITS-1)."""
    if _largest(acc) >= 1 << (ACCUMULATOR_BITS - 1):
        raise OverflowError(f"an accumulator reaches {_largest(acc)}, more than {ACCUMULATOR_BITS} bits hold")
    return acc


def _largest(value: Tensor) -> int:
    if value.numel() == 0:
        return 0
    low, high = torch.aminmax(value)
    return max(-int(low), int(high))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``[batch, tokens, heads*d] -> [batch, heads, tokens, d]``."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """``[batch, heads, tokens, d] -> [batch, tokens, heads*d]``."""
    return x.transpose(1, 2).flatten(2)


def patches(op: ops.Patches, x: Tensor) -> Tensor:
    """Cut images into patches; the order of values is that of ``Patches``."""
    p = op.size
    tiles = x.unflatten(3, (-1, p)).unflatten(2, (-1, p))  # batch, c, rows, y, columns, x
    return tiles.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def take_token(op: ops.TakeToken, x: Tensor) -> Tensor:
    """Keep one token of the sequence."""
    return x[:, op.index : op.index + 1]


def take_slice(op: ops.Slice, x: Tensor) -> Tensor:
    """Keep some elements of one dimension."""
    return x.narrow(op.axis + 1, op.start, op.stop - op.start)


def concat_tokens(op: ops.ConcatTokens, *x: Tensor) -> Tensor:
    """Sequences one behind the other."""
    return torch.cat(x, dim=1)


def _linear(op: ops.IntegerLinear, x: Tensor) -> Tensor:
    weight = torch.from_numpy(op.weight).to(x.device, torch.int64)
    bias, multiplier, shift = (
        torch.from_numpy(a).to(x.device, torch.int64) for a in (op.bias, op.multiplier, op.shift)
    )
    acc = checked_accumulator(exact_matmul(x, weight.T).add_(bias))
    return requantize(acc, multiplier, shift, op.qmax)


def _table(op: ops.Table, x: Tensor) -> Tensor:
    qmax_in = (len(op.table) - 1) // 2
    if _largest(x) > qmax_in:
        raise OverflowError(f"code {_largest(x)} is outside a table of +-{qmax_in}")
    return torch.from_numpy(op.table).to(x.device, torch.int64)[x + qmax_in]


def _embed(op: ops.Embed, x: Tensor) -> Tensor:
    y = torch.from_numpy(op.constant).to(x.device, torch.int64).repeat(x.shape[0], 1, 1)
    y[:, op.offset :] += x
    return y.clamp_(-op.qmax, op.qmax)


def _add(op: ops.IntegerAdd, a: Tensor, b: Tensor) -> Tensor:
    return (a + b).clamp_(-op.qmax, op.qmax)


def _layer_norm(op: ops.IntegerLayerNorm, x: Tensor) -> Tensor:
    x = x.unflatten(-1, (op.groups, -1))
    n = x.shape[-1]
    total = x.sum(-1, keepdim=True)
    centred = n * x - total
    variance = n * (x * x).sum(-1, keepdim=True) - total * total + op.epsilon
    if _largest(variance) >= _EXACT_IN_FLOAT64:
        raise OverflowError(f"a variance reaches {_largest(variance)}, more than 53 bits hold")
    multiplier, shift = reciprocal(integer_sqrt(variance), op.multiplier, op.exponent)
    if op.shifts is not None:
        shift = shift + torch.from_numpy(op.shifts).to(x.device, torch.int64).unflatten(0, (op.groups, -1))
    return requantize(centred, multiplier, shift, op.qmax).flatten(-2)


def _requantize(op: ops.IntegerRequantize, x: Tensor) -> Tensor:
    return requantize(x, x.new_tensor(op.multiplier), x.new_tensor(op.shift), op.qmax)


def _scores(op: ops.IntegerScores, q: Tensor, k: Tensor) -> Tensor:
    acc = exact_matmul(split_heads(q, op.heads), split_heads(k, op.heads).transpose(2, 3))
    y = requantize(acc, acc.new_tensor(op.multiplier), acc.new_tensor(op.shift), op.qmax)
    if op.bias is None:
        return y
    return (y + torch.from_numpy(op.bias).to(y.device, torch.int64)).clamp_(-op.qmax, op.qmax)


def _softmax_exponents(op: ops.SoftmaxExponents, x: Tensor) -> Tensor:
    distance = (x.amax(-1, keepdim=True) - x).clamp_(max=len(op.table) - 1)
    return torch.from_numpy(op.table).to(x.device, torch.int64)[distance]


def _context(op: ops.IntegerContext, e: Tensor, v: Tensor) -> Tensor:
    multiplier, shift = reciprocal(e.sum(-1, keepdim=True), op.multiplier, op.exponent)
    acc = exact_matmul(e, split_heads(v, op.heads))
    return merge_heads(requantize(acc, multiplier, shift, op.qmax))


def _mean_tokens(op: ops.IntegerMeanTokens, x: Tensor) -> Tensor:
    acc = x.sum(1, keepdim=True)
    return requantize(acc, acc.new_tensor(op.multiplier), acc.new_tensor(op.shift), op.qmax)


#: What runs each operation: ``rule(op, *inputs) -> output``.
INTEGER_RULES: Mapping[type[Op], Callable[..., Tensor]] = {
    ops.Patches: patches,
    ops.IntegerLinear: _linear,
    ops.Table: _table,
    ops.Embed: _embed,
    ops.IntegerAdd: _add,
    ops.IntegerLayerNorm: _layer_norm,
    ops.IntegerRequantize: _requantize,
    ops.IntegerScores: _scores,
    ops.SoftmaxExponents: _softmax_exponents,
    ops.IntegerContext: _context,
    ops.TakeToken: take_token,
    ops.Slice: take_slice,
    ops.ConcatTokens: concat_tokens,
    ops.IntegerMeanTokens: _mean_tokens,
}
