"""Rescaling factors are as close as 16-bit multipliers allow."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qvit_hls.ir.dyadic import dyadic


@given(st.floats(2.0**-31, 2.0**15, exclude_max=True).filter(lambda r: r < 2**15 * (1 - 2**-17)))
def test_the_multiplier_uses_all_its_bits_and_is_the_nearest(ratio: float) -> None:
    multiplier, shift = dyadic(ratio)
    assert 1 << 15 <= multiplier < 1 << 16
    assert 1 <= shift <= 47
    error = abs(Fraction(multiplier, 1 << shift) - Fraction(ratio))
    assert error <= Fraction(1, 2 << shift)


@given(st.floats(0, 2.0**-31, exclude_max=True), st.integers(20, 47))
def test_small_factors_lose_bits_rather_than_exceed_the_shift(ratio: float, max_shift: int) -> None:
    multiplier, shift = dyadic(ratio, max_shift)
    assert 0 <= multiplier < 1 << 16
    assert 1 <= shift <= max_shift
    assert abs(Fraction(multiplier, 1 << shift) - Fraction(ratio)) <= Fraction(1, 2 << shift)


def test_zero_is_zero() -> None:
    assert dyadic(0.0) == (0, 1)


@pytest.mark.parametrize(
    ("ratio", "message"),
    [
        (32768.0, "the rescaling factor is 32768; it must be less than 32768"),
        (-1.0, "the rescaling factor is -1.0; it must be finite and not negative"),
        (float("nan"), "the rescaling factor is nan; it must be finite and not negative"),
    ],
)
def test_factors_out_of_range_are_refused(ratio: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        dyadic(ratio)
