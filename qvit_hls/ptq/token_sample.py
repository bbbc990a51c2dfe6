"""The tokens that a search looks at: the same of every value of an image, others of every image."""

from __future__ import annotations

import torch
from torch import Tensor


def sampled_tokens(x: Tensor, first_image: int, images: int, tokens: int) -> Tensor:
    """Some tokens of each image.

    The first token is always among them, as only that of the last block may matter for the classes. The
    others are evenly spread and begin elsewhere in every image, so that all columns of the picture occur.

    Args:
        x: ``[n, T, ...]``.
        first_image: number of the first image of ``x`` in the set.
        images: in the whole set.
        tokens: to take, at most, over the whole set; of an image at least one.

    Returns:
        ``[n, t, ...]``.
    """
    length = x.shape[1]
    count = max(1, tokens // images)
    if count >= length:
        return x
    others = length - 1
    image = torch.arange(first_image, first_image + len(x))[:, None]
    spread = (torch.arange(count - 1) * others) // max(1, count - 1)
    index = torch.cat([torch.zeros_like(image), 1 + (spread[None] + image) % others], dim=1)
    return x[torch.arange(len(x))[:, None], index]


def sampled_queries(x: Tensor, first_image: int, images: int, tokens: int) -> Tensor:
    """The same tokens of attention's scores or probabilities, ``[n, heads, T, T'] -> [n, heads, t, T']``."""
    return sampled_tokens(x.transpose(1, 2), first_image, images, tokens).transpose(1, 2)
