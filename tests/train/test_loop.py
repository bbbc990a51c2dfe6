"""The training loop learns, is reproducible, and keeps to what the integer formats allow."""

from __future__ import annotations

import pytest
import torch

from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.vit import QuantVisionTransformer
from qvit_hls.quant.modules import ActivationQuantizer
from qvit_hls.train.loop import (
    Dataset,
    Phase,
    accuracy,
    parameter_groups,
    predict,
    train_float,
    train_quantized,
    warmup_cosine,
)

CONFIG = VitConfig(
    image_size=4,
    channels=1,
    patch_size=2,
    classes=2,
    embed_dim=16,
    blocks=(BlockConfig(heads=2, head_dim=4, mlp_hidden=16),),
)


def bright_or_dark(count: int) -> Dataset:
    """Two classes that differ in the mean of the image."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    images = torch.randn(count, 1, 4, 4, generator=generator) + (2 * labels - 1).reshape(-1, 1, 1, 1)
    return Dataset(images, labels)


def trained(augment_with: float | None = None) -> QuantVisionTransformer:
    torch.manual_seed(0)
    model = QuantVisionTransformer(CONFIG)
    data = bright_or_dark(64)

    def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        assert augment_with is not None
        return images + augment_with * torch.randn(images.shape, generator=generator)

    chosen = None if augment_with is None else augment
    train_float(model, data, Phase(6, 3e-3, batch_size=16), 0, chosen)
    train_quantized(model, data, Phase(2, 1e-3, batch_size=16), 1, chosen)
    return model


def test_a_quantized_model_learns() -> None:
    model = trained()
    assert accuracy(model, bright_or_dark(200)) >= 0.95
    assert not model.training


def test_training_is_reproducible() -> None:
    first, second = trained(0.1).state_dict(), trained(0.1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_trained_steps_are_positive() -> None:
    model = trained()
    for name, module in model.named_modules():
        if isinstance(module, ActivationQuantizer):
            assert float(module.scale.detach()) > 0, name
    for name, layer, _ in model.weight_layers():
        assert bool((layer.row_scale > 0).all()), name


def test_every_parameter_is_trained_once_and_steps_in_proportion_to_their_size() -> None:
    model = QuantVisionTransformer(CONFIG)
    model.input_quant.scale.data.fill_(0.01)
    groups = parameter_groups(model, Phase(1, 1e-3))
    members = [p for group in groups for p in group["params"]]
    assert sorted(map(id, members)) == sorted(id(p) for p in model.parameters())
    rate = next(g["lr"] for g in groups if g["params"][0] is model.input_quant.scale)
    assert rate == pytest.approx(1e-5)


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    factor = warmup_cosine(4, 12)
    assert [factor(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factor(8) == pytest.approx(0.5)
    assert factor(12) == pytest.approx(0.0)
    assert warmup_cosine(0, 10)(0) == 1.0


def test_prediction_leaves_the_mode_alone() -> None:
    model = QuantVisionTransformer(CONFIG)
    model.train()
    predict(model, bright_or_dark(5).images, batch_size=2)
    assert model.training
