"""The fake-quantization operators compute the contract's formulas, and LSQ's gradients."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from qvit_hls.quant.fake_quant import fake_quantize, fake_quantize_bias, fake_quantize_rows, fake_softmax
from qvit_hls.quant.levels import EXPONENT_LEVELS, weight_qmax

SEEDS = st.integers(0, 2**32 - 1)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def code(x: float, scale: float, qmax: int) -> int:
    return max(-qmax, min(qmax, math.floor(x / scale + 0.5)))


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, exponent=st.integers(-8, 2), qmax=st.sampled_from([7, 63, 119, 32767]))
def test_fake_quantize_is_the_contracts_formula(seed: int, exponent: int, qmax: int) -> None:
    x, scale = random(seed, 5, 7) * 3, 2.0**exponent  # a power of two: x / scale is exact here and in torch
    expected = [[scale * code(v, scale, qmax) for v in row] for row in x.tolist()]
    assert fake_quantize(x, torch.tensor(scale), qmax).tolist() == expected


@pytest.mark.parametrize(
    ("x", "expected"), [(0.5, 1.0), (-0.5, 0.0), (1.5, 2.0), (-1.5, -1.0), (9.0, 7.0), (-9.0, -7.0)]
)
def test_halves_round_up_and_the_range_is_symmetric(x: float, expected: float) -> None:
    assert fake_quantize(torch.tensor([x]), torch.tensor(1.0), 7).item() == expected


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, rows=st.integers(1, 9), tail=st.sampled_from([(1,), (6,), (3, 2, 2)]))
def test_each_row_has_its_own_step_and_width(seed: int, rows: int, tail: tuple[int, ...]) -> None:
    weight = random(seed, rows, *tail)
    scale = random(seed + 1, rows).abs() + 0.01
    row_bits = torch.where(random(seed + 2, rows) > 0, 8, 4).to(torch.uint8)
    got = fake_quantize_rows(weight, scale, row_bits)
    for r in range(rows):
        expected = fake_quantize(weight[r], scale[r], weight_qmax(int(row_bits[r])))
        assert torch.equal(got[r], expected)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, keys=st.integers(1, 20), step=st.sampled_from([1 / 46, 1 / 32, 0.1, 1.0]))
def test_softmax_uses_tabulated_exponents(seed: int, keys: int, step: float) -> None:
    codes = (random(seed, 3, keys) * 100).round()
    got = fake_softmax(codes * step, torch.tensor(step))
    step = float(torch.tensor(step))
    for row, probabilities in zip(codes.tolist(), got, strict=True):
        e = [math.floor(EXPONENT_LEVELS * math.exp(-step * min(max(row) - c, 255)) + 0.5) for c in row]
        assert torch.equal(probabilities, torch.tensor(e, dtype=torch.float32) / sum(e))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_softmax_of_what_is_not_finite_is_nan(bad: float) -> None:
    got = fake_softmax(torch.tensor([[0.0, bad, 1.0], [0.0, 1.0, -math.inf]]), torch.tensor(1 / 32))
    assert bool(got[0].isnan().all())
    assert bool(got[1].isfinite().all())


def test_gradient_passes_inside_the_range_and_stops_outside() -> None:
    x = torch.tensor([0.3, 6.9, 7.6, -20.0], requires_grad=True)
    fake_quantize(x, torch.tensor(1.0), 7).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 1, 0, 0]


def test_gradient_of_the_step_is_lsqs() -> None:
    scale = torch.tensor(2.0, requires_grad=True)
    x = torch.tensor([3.4, -0.5, 100.0, -100.0])
    fake_quantize(x, scale, 7).backward(torch.tensor([1.0, 1.0, 1.0, 10.0]))
    # code - x / scale inside, +-qmax outside, times 1 / sqrt(numel * qmax)
    expected = ((2 - 1.7) + (0 + 0.25) + 7 - 70) / math.sqrt(4 * 7)
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(expected)


def test_gradient_of_row_steps_is_lsqs_for_every_row() -> None:
    weight = random(0, 4, 6)
    row_bits = torch.tensor([4, 8, 8, 4], dtype=torch.uint8)
    scale = torch.tensor([0.1, 0.01, 0.02, 0.3], requires_grad=True)
    grad = random(1, 4, 6)
    fake_quantize_rows(weight, scale, row_bits).backward(grad)
    for r in range(4):
        step = scale.detach()[r].clone().requires_grad_()
        fake_quantize(weight[r], step, weight_qmax(int(row_bits[r]))).backward(grad[r])
        assert scale.grad is not None
        assert step.grad is not None
        assert scale.grad[r].item() == pytest.approx(step.grad.item(), rel=1e-5)


def test_gradient_of_the_softmax_is_the_plain_ones() -> None:
    scores = (random(0, 2, 5) * 32).round() / 32
    grad = random(1, 2, 5)
    a, b = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    fake_softmax(a, torch.tensor(1 / 32)).backward(grad)
    torch.softmax(b, dim=-1).backward(grad)
    torch.testing.assert_close(a.grad, b.grad)


def test_biases_round_to_whole_accumulator_steps_and_gradients_pass() -> None:
    bias = torch.tensor([0.375, -0.375, 100.0], requires_grad=True)
    rounded = fake_quantize_bias(bias, torch.tensor([0.25, 0.25, 0.5]))
    assert rounded.tolist() == [0.5, -0.25, 100.0]
    rounded.backward(torch.tensor([1.0, 2.0, 3.0]))
    assert bias.grad is not None
    assert bias.grad.tolist() == [1.0, 2.0, 3.0]


def test_operators_fulfil_torchs_contract() -> None:
    torch.library.opcheck(fake_quantize_bias, (random(3, 3).requires_grad_(), torch.full((3,), 0.1)))
    scale = torch.tensor(0.1, requires_grad=True)
    torch.library.opcheck(fake_quantize, (random(0, 3, 4).requires_grad_(), scale, 7))
    rows = torch.full((3,), 0.1, requires_grad=True)
    row_bits = torch.tensor([4, 8, 4], dtype=torch.uint8)
    torch.library.opcheck(fake_quantize_rows, (random(1, 3, 4).requires_grad_(), rows, row_bits))
    torch.library.opcheck(fake_softmax, (random(2, 3, 4).requires_grad_(), torch.tensor(1 / 32)))
