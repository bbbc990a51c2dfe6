"""Quantized models with random weights: real shapes without training, for tests and benchmarks."""

from __future__ import annotations

import torch

from qvit_hls.nets.config import VitConfig
from qvit_hls.nets.vit import Attention, LayerScale, QuantVisionTransformer

_CALIBRATION_IMAGES = 2


def random_model(config: VitConfig, seed: int) -> QuantVisionTransformer:
    """A model with random weights of plausible statistics, rows allocated and every step calibrated.

    Rows differ in magnitude, as trained ones do, so that the choice of 8-bit rows means something.
    The same configuration and seed give the same model; the global random state is not touched.
    """
    generator = torch.Generator().manual_seed(seed)
    # Built without memory first: the modules' own random initialisation would be thrown away.
    with torch.device("meta"):
        model = QuantVisionTransformer(config)
    model.to_empty(device="cpu")

    def normal(like: torch.Tensor, std: float) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator) * std

    with torch.no_grad():
        for _, layer, _ in model.weight_layers():
            rows, inputs = layer.weight.flatten(1).shape
            gain = torch.exp(normal(layer.bias, 0.3)).reshape(rows, *[1] * (layer.weight.dim() - 1))
            layer.weight.copy_(normal(layer.weight, inputs**-0.5) * gain)
            layer.bias.copy_(normal(layer.bias, 0.1))
        model.pos_embed.copy_(normal(model.pos_embed, 0.2))
        if model.cls_token is not None:
            model.cls_token.copy_(normal(model.cls_token, 0.2))
        for module in model.modules():
            if isinstance(module, Attention):
                module.score_quant.scale.fill_(config.score_step)
            if isinstance(module, LayerScale):
                # Both signs: training does produce negative factors.
                module.gamma.copy_(normal(module.gamma, 0.5))
    shape = (_CALIBRATION_IMAGES, config.channels, config.image_size, config.image_size)
    model.allocate_rows()
    model.calibrate(torch.randn(shape, generator=generator))
    return model.eval()
