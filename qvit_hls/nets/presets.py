"""Configurations of published models (DeiT, arXiv 2012.12877)."""

from __future__ import annotations

from collections.abc import Callable

from qvit_hls.nets.config import BlockConfig, VitConfig

_DEPTH = 12
_HEAD_DIM = 64
_MLP_RATIO = 4


def deit_tiny(activation_bits: int = 7) -> VitConfig:
    """DeiT-Tiny: 192 channels, 3 heads; 224-pixel images, 197 tokens."""
    return _deit(heads=3, activation_bits=activation_bits)


def deit_small(activation_bits: int = 7) -> VitConfig:
    """DeiT-Small: 384 channels, 6 heads; 224-pixel images, 197 tokens."""
    return _deit(heads=6, activation_bits=activation_bits)


def deit_base(activation_bits: int = 7) -> VitConfig:
    """DeiT-Base: 768 channels, 12 heads; 224-pixel images, 197 tokens."""
    return _deit(heads=12, activation_bits=activation_bits)


def _deit(heads: int, activation_bits: int) -> VitConfig:
    embed_dim = heads * _HEAD_DIM
    block = BlockConfig(heads=heads, head_dim=_HEAD_DIM, mlp_hidden=_MLP_RATIO * embed_dim)
    return VitConfig(
        image_size=224,
        patch_size=16,
        classes=1000,
        embed_dim=embed_dim,
        blocks=(block,) * _DEPTH,
        activation_bits=activation_bits,
        eight_bit_share=0.25,
    )


#: The presets by name; each takes the activation bits.
PRESETS: dict[str, Callable[[int], VitConfig]] = {
    "deit_tiny": deit_tiny,
    "deit_small": deit_small,
    "deit_base": deit_base,
}
