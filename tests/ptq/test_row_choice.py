"""Rows: steps of the least output error, and 8 bits where they lower it most."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from qvit_hls.errors import QvitError
from qvit_hls.ptq.rows import (
    AverageBits,
    EightBitShare,
    RowSteps,
    average_bits,
    choose_widths,
    output_error,
    search_rows,
)
from qvit_hls.quant.fake_quant import fake_quantize_rows


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer(rows: int, columns: int, seed: int) -> RowSteps:
    return search_rows(normal(rows, columns, seed=seed) * torch.rand(rows, 1).add(0.1))


def test_the_output_error_is_that_of_the_outputs() -> None:
    x, change = normal(50, 6), normal(4, 6, seed=1)
    assert_close(output_error(change, x.T @ x), (x @ change.T).square().sum(0))
    independent = torch.diag(torch.arange(1.0, 7))
    assert_close(output_error(change, independent), output_error(change, independent.diagonal()))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 999))
def test_errors_are_those_of_the_steps_found(seed: int) -> None:
    weight, x = normal(5, 8, seed=seed), normal(30, 8, seed=seed + 1)
    moments = x.T @ x
    found = search_rows(weight, moments, torch.full((5,), 2.0))
    covering = search_rows(weight, moments, torch.full((5,), 2.0), full_range=True)
    for bits in (4, 8):
        rounded = fake_quantize_rows(weight, found.steps[bits], torch.full((5,), bits, dtype=torch.uint8))
        assert_close(found.errors[bits], 2 * output_error(rounded - weight, moments))
        assert (found.errors[bits] <= covering.errors[bits] * (1 + 1e-6)).all()
    assert (found.gain > 0).all()


def test_rows_that_read_strong_inputs_get_the_8_bits() -> None:
    """Two rows of the same weights, in other places: only the moments tell them apart."""
    weight = torch.tensor([[0.9, 0.31, 0.0, 0.0], [0.0, 0.0, 0.9, 0.31]])
    moments = torch.diag(torch.tensor([1.0, 1.0, 100.0, 100.0]))
    for error, expected in ((moments, [4, 8]), (moments.flip(0, 1), [8, 4])):
        widths = choose_widths({"layer": search_rows(weight, error)}, EightBitShare(0.5))
        assert widths["layer"].tolist() == expected


@settings(deadline=None, max_examples=20)
@given(st.floats(0, 1))
def test_a_share_is_of_every_layer(share: float) -> None:
    layers = {"a": layer(10, 4, 0), "b": layer(7, 4, 1)}
    widths = choose_widths(layers, EightBitShare(share))
    for name, rows in (("a", 10), ("b", 7)):
        assert abs(int((widths[name] == 8).sum()) - share * rows) <= 0.5 + 1e-9


@settings(deadline=None, max_examples=20)
@given(st.floats(4, 8), st.integers(0, 99))
def test_a_budget_is_spent_and_not_exceeded(bits: float, seed: int) -> None:
    layers = {"a": layer(10, 12, seed), "b": layer(6, 4, seed + 1)}
    columns = {"a": 12, "b": 4}
    widths = choose_widths(layers, AverageBits(bits))
    # What is left over is less than any narrow row costs: 4 bits of its weights, out of 144.
    spent = average_bits(widths, columns)
    assert bits - 12 * 4 / 144 - 1e-9 <= spent <= bits + 4 * 0.5 / 144 + 1e-9


def test_a_budget_goes_where_a_bit_helps_most() -> None:
    """Equal rows, of which the second layer's matter a hundred times as much."""
    weight = normal(6, 8)
    layers = {
        name: search_rows(weight, None, torch.full((6,), cost)) for name, cost in (("a", 1.0), ("b", 100.0))
    }
    widths = choose_widths(layers, AverageBits(6))
    assert widths["a"].tolist() == [4] * 6
    assert widths["b"].tolist() == [8] * 6


def test_budgets_out_of_range_are_refused() -> None:
    with pytest.raises(QvitError, match=r"^The share of 8-bit rows is 1\.5; it should be 0 to 1\.$"):
        EightBitShare(1.5)
    with pytest.raises(QvitError, match=r"^The average is 3\.9 bits; weights have 4 to 8\.$"):
        AverageBits(3.9)
