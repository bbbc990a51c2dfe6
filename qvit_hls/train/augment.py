"""Augmentation of normalised images as tensors: each image changed by draws of its own."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

#: Draws per image that ``random_affine`` takes.
AFFINE_DRAWS = 4
#: Tries to find a rectangle that fits the image, as in timm.
_ERASING_TRIES = 10


def random_affine(
    images: Tensor, draws: Tensor, *, degrees: float, shift: float, zoom: float, fill: Tensor
) -> Tensor:
    """Rotate, zoom and shift every image by its own random amounts, bilinearly.

    Args:
        images: float ``[batch, channels, height, width]``.
        draws: float ``[batch, 4]``, uniform in -1..1: of rotation, zoom, and shifts along x and y.
        degrees: rotations are in ``-degrees..degrees``.
        shift: shifts are in ``-shift..shift``, in pixels, along both axes.
        zoom: sizes are in ``1 - zoom .. 1 + zoom``.
        fill: ``[channels]``, value outside the image.

    Returns:
        A tensor like ``images``.
    """
    batch, _, height, width = images.shape
    angle = draws[:, 0] * math.radians(degrees)
    size = 1 + draws[:, 1] * zoom
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    # affine_grid's coordinates run from -1 to 1 over the image: a pixel is 2 / side.
    dx, dy = draws[:, 2] * (2 * shift / width), draws[:, 3] * (2 * shift / height)
    rows = torch.stack([cos, -sin * height / width, dx, sin * width / height, cos, dy], dim=1)
    grid = functional.affine_grid(
        rows.reshape(batch, 2, 3).to(images), list(images.shape), align_corners=False
    )
    outside = fill.to(images).reshape(-1, 1, 1)
    return functional.grid_sample(images - outside, grid, align_corners=False) + outside


def random_erasing(image: Tensor, probability: float, generator: np.random.Generator) -> None:
    """With a probability, replace a random rectangle by noise of the normal distribution, in place.

    Its area is 2 to 33 % of the image, its sides' ratio 0.3 to 3.3 (arXiv 1708.04896).

    Args:
        image: float ``[channels, height, width]``, normalised.
        probability: 0 to 1.
        generator: source of the randomness.
    """
    if generator.random() >= probability:
        return
    channels, height, width = image.shape
    for _ in range(_ERASING_TRIES):
        area = generator.uniform(0.02, 1 / 3) * height * width
        ratio = math.exp(generator.uniform(math.log(0.3), math.log(1 / 0.3)))
        high, wide = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < high < height and 0 < wide < width:
            top = int(generator.integers(height - high + 1))
            left = int(generator.integers(width - wide + 1))
            noise = generator.standard_normal((channels, high, wide), dtype=np.float32)
            image[:, top : top + high, left : left + wide] = torch.from_numpy(noise)
            return
