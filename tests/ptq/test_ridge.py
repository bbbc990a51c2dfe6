"""Ridge corrections: less error at the output than plain rounding, and weights on their grids."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from qvit_hls.ir.execute_float import fake_quantize
from qvit_hls.ir.float_ops import Linear
from qvit_hls.ptq import ridge
from qvit_hls.ptq.annotate import WeightRows
from qvit_hls.ptq.ridge import InputMoments, corrected, round_with_feedback
from qvit_hls.ptq.rows import search_rows
from qvit_hls.quant.fake_quant import fake_quantize_rows

ROWS, COLUMNS, TOKENS = 6, 12, 400


def problem(seed: int) -> tuple[torch.Tensor, torch.Tensor, WeightRows]:
    """Correlated inputs, weights, and their grids."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(COLUMNS, COLUMNS, generator=generator)
    x = torch.randn(TOKENS, COLUMNS, generator=generator) @ mix + torch.randn(COLUMNS, generator=generator)
    weight = torch.randn(ROWS, COLUMNS, generator=generator)
    bits = torch.tensor([4, 8] * (ROWS // 2), dtype=torch.uint8)
    return x, weight, WeightRows(bits, search_rows(weight, x.T @ x).chosen(bits))


def moments(x: torch.Tensor, rounded: torch.Tensor) -> InputMoments:
    r = torch.cat([rounded, torch.ones(len(x), 1)], dim=1)
    return InputMoments(r.T @ r, (x - rounded).T @ r)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999))
def test_the_output_is_nearer_than_by_rounding(seed: int) -> None:
    x, weight, rows = problem(seed)
    rounded = fake_quantize(x, float(x.abs().max()) / 7, 7)
    bias = torch.linspace(-1, 1, ROWS)
    wanted = x @ weight.T + bias
    op = corrected(Linear(weight.numpy(), bias.numpy()), moments(x, rounded), rows, 1e-3)
    assert op.bias is not None
    new = rounded @ torch.from_numpy(op.weight).float().T + torch.from_numpy(op.bias).float()
    plain = rounded @ fake_quantize_rows(weight, rows.step, rows.bits).T + bias
    assert (new - wanted).square().sum() < (plain - wanted).square().sum()


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 999))
def test_corrected_weights_lie_on_their_grids(seed: int) -> None:
    x, weight, rows = problem(seed)
    op = corrected(Linear(weight.numpy()), moments(x, x), rows, 1e-2)
    codes = op.weight / rows.step.double().numpy()[:, None]
    assert np.abs(codes - np.rint(codes)).max() < 1e-9
    assert (np.abs(codes).max(axis=1) <= np.where(rows.bits == 8, 119, 7) + 1e-9).all()


def test_without_rounding_errors_nothing_changes() -> None:
    """Weights that are on their grids, and inputs that rounding leaves alone."""
    x, weight, rows = problem(0)
    weight = fake_quantize_rows(weight, rows.step, rows.bits)
    op = corrected(Linear(weight.numpy(), np.ones(ROWS, np.float32)), moments(x, x), rows, 1e-2)
    assert op.bias is not None
    assert_close(torch.from_numpy(op.weight).float(), weight)
    assert_close(op.bias, np.ones(ROWS), atol=1e-5, rtol=0)


def test_independent_columns_are_simply_rounded() -> None:
    _, weight, rows = problem(3)
    wanted = torch.cat([weight, torch.zeros(ROWS, 1)], dim=1).double()
    rounded, bias = round_with_feedback(wanted, torch.eye(COLUMNS + 1, dtype=torch.float64), rows)
    assert_close(rounded.float(), fake_quantize_rows(weight, rows.step, rows.bits))
    assert torch.equal(bias, torch.zeros(ROWS, dtype=torch.float64))


@pytest.mark.parametrize("together", [1, 5, 12, 64])
def test_columns_that_are_rounded_together_are_as_one_by_one(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the definition: a column's error goes to those behind, as least squares has it."""
    x, weight, rows = problem(7)
    r = torch.cat([x, torch.ones(TOKENS, 1)], dim=1).double()
    regular = r.T @ r + torch.eye(COLUMNS + 1, dtype=torch.float64)
    regular *= torch.linspace(2, 1, COLUMNS + 1).outer(torch.linspace(2, 1, COLUMNS + 1)).double()
    order = torch.argsort(regular.diagonal()[:-1], descending=True, stable=True).tolist()
    left = torch.cat([weight, torch.zeros(ROWS, 1)], dim=1).double()
    for done, column in enumerate(order):
        behind = [*order[done + 1 :], COLUMNS]
        value = left[:, column].clone()
        left[:, column] = fake_quantize_rows(value[:, None], rows.step.double(), rows.bits)[:, 0]
        gain = torch.linalg.solve(regular[behind][:, behind], regular[behind, column])
        left[:, behind] += (value - left[:, column])[:, None] * gain
    monkeypatch.setattr(ridge, "_COLUMNS", together)
    wanted = torch.cat([weight, torch.zeros(ROWS, 1)], dim=1).double()
    found, bias = round_with_feedback(wanted, regular, rows)
    assert_close(found, left[:, :-1])
    assert_close(bias, left[:, -1])
