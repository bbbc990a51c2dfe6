"""Function tables of the integer graph, computed once, in float64."""

from __future__ import annotations

import numpy as np

from qvit_hls.quant.levels import EXPONENT_LEVELS, EXPONENT_TABLE_SIZE


def exponent_table(step: float) -> np.ndarray:
    """Softmax exponents by distance n from the row maximum: ``floor(119 * exp(-step * n) + 1/2)``.

    The result is uint8 ``[256]``.

    Args:
        step: step of the scores, > 0.
    """
    distance = np.arange(EXPONENT_TABLE_SIZE, dtype=np.float64)
    return np.floor(EXPONENT_LEVELS * np.exp(-step * distance) + 0.5).astype(np.uint8)
