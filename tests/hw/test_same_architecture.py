"""An accelerator made for one model runs every model of the same architecture: only the weights change."""

from __future__ import annotations

import pytest
import torch

from qvit_hls.frontend.compile import integer_graph
from qvit_hls.hw.board import load_board
from qvit_hls.hw.explore.choose import choose_accelerator
from qvit_hls.hw.explore.configuration import program_for
from qvit_hls.ir.graph import Graph
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model

_CONFIG = VitConfig(
    image_size=8,
    patch_size=2,
    channels=1,
    classes=10,
    embed_dim=48,
    blocks=(BlockConfig(heads=3, head_dim=16, mlp_hidden=96),),
    activation_bits=7,
    eight_bit_share=0.25,
)


def _graph(seed: int, bias_gain: float = 1.0) -> Graph:
    model = random_model(_CONFIG, seed)
    with torch.no_grad():
        for _, layer, _ in model.weight_layers():
            layer.bias.mul_(bias_gain)
    return integer_graph(model, torch.zeros(1, 1, 8, 8), f"seed{seed}")


@pytest.mark.parametrize(("seed", "bias_gain"), [(1, 1.0), (2, 0.0), (3, 10.0)])
def test_a_model_with_other_weights_fits(seed: int, bias_gain: float) -> None:
    accelerator = choose_accelerator(_graph(0), load_board("zcu102")).config
    program = program_for(_graph(seed, bias_gain), accelerator)
    assert program.config == accelerator
