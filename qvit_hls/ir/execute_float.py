"""How each float operation runs in PyTorch, formulas as in ``ir/float_ops.py``.

Values have a batch dimension in front and keep the dtype of the graph's input: float32 as the traced
model does, or float64 where rounding would hide what a comparison is after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from qvit_hls.ir import float_ops as ops
from qvit_hls.ir.execute_integer import (
    concat_tokens,
    merge_heads,
    patches,
    split_heads,
    take_slice,
    take_token,
)
from qvit_hls.ir.graph import Op
from qvit_hls.ir.tables import FUNCTIONS, exponent_table


def quantize(x: Tensor, scale: float, qmax: int) -> Tensor:
    """Codes of a float tensor, ``clamp(floor(x / scale + 1/2), qmax)``, still as floats."""
    return torch.floor(x / x.new_tensor(scale) + 0.5).clamp_(-qmax, qmax)


def fake_quantize(x: Tensor, scale: float, qmax: int) -> Tensor:
    """The value on the grid that is nearest to each element: ``scale * quantize(x, scale, qmax)``."""
    return x.new_tensor(scale) * quantize(x, scale, qmax)


def _like(x: Tensor, value: np.ndarray | None) -> Tensor | None:
    return None if value is None else torch.from_numpy(np.asarray(value)).to(x.device, x.dtype)


def _fake_quantize(op: ops.FakeQuantize, x: Tensor) -> Tensor:
    return fake_quantize(x, op.scale, op.qmax)


def _linear(op: ops.Linear, x: Tensor) -> Tensor:
    weight = _like(x, op.weight)
    assert weight is not None
    return functional.linear(x, weight, _like(x, op.bias))


def _conv2d(op: ops.Conv2d, x: Tensor) -> Tensor:
    weight = _like(x, op.weight)
    assert weight is not None
    return functional.conv2d(x, weight, _like(x, op.bias), stride=list(op.stride))


def _layer_norm(op: ops.LayerNorm, x: Tensor) -> Tensor:
    weight, bias = _like(x, op.weight), _like(x, op.bias)
    if op.groups == 1:
        return functional.layer_norm(x, x.shape[-1:], weight, bias, op.eps)
    parts = x.unflatten(-1, (op.groups, -1))
    y = functional.layer_norm(parts, parts.shape[-1:], eps=op.eps).flatten(-2)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _requantize(op: ops.Requantize, x: Tensor) -> Tensor:
    return x


def _elementwise(op: ops.Elementwise, x: Tensor) -> Tensor:
    return FUNCTIONS[op.function](x)


def _reshape(op: ops.Reshape, x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], *op.shape)


def _permute(op: ops.Permute, x: Tensor) -> Tensor:
    return x.permute(0, *(i + 1 for i in op.order))


def _matmul(op: ops.MatMul, a: Tensor, b: Tensor) -> Tensor:
    return a @ b


def _add(op: ops.Add, a: Tensor, b: Tensor) -> Tensor:
    # Shapes broadcast without the batch, so dimensions that one lacks stand behind it.
    rank = max(a.dim(), b.dim())
    a, b = (x.reshape(x.shape[0], *(1,) * (rank - x.dim()), *x.shape[1:]) for x in (a, b))
    return a + b


def _scale(op: ops.Scale, x: Tensor) -> Tensor:
    factor = _like(x, op.factor)
    assert factor is not None
    return x * factor


def _mean_tokens(op: ops.MeanTokens, x: Tensor) -> Tensor:
    return x.mean(1, keepdim=True)


def _concat_channels(op: ops.ConcatChannels, *x: Tensor) -> Tensor:
    return torch.cat(x, dim=-1)


def _softmax(op: ops.Softmax, x: Tensor) -> Tensor:
    if not op.step:
        return x.softmax(-1)
    distance = torch.floor((x.amax(-1, keepdim=True) - x) / x.new_tensor(op.step) + 0.5)
    table = torch.from_numpy(exponent_table(op.step, op.levels_per_octave)).to(x.device, x.dtype)
    exponents = table[distance.long().clamp_(max=len(table) - 1)]
    return exponents / exponents.sum(-1, keepdim=True)


def _scores(op: ops.AttentionScores, q: Tensor, k: Tensor) -> Tensor:
    scores = split_heads(q, op.heads) @ split_heads(k, op.heads).transpose(2, 3) * op.scale
    bias = _like(scores, op.bias)
    return scores if bias is None else scores + bias


def _context(op: ops.AttentionContext, p: Tensor, v: Tensor) -> Tensor:
    return merge_heads(p @ split_heads(v, op.heads))


#: What runs each operation: ``rule(op, *inputs) -> output``.
FLOAT_RULES: Mapping[type[Op], Callable[..., Tensor]] = {
    ops.FakeQuantize: _fake_quantize,
    ops.Linear: _linear,
    ops.Conv2d: _conv2d,
    ops.LayerNorm: _layer_norm,
    ops.Requantize: _requantize,
    ops.Elementwise: _elementwise,
    ops.Reshape: _reshape,
    ops.Permute: _permute,
    ops.MatMul: _matmul,
    ops.Add: _add,
    ops.Scale: _scale,
    ops.MeanTokens: _mean_tokens,
    ops.Softmax: _softmax,
    ops.AttentionScores: _scores,
    ops.AttentionContext: _context,
    ops.Patches: patches,
    ops.TakeToken: take_token,
    ops.Slice: take_slice,
    ops.ConcatTokens: concat_tokens,
    ops.ConcatChannels: _concat_channels,
}
