"""A plain ViT two channels of whose residual stream are far larger than the others, as in trained ones."""

from __future__ import annotations

import torch
from plain_vit import CHANNELS, SIZE, PlainVit
from torch import nn

from qvit_hls.frontend.compile import float_graph
from qvit_hls.ir.graph import Graph

#: How much larger, and what each LayerNorm's weight makes of it.
GAIN, LAYER_NORM_WEIGHT = 10, 0.1


def outlier_graph(seed: int = 0) -> Graph:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = PlainVit()
        with torch.no_grad():
            assert model.cls is not None
            model.patch.weight[:2] *= GAIN
            model.position[..., :2] *= GAIN
            model.cls[..., :2] *= GAIN
            for module in model.modules():
                if isinstance(module, nn.LayerNorm):
                    module.weight[:2] *= LAYER_NORM_WEIGHT
    return float_graph(model.eval(), torch.zeros(1, CHANNELS, SIZE, SIZE), "outliers")
