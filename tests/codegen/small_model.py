"""A small random network as a model file."""

from __future__ import annotations

from pathlib import Path

from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model

TILE = (8, 12, 8)
CONFIG = VitConfig(
    image_size=9,
    channels=1,
    patch_size=3,
    classes=3,
    embed_dim=14,
    blocks=(BlockConfig(heads=2, head_dim=5, mlp_hidden=18),),
)


def write_model(path: Path, seed: int = 1, **changes: object) -> Path:
    """Save a random model of ``CONFIG`` with some of its settings changed."""
    config = VitConfig.model_validate({**CONFIG.model_dump(), **changes})
    save_model(random_model(config, seed), path)
    return path
