"""AdaRound's weights: where they begin, between which codes they move, and that they end on their grids."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from qvit_hls.ptq.annotate import WeightRows
from qvit_hls.ptq.learned_rounding import LearnedRounding
from qvit_hls.ptq.rows import search_rows
from qvit_hls.quant.fake_quant import fake_quantize_rows

ROWS, COLUMNS = 6, 12
BITS = torch.tensor([4, 8] * (ROWS // 2), dtype=torch.uint8)


def weights(seed: int) -> tuple[torch.Tensor, WeightRows]:
    """Weights and grids that clip some of them."""
    weight = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(seed))
    return weight, WeightRows(BITS, search_rows(weight).chosen(BITS) * 0.8)


def codes(weight: torch.Tensor, rows: WeightRows) -> torch.Tensor:
    return weight.double() / rows.step.double()[:, None]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999))
def test_without_hold_the_float_weight_begins_and_its_nearest_code_is_the_hard_one(seed: int) -> None:
    weight, rows = weights(seed)
    rounding = LearnedRounding(weight, weight, 0.0, rows)
    limit = torch.where(BITS == 8, 119, 7)[:, None] * rows.step[:, None]
    assert_close(rounding.soft().detach(), weight.clamp(-limit, limit), rtol=0, atol=2e-5)
    assert torch.equal(rounding.hard(), fake_quantize_rows(weight, rows.step, rows.bits))


@pytest.mark.parametrize("hold", [0.6, 0.9])
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999))
def test_with_hold_the_first_codes_are_the_hard_ones(hold: float, seed: int) -> None:
    """Also where another method has moved a weight by several codes."""
    weight, rows = weights(seed)
    first = fake_quantize_rows(weight + torch.randn(weight.shape) * rows.step[:, None], rows.step, rows.bits)
    assert torch.equal(LearnedRounding(weight, first, hold, rows).hard(), first)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999), st.floats(-30, 30))
def test_wherever_they_are_pushed_weights_stay_on_their_grids(seed: int, push: float) -> None:
    weight, rows = weights(seed)
    rounding = LearnedRounding(weight, weight, 0.5, rows)
    rounding.logits = rounding.logits.detach() + push * torch.randn(weight.shape)
    found = codes(rounding.hard(), rows)
    assert (found - found.round()).abs().max() < 1e-4
    assert (found.abs().amax(1) <= torch.where(BITS == 8, 119, 7) + 1e-4).all()


def test_the_regularizer_alone_decides_every_weight() -> None:
    """At its end every h is 0 or 1 exactly, so that rounding changes nothing."""
    weight, rows = weights(0)
    rounding = LearnedRounding(weight, weight, 0.0, rows)
    assert ((rounding.part > 0) & (rounding.part < 1)).float().mean() > 0.5
    before = float(rounding.indecision(2.0).detach())
    optimizer = torch.optim.Adam([rounding.logits], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        rounding.indecision(2.0).backward()
        optimizer.step()
    assert ((rounding.part == 0) | (rounding.part == 1)).all()
    assert before > 1 and float(rounding.indecision(2.0).detach()) == 0
    assert_close(rounding.soft().detach(), rounding.hard(), rtol=0, atol=0)
    assert torch.equal(rounding.hard(), fake_quantize_rows(weight, rows.step, rows.bits))
