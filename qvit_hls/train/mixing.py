"""Mixup and cutmix between neighbours of a batch, and the targets that result.

Images at positions 2i and 2i + 1 are each other's partners. So a share of a batch is mixed as it is inside
the whole batch, and the number of processes changes nothing.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from qvit_hls.train.settings import Mixing

#: Positions that are mixed with one another; a process's share of a batch is whole groups.
MIXING_GROUP = 2


def soft_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Probabilities ``[batch, classes]`` of labels int64 ``[batch]``; ``smoothing`` goes to all classes."""
    return functional.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes


def mix(
    images: Tensor, targets: Tensor, settings: Mixing, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mixup (arXiv 1710.09412) or cutmix (arXiv 1905.04899), one draw for the whole batch.

    Args:
        images: float ``[batch, channels, height, width]``, the batch even.
        targets: probabilities ``[batch, classes]``.
        settings: how much of which.
        generator: source of the randomness; equal in all processes.

    Returns:
        Mixed images and targets.
    """
    if generator.random() >= settings.probability:
        return images, targets
    cut = settings.mixup == 0 or (settings.cutmix > 0 and generator.random() < settings.switch_probability)
    alpha = settings.cutmix if cut else settings.mixup
    share = generator.beta(alpha, alpha)
    partners = _partners(images)
    if cut:
        height, width = images.shape[-2:]
        top, bottom = _span(height, share, generator)
        left, right = _span(width, share, generator)
        mixed = images.clone()
        mixed[..., top:bottom, left:right] = partners[..., top:bottom, left:right]
        # The rectangle is cut off at the border: its true area counts.
        share = 1 - (bottom - top) * (right - left) / (height * width)
    else:
        mixed = torch.lerp(partners, images, share)
    return mixed, torch.lerp(_partners(targets), targets, share)


def _partners(x: Tensor) -> Tensor:
    return x.unflatten(0, (-1, MIXING_GROUP)).flip(1).flatten(0, 1)


def _span(side: int, share: float, generator: np.random.Generator) -> tuple[int, int]:
    half = side * math.sqrt(1 - share) / 2
    centre = generator.uniform(0, side)
    return max(0, round(centre - half)), min(side, round(centre + half))
