"""Rescaling factors as an unsigned multiplier and a shift, or as a shift alone."""

from __future__ import annotations

import math

import numpy as np

from qvit_hls.ir.integer_ops import MAX_CHANNEL_SHIFT, MAX_SHIFT, MULTIPLIER_BITS


def dyadic(ratio: float, max_shift: int = MAX_SHIFT) -> tuple[int, int]:
    """``(multiplier, shift)`` with ``multiplier / 2**shift`` nearest to ``ratio``.

    The multiplier has MULTIPLIER_BITS bits, in ``[2**15, 2**16)``, and the shift is at least 1. Where that
    shift would exceed ``max_shift``, the shift is ``max_shift`` and the multiplier smaller, down to 0.

    Args:
        ratio: finite and not negative.
        max_shift: largest shift; less than MAX_SHIFT where a reciprocal adds to it later.

    Raises:
        ValueError: ratio is negative or not finite, or too large for a shift of 1.
    """
    if not (math.isfinite(ratio) and ratio >= 0):
        raise ValueError(f"the rescaling factor is {ratio}; it must be finite and not negative")
    exponent = math.frexp(ratio)[1]  # ratio is in [2**(exponent-1), 2**exponent)
    shift = min(MULTIPLIER_BITS - exponent, max_shift) if ratio else 1
    multiplier = math.floor(math.ldexp(ratio, shift) + 0.5)
    if multiplier == 1 << MULTIPLIER_BITS:
        multiplier, shift = multiplier >> 1, shift - 1
    if shift < 1:
        largest = 1 << (MULTIPLIER_BITS - 1)
        raise ValueError(f"the rescaling factor is {ratio:.6g}; it must be less than {largest}")
    return multiplier, shift


def channel_shifts(weight: np.ndarray) -> np.ndarray | None:
    """The ``a`` with ``weight == 2**-a`` in every channel, all within 0..MAX_CHANNEL_SHIFT.

    Args:
        weight: float ``[N]``.

    Returns:
        uint8 ``[N]``, or None where a channel's weight is no such power of two.
    """
    mantissa, exponent = np.frexp(weight)
    shifts = 1 - exponent
    exact = (mantissa == 0.5) & (shifts >= 0) & (shifts <= MAX_CHANNEL_SHIFT)
    return shifts.astype(np.uint8) if exact.all() else None
