"""Row-wise mixed precision: which rows of a weight matrix get 8 bits, and the step of every row.

Quasar-ViT (arXiv 2407.18175): inside one matrix each row (output channel) has 4 or 8 bits; the rows
that 4 bits hurt most get 8.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qvit_hls.quant.fake_quant import fake_quantize_rows
from qvit_hls.quant.levels import weight_qmax

#: Steps never get smaller, so that reciprocals and products of steps stay finite in float32.
MIN_SCALE = 2.0**-60
#: A row's largest weight is taken to be at least this share of the layer's: requantization multipliers
#: of wildly different rows would not fit their fixed-point format, and such rows carry no signal.
MIN_ROW_SHARE = 2.0**-16
#: ``|bias / (row_scale * input_scale)|`` stays below this: one bit of room in the contract's BIAS_BITS.
MAX_BIAS_CODE = 2.0**28

#: Clipping points that the search tries, as (smallest share of the row's maximum, number of candidates).
#: 4-bit grids profit from clipping the tails; 8-bit grids hardly do.
_CANDIDATES = {4: (0.4, 24), 8: (0.85, 8)}


def search_row_scale(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """The step of each row with the least squared quantization error, and that error.

    Args:
        weight: float ``[rows, ...]``.
        bits: 4 or 8.

    Returns:
        ``(scale [rows], error [rows])``: scale positive, also for rows of zeros; error is the sum of
        squares over the row.
    """
    rows = weight.detach().flatten(1)
    qmax = weight_qmax(bits)
    full_scale = row_magnitude(rows) / qmax
    row_bits = torch.full((len(rows),), bits, dtype=torch.uint8, device=rows.device)
    best_scale = full_scale
    best_error = torch.full_like(full_scale, math.inf)
    smallest, count = _CANDIDATES[bits]
    for share in torch.linspace(1.0, smallest, count).tolist():
        scale = (full_scale * share).clamp(min=MIN_SCALE)
        error = (fake_quantize_rows(rows, scale, row_bits) - rows).square_().sum(dim=1)
        better = error < best_error
        best_scale = torch.where(better, scale, best_scale)
        best_error = torch.where(better, error, best_error)
    return best_scale, best_error


def row_magnitude(rows: Tensor) -> Tensor:
    """Largest ``|w|`` of each row ``[rows]``; rows of zeros get the median of the others."""
    magnitude = rows.abs().amax(dim=1)
    positive = magnitude[magnitude > 0]
    if not len(positive):
        return torch.ones_like(magnitude)
    magnitude = torch.where(magnitude > 0, magnitude, positive.median())
    return magnitude.clamp(min=max(float(positive.max()) * MIN_ROW_SHARE, MIN_SCALE * weight_qmax(8)))


def eight_bit_rows(rows: int, share: float) -> int:
    """Number of 8-bit rows: ``share * rows``, rounded half up."""
    return math.floor(share * rows + 0.5)


def allocate_rows(weight: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Give 8 bits to the ``share`` of rows with the largest 4-bit error, and choose every row's step.

    Args:
        weight: float ``[rows, ...]``.
        share: 8-bit share of the rows, 0 to 1.

    Returns:
        ``(row_bits uint8 [rows], row_scale [rows])``.
    """
    scale, error = search_row_scale(weight, 4)
    row_bits = torch.full((len(weight),), 4, dtype=torch.uint8, device=weight.device)
    # A stable sort: rows of equal error keep their order, so that the choice is reproducible.
    chosen = torch.argsort(error, descending=True, stable=True)[: eight_bit_rows(len(weight), share)]
    if len(chosen):
        row_bits[chosen] = 8
        eight_bit_scale = search_row_scale(weight, 8)[0]
        scale = torch.where(row_bits == 8, eight_bit_scale, scale)
    return row_bits, scale


def bound_row_scale(row_scale: Tensor, bias: Tensor | None, input_scale: Tensor) -> Tensor:
    """``row_scale`` raised where needed so that the bias fits its integer format.

    The integer bias is ``bias / (row_scale * input_scale)``; its magnitude stays below MAX_BIAS_CODE.

    Args:
        row_scale: ``[rows]``.
        bias: ``[rows]`` or None.
        input_scale: 0-d step of the layer's input.
    """
    bounded = row_scale.clamp(min=MIN_SCALE)
    if bias is None:
        return bounded
    return torch.maximum(bounded, bias.abs() / (input_scale * MAX_BIAS_CODE))
