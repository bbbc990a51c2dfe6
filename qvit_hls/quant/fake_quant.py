"""Fake quantization as torch operators: floats that lie on the grids of the integer arithmetic.

They are custom operators, so that each stays one node when torch.export traces a model: the front end
reads grids from ``torch.ops.qvit.*`` nodes instead of guessing them from roundings. All rounding is
``floor(v + 1/2)``, as in the integer contract (``ir/integer_ops.py``); gradients pass straight through
the rounding (LSQ, arXiv 1902.08153).
"""

# No postponed annotations here: torch.library reads the operators' schemas from them.
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qvit_hls.quant.levels import EXPONENT_LEVELS, EXPONENT_TABLE_SIZE, WEIGHT_QMAX_4, WEIGHT_QMAX_8


def round_half_up(x: Tensor) -> Tensor:
    """``floor(x + 1/2)``: the one rounding rule of the arithmetic contract."""
    return torch.floor(x + 0.5)


def row_qmax(row_bits: Tensor, like: Tensor) -> Tensor:
    """Largest code of each row, shaped to broadcast over ``like [rows, ...]`` and of its dtype.

    ``row_bits`` is uint8 ``[rows]`` of 4 or 8.
    """
    return _per_row(torch.where(row_bits == 8, WEIGHT_QMAX_8, WEIGHT_QMAX_4).to(like.dtype), like)


def _per_row(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.dim() - 1))


# ---------------------------------------------------------------- activations: one step per tensor


@torch.library.custom_op("qvit::fake_quantize", mutates_args=())
def fake_quantize(x: Tensor, scale: Tensor, qmax: int) -> Tensor:
    """``scale * clamp(floor(x / scale + 1/2), -qmax, qmax)``.

    Args:
        x: float tensor of any shape.
        scale: 0-d positive float, the step of the grid.
        qmax: largest code.
    """
    # One tensor, changed in place: training spends much of its time here, and most of that on memory.
    return (x / scale).add_(0.5).floor_().clamp_(-qmax, qmax).mul_(scale)


@fake_quantize.register_fake
def _(x: Tensor, scale: Tensor, qmax: int) -> Tensor:
    return torch.empty_like(x)


def _fake_quantize_setup(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    x, scale, ctx.qmax = inputs
    ctx.save_for_backward(x, scale, output)


def _fake_quantize_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
    x, scale, y = ctx.saved_tensors
    # Passes where |x / scale| <= qmax, in one sweep; the operator's own limits are exclusive.
    limit = float(np.nextafter(np.float32(ctx.qmax), np.float32(np.inf)))
    buffer = x / scale
    grad_x = torch.ops.aten.hardtanh_backward(grad, buffer, -limit, limit)
    grad_scale = None
    if ctx.needs_input_grad[1]:
        # LSQ eq. 3: code - v inside the range, +-qmax outside; gradient scale 1/sqrt(values * qmax), where a
        # batch counts the values of one image, so that its parts add up to the whole.
        values = x[0].numel() if x.dim() > 1 else x.numel()
        # The sum of grad * (y - x) inside and of grad * y outside is that of eq. 3 times the scale.
        inside = torch.dot(torch.sub(y, x, out=buffer).flatten(), grad_x.flatten())
        outside = torch.dot(torch.sub(grad, grad_x, out=buffer).flatten(), y.flatten())
        grad_scale = ((inside + outside) / scale / (values * ctx.qmax) ** 0.5).reshape(scale.shape)
    return grad_x, grad_scale, None


fake_quantize.register_autograd(_fake_quantize_backward, setup_context=_fake_quantize_setup)


# ---------------------------------------------------------------- weights: one step and width per row


@torch.library.custom_op("qvit::fake_quantize_rows", mutates_args=())
def fake_quantize_rows(weight: Tensor, scale: Tensor, row_bits: Tensor) -> Tensor:
    """Row-wise mixed precision: row r on the grid of ``scale[r]`` with 4 or 8 bits (codes to 7 or 119).

    Args:
        weight: float ``[rows, ...]``.
        scale: positive float ``[rows]``.
        row_bits: uint8 ``[rows]`` of 4 or 8.
    """
    step, qmax = _per_row(scale, weight), row_qmax(row_bits, weight)
    return (weight / step).add_(0.5).floor_().clamp_(-qmax, qmax).mul_(step)


@fake_quantize_rows.register_fake
def _(weight: Tensor, scale: Tensor, row_bits: Tensor) -> Tensor:
    return torch.empty_like(weight)


def _fake_quantize_rows_setup(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs, output)


def _fake_quantize_rows_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
    weight, scale, row_bits, y = ctx.saved_tensors
    qmax = row_qmax(row_bits, weight)
    inside = (weight / _per_row(scale, weight)).abs_() <= qmax
    grad_scale = None
    if ctx.needs_input_grad[1]:
        per_row = torch.where(inside, y - weight, y).mul_(grad).flatten(1).sum(dim=1)
        grad_scale = per_row / scale / (weight[0].numel() * qmax.flatten()).sqrt()
    return torch.where(inside, grad, 0), grad_scale, None


fake_quantize_rows.register_autograd(_fake_quantize_rows_backward, setup_context=_fake_quantize_rows_setup)


# ---------------------------------------------------------------- biases: the accumulator's step


@torch.library.custom_op("qvit::fake_quantize_bias", mutates_args=())
def fake_quantize_bias(bias: Tensor, step: Tensor) -> Tensor:
    """``step * floor(bias / step + 1/2)``: a bias in whole accumulator steps.

    Args:
        bias: float ``[rows]``.
        step: positive float ``[rows]``, the product of a row's step and the input's.
    """
    return round_half_up(bias / step) * step


@fake_quantize_bias.register_fake
def _(bias: Tensor, step: Tensor) -> Tensor:
    return torch.empty_like(bias)


def _fake_quantize_bias_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    # Straight through for the bias; what it contributes to the step's gradient is noise.
    return grad, None


fake_quantize_bias.register_autograd(_fake_quantize_bias_backward)


# ---------------------------------------------------------------- softmax with tabulated exponents


@torch.library.custom_op("qvit::fake_softmax", mutates_args=())
def fake_softmax(scores: Tensor, step: Tensor) -> Tensor:
    """Softmax over the last dimension with the integer softmax's exponents.

    ``n = round((max - x) / step)``, ``e = floor(119 * exp(-step * min(n, 255)) + 1/2)``,
    ``y = e / sum(e)``. Where a row's maximum is not finite, the row is NaN.

    Args:
        scores: float ``[..., keys]``, already on the grid of ``step``.
        step: 0-d positive float.
    """
    peak = scores.amax(dim=-1, keepdim=True)
    distance = round_half_up((peak - scores) / step)
    distance.clamp_(max=EXPONENT_TABLE_SIZE - 1)
    # The table is made in double precision, as the exported one is, so that both hold the same integers.
    codes = torch.arange(EXPONENT_TABLE_SIZE, dtype=torch.float64, device=scores.device)
    table = round_half_up(EXPONENT_LEVELS * torch.exp(-step.double() * codes)).to(scores.dtype)
    # A network that diverges should have a NaN loss, which is reported, not an index outside the table.
    exponents = table[distance.to(torch.int32).clamp_(min=0)]
    return exponents / (exponents.sum(dim=-1, keepdim=True) + 0 * peak)


@fake_softmax.register_fake
def _(scores: Tensor, step: Tensor) -> Tensor:
    return torch.empty_like(scores)


def _fake_softmax_setup(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])


def _fake_softmax_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (scores,) = ctx.saved_tensors
    # Straight through: the plain softmax's gradient, so that keys rounded to zero still learn.
    y = torch.softmax(scores, dim=-1)
    return y * (grad - (grad * y).sum(dim=-1, keepdim=True)), None


fake_softmax.register_autograd(_fake_softmax_backward, setup_context=_fake_softmax_setup)


# ---------------------------------------------------------------- mixed precision

# Under autocast the operators compute in float32: bfloat16 cannot hold 16-bit codes, nor float16 small steps.
for _operator in (fake_quantize, fake_quantize_rows, fake_quantize_bias, fake_softmax):
    for _device in ("cpu", "cuda"):
        _operator.register_autocast(_device, torch.float32)
