"""RandAugment (arXiv 1909.13719) on images of Pillow, with the operations and strengths that DeiT uses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from qvit_hls.train.settings import RandAugment

#: Strengths run from 0 to this.
_STRONGEST = 10.0

#: An operation: the image, its strength 0 to 1, 1 or -1 at random, and the colour outside the image.
_Fill = int | tuple[int, ...]
_Operation = Callable[[Image.Image, float, int, _Fill], Image.Image]


def rand_augment(
    image: Image.Image, settings: RandAugment, fill: _Fill, generator: np.random.Generator
) -> Image.Image:
    """Apply random operations.

    Args:
        image: mode L or RGB.
        settings: how many, how strong, how often.
        fill: colour outside the image, one number for each band, 0 to 255.
        generator: source of the randomness.

    Returns:
        An image of the same mode and size.
    """
    for _ in range(settings.operations):
        operation = OPERATIONS[int(generator.integers(len(OPERATIONS)))]
        takes_place = generator.random() < settings.probability
        strength = float(np.clip(generator.normal(settings.magnitude, settings.spread), 0, _STRONGEST))
        sign = 1 if generator.random() < 0.5 else -1
        if takes_place:
            image = operation(image, strength / _STRONGEST, sign, fill)
    return image


def _affine(image: Image.Image, matrix: tuple[float, ...], fill: _Fill) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=fill
    )


def _rotate(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return image.rotate(sign * 30 * strength, Image.Resampling.BICUBIC, fillcolor=fill)


def _shear_x(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return _affine(image, (1, sign * 0.3 * strength, 0, 0, 1, 0), fill)


def _shear_y(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return _affine(image, (1, 0, 0, sign * 0.3 * strength, 1, 0), fill)


def _translate_x(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return _affine(image, (1, 0, sign * 0.45 * strength * image.width, 0, 1, 0), fill)


def _translate_y(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return _affine(image, (1, 0, 0, 0, 1, sign * 0.45 * strength * image.height), fill)


def _auto_contrast(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return ImageOps.autocontrast(image)


def _equalize(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return ImageOps.equalize(image)


def _invert(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return ImageOps.invert(image)


def _posterize(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return ImageOps.posterize(image, 4 - int(4 * strength) or 1)


def _solarize(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return ImageOps.solarize(image, 256 - int(256 * strength))


def _solarize_add(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    """Brighten the dark half."""
    amount = int(110 * strength)
    table = [min(255, i + amount) if i < 128 else i for i in range(256)]
    return image.point(table * len(image.getbands()))


def _colour(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return ImageEnhance.Color(image).enhance(1 + sign * 0.9 * strength)


def _contrast(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(1 + sign * 0.9 * strength)


def _brightness(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1 + sign * 0.9 * strength)


def _sharpness(image: Image.Image, strength: float, sign: int, fill: _Fill) -> Image.Image:
    return ImageEnhance.Sharpness(image).enhance(1 + sign * 0.9 * strength)


OPERATIONS: tuple[_Operation, ...] = (
    _auto_contrast, _equalize, _invert, _rotate, _posterize, _solarize, _solarize_add, _colour, _contrast,
    _brightness, _sharpness, _shear_x, _shear_y, _translate_x, _translate_y,
)  # fmt: skip
