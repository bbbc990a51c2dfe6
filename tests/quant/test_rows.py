"""The choice of 8-bit rows and of steps."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from qvit_hls.quant.calibration import mse_scale
from qvit_hls.quant.fake_quant import fake_quantize, fake_quantize_rows
from qvit_hls.quant.rows import (
    MAX_BIAS_CODE,
    allocate_rows,
    bound_row_scale,
    eight_bit_rows,
    search_row_scale,
)

SEEDS = st.integers(0, 2**32 - 1)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, rows=st.integers(1, 40), share=st.floats(0, 1))
def test_the_share_of_rows_with_the_largest_error_gets_eight_bits(seed: int, rows: int, share: float) -> None:
    weight = random(seed, rows, 16) * torch.exp(random(seed + 1, rows, 1))
    row_bits, scale = allocate_rows(weight, share)
    wide = row_bits == 8
    assert int(wide.sum()) == eight_bit_rows(rows, share)
    assert bool((wide | (row_bits == 4)).all())
    assert bool((scale > 0).all())
    error = search_row_scale(weight, 4)[1]
    if wide.any() and not wide.all():
        assert error[wide].min() >= error[~wide].max()


@pytest.mark.parametrize(
    ("rows", "share", "expected"), [(10, 0.25, 3), (10, 0.0, 0), (10, 1.0, 10), (1, 0.5, 1)]
)
def test_the_number_of_eight_bit_rows_rounds_half_up(rows: int, share: float, expected: int) -> None:
    assert eight_bit_rows(rows, share) == expected


@pytest.mark.parametrize("bits", [4, 8])
def test_the_search_is_no_worse_than_the_full_range(bits: int) -> None:
    weight = random(3, 8, 64)
    scale, error = search_row_scale(weight, bits)
    row_bits = torch.full((8,), bits, dtype=torch.uint8)
    full = weight.abs().amax(dim=1) / (7 if bits == 4 else 119)
    full_error = (fake_quantize_rows(weight, full, row_bits) - weight).square().sum(dim=1)
    assert bool((error <= full_error).all())
    assert torch.equal((fake_quantize_rows(weight, scale, row_bits) - weight).square().sum(dim=1), error)


def test_rows_of_zeros_get_a_step_like_their_neighbours() -> None:
    weight = random(0, 5, 8)
    weight[2] = 0
    _, scale = allocate_rows(weight, 0.4)
    assert 0.1 < float(scale[2]) / float(scale.median()) < 10
    _, scale = allocate_rows(torch.zeros(3, 8), 0.4)
    assert bool((scale > 0).all())


def test_a_tiny_row_gets_no_tiny_step() -> None:
    weight = random(0, 4, 8)
    weight[1] *= 1e-30
    _, scale = allocate_rows(weight, 0.0)
    assert float(scale[1]) > 1e-7


def test_row_steps_grow_until_the_bias_fits() -> None:
    scale = bound_row_scale(torch.tensor([1e-3, 1e-3]), torch.tensor([0.5, 1e7]), torch.tensor(1e-3))
    assert float(scale[0]) == pytest.approx(1e-3)
    assert 1e7 / (float(scale[1]) * 1e-3) <= MAX_BIAS_CODE * (1 + 1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, qmax=st.sampled_from([7, 63, 127]))
def test_activation_steps_beat_the_full_range_on_tailed_data(seed: int, qmax: int) -> None:
    x = random(seed, 2000) ** 3
    full = x.abs().amax() / qmax
    best = mse_scale(x, qmax)

    def error(scale: torch.Tensor) -> float:
        return float((fake_quantize(x, scale, qmax) - x).square().sum())

    assert error(best) <= error(full) * (1 + 1e-6)


def test_the_activation_step_of_zeros_is_positive() -> None:
    assert float(mse_scale(torch.zeros(10), 63)) == pytest.approx(1 / 63)
