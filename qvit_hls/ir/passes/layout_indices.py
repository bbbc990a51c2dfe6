"""Where movements put each element: found by moving an array of indices."""

from __future__ import annotations

import numpy as np

from qvit_hls.ir.float_ops import Permute, Reshape, Slice
from qvit_hls.ir.graph import Node

#: Operations that only move elements, or leave some out.
MOVEMENT = (Reshape, Permute, Slice)


def moved(step: Node, index: np.ndarray) -> np.ndarray:
    """What the movement ``step`` makes of an array of its input's shape."""
    if isinstance(step.op, Permute):
        return index.transpose(step.op.order)
    if isinstance(step.op, Slice):
        return index.take(range(step.op.start, step.op.stop), step.op.axis)
    return index.reshape(step.shape)
