"""Under autocast, fake quantization computes in float32: its grids are the same as without."""

from __future__ import annotations

import pytest
import torch

from qvit_hls.quant.fake_quant import fake_quantize, fake_quantize_bias, fake_quantize_rows, fake_softmax


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_operators_are_exact_under_autocast(dtype: torch.dtype) -> None:
    scale, rows = torch.tensor(2.0**-12), torch.full((4,), 2.0**-9)
    bits = torch.tensor([4, 8, 8, 4], dtype=torch.uint8)
    # Inputs as layers hand them on: in the lower precision.
    x, weight = random(4, 64).to(dtype), random(4, 64) / 16
    scores = (random(4, 8).to(dtype) * 16).round() / 16
    cases = [
        (fake_quantize, (x, scale, 32767)),
        (fake_quantize_rows, (weight, rows, bits)),
        (fake_quantize_bias, (weight[:, 0], rows * scale)),
        (fake_softmax, (scores, torch.tensor(1 / 32))),
    ]
    for operator, arguments in cases:
        expected = operator(
            *(a.float() if torch.is_tensor(a) and a.is_floating_point() else a for a in arguments)
        )
        with torch.autocast("cpu", dtype):
            got = operator(*arguments)
        assert got.dtype == torch.float32
        assert torch.equal(got, expected)


def test_sixteen_bit_codes_survive_between_layers_and_gradients_return_in_the_lower_precision() -> None:
    weight = random(8, 8).requires_grad_()
    scale = torch.tensor(2.0**-12, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = random(3, 8) @ weight
        assert y.dtype == torch.bfloat16
        codes = fake_quantize(y + random(3, 8), scale, 32767) / scale
    assert torch.equal(codes, codes.round())
    assert len(codes.unique()) == codes.numel()
    codes.sum().backward()
    assert weight.grad is not None and weight.grad.dtype == torch.float32 and scale.grad is not None
