"""The step of an activation grid from data."""

from __future__ import annotations

import torch
from torch import Tensor

from qvit_hls.quant.fake_quant import fake_quantize
from qvit_hls.quant.rows import MIN_SCALE

#: More values than this add nothing to the search; larger tensors are sampled evenly.
_MAX_SAMPLES = 1 << 16
_CANDIDATES = 60
_SMALLEST_SHARE = 0.1


def mse_scale(x: Tensor, qmax: int) -> Tensor:
    """The step with the least squared error over ``x``: clipping points from 10 to 100 % of the maximum.

    Args:
        x: float tensor of any shape.
        qmax: largest code.

    Returns:
        0-d positive tensor; ``1 / qmax`` when all of ``x`` is zero.
    """
    largest = x.abs().amax()
    if largest == 0:
        return torch.full_like(largest, 1 / qmax)
    values = x.flatten()
    # The sampling stride is odd, so that it does not lock onto one channel of a tensor of even width.
    values = values[:: (len(values) // _MAX_SAMPLES) | 1]
    scales = torch.linspace(_SMALLEST_SHARE, 1.0, _CANDIDATES).to(x) * (largest / qmax)
    errors = torch.stack([(fake_quantize(values, s, qmax) - values).square_().sum() for s in scales])
    return scales[errors.argmin()].clamp(min=MIN_SCALE)
