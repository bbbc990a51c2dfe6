"""Data augmentation on batches of images."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def random_affine(
    images: Tensor, generator: torch.Generator, *, degrees: float, shift: float, zoom: float, fill: float
) -> Tensor:
    """Rotate, zoom and shift every image by its own random amounts, bilinearly.

    Args:
        images: float ``[batch, channels, height, width]``.
        generator: source of the randomness, on the CPU.
        degrees: rotations are uniform in ``-degrees..degrees``.
        shift: shifts are uniform in ``-shift..shift``, in pixels, along both axes.
        zoom: sizes are uniform in ``1 - zoom .. 1 + zoom``.
        fill: value outside the image.

    Returns:
        A tensor like ``images``.
    """
    batch, _, height, width = images.shape

    def uniform(limit: float) -> Tensor:
        return (torch.rand(batch, generator=generator) * 2 - 1) * limit

    angle = uniform(math.radians(degrees))
    size = 1 + uniform(zoom)
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    # affine_grid's coordinates run from -1 to 1 over the image: a pixel is 2 / side.
    dx, dy = uniform(2 * shift / width), uniform(2 * shift / height)
    rows = torch.stack([cos, -sin * height / width, dx, sin * width / height, cos, dy], dim=1)
    grid = functional.affine_grid(
        rows.reshape(batch, 2, 3).to(images), list(images.shape), align_corners=False
    )
    return functional.grid_sample(images - fill, grid, align_corners=False) + fill
