"""Linear layers made from the rows of others; rows that are quantized stay on their grids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qvit_hls.ir.float_ops import Linear


def take_rows(op: Linear, rows: np.ndarray) -> Linear:
    """The Linear whose row i is row ``rows[i]`` of ``op``; rows may be left out and repeated."""
    return Linear(
        np.ascontiguousarray(op.weight[rows]),
        None if op.bias is None else op.bias[rows],
        None if op.row_scale is None else op.row_scale[rows],
        None if op.row_bits is None else op.row_bits[rows],
    )


def take_columns(op: Linear, columns: np.ndarray) -> Linear:
    """The Linear whose column i is column ``columns[i]`` of ``op``: the input's channels in that order."""
    return replace(op, weight=np.ascontiguousarray(op.weight[:, columns]))


def scale_rows(op: Linear, factor: np.ndarray) -> Linear:
    """``op`` followed by a product with ``factor [rows]``, as one Linear in float64.

    The grids are symmetric, so a negative factor's sign goes into the codes. A row with factor zero gets
    zero codes and keeps its step, which must stay positive.
    """
    factor = factor.astype(np.float64)
    weight = op.weight * factor[:, None]
    bias = None if op.bias is None else op.bias * factor
    if op.row_scale is None:
        return Linear(weight, bias)
    step = np.where(factor == 0, op.row_scale, op.row_scale * np.abs(factor))
    return Linear(weight, bias, step, op.row_bits)
