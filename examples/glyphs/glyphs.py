"""Pictures of characters: a task that every machine can render for itself, and that low precision hurts.

Each picture is 64 x 64 grey: one character in one of the fonts that ship inside matplotlib, distorted, on a
cluttered background, with noise. It depends on a seed, the split and its index alone, so pictures can be
rendered in any order and by any number of processes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIDE = 64
#: Characters that stay different when they are turned a little, and whatever their size.
CHARACTERS = "0123456789ABDEFGHJKLMNPQRTYabdefghnqrtyΓΔΘΛΞΠΣΩαβγδεζηλξπστφψω?&@#%"
#: Which pictures of one seed are for what; none is in two of them.
SPLITS = ("train", "validation", "test")
_FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta",
)  # fmt: skip
_POINTS = 96
_CANVAS = 192


@dataclass(frozen=True)
class Distortion:
    """How hard the pictures are: largest amounts; every picture draws its own.

    Attributes:
        degrees, shear, stretch: of the character; ``stretch`` changes height against width.
        size: least and largest side of the character, in pixels.
        shift: from the centre, in pixels.
        contrast: how much brighter the character is than the background; black is 0, white 1.
        clutter: lines and pieces of other characters behind and before it.
        blur: radius in pixels. noise: standard deviation of a pixel.
    """

    degrees: float = 20.0
    shear: float = 0.2
    stretch: float = 0.2
    size: tuple[float, float] = (38.0, 54.0)
    shift: float = 4.0
    contrast: tuple[float, float] = (0.35, 0.9)
    clutter: int = 3
    blur: float = 1.0
    noise: float = 0.1


def picture(index: int, split: str, seed: int, distortion: Distortion) -> tuple[np.ndarray, int]:
    """One picture, uint8 ``[64, 64]``, and its class; classes take turns."""
    generator = np.random.default_rng([seed, SPLITS.index(split), index])
    label = index % len(CHARACTERS)
    background = _smooth(generator)
    for _ in range(int(generator.integers(distortion.clutter + 1))):
        background = background + _clutter(generator, distortion) * generator.uniform(-0.3, 0.3)
    character = _character(CHARACTERS[label], generator, distortion)
    image = background + character * generator.uniform(*distortion.contrast)
    if generator.random() < 0.3:
        image = image + _line(generator) * generator.uniform(-0.4, 0.4)
    blurred = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    blurred = blurred.filter(ImageFilter.GaussianBlur(generator.uniform(0, distortion.blur)))
    noise = generator.normal(0, generator.uniform(0, distortion.noise), (SIDE, SIDE))
    noisy = np.asarray(blurred, np.float64) / 255 + noise
    return (np.clip(noisy, 0, 1) * 255 + 0.5).astype(np.uint8), label


def _smooth(generator: np.random.Generator) -> np.ndarray:
    cells = int(generator.integers(2, 7))
    coarse = generator.uniform(0.05, 0.5, (cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)


def _character(text: str, generator: np.random.Generator, distortion: Distortion) -> np.ndarray:
    """Where the character is, 0 to 1."""
    mask, width, height = _drawn(text, _FONTS[int(generator.integers(len(_FONTS)))])
    angle = math.radians(generator.uniform(-distortion.degrees, distortion.degrees))
    shear = generator.uniform(-distortion.shear, distortion.shear)
    stretch = 1 + generator.uniform(-distortion.stretch, distortion.stretch)
    # From pixels of the picture to pixels of the drawing.
    scale = max(width, height) / generator.uniform(*distortion.size)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    matrix = scale * np.array([[1.0, shear], [0.0, stretch]]) @ turn
    shift = generator.uniform(-distortion.shift, distortion.shift, 2)
    offset = np.full(2, _CANVAS / 2) - matrix @ (np.full(2, SIDE / 2) + shift)
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    weight = int(generator.integers(3))  # thinner, as drawn, bolder
    if weight != 1:
        mask = mask.filter(ImageFilter.MinFilter(3) if weight == 0 else ImageFilter.MaxFilter(5))
    # Blurred before it is made smaller, so that no stroke gets lost between pixels.
    mask = mask.filter(ImageFilter.GaussianBlur(scale / 2))
    shown = mask.transform(
        (SIDE, SIDE), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BICUBIC
    )
    return np.asarray(shown, np.float64) / 255


@cache
def _drawn(text: str, font: str) -> tuple[Image.Image, int, int]:
    """A character in the middle of a canvas, with its width and height."""
    image = Image.new("L", (_CANVAS, _CANVAS), 0)
    left, top, right, bottom = _font(font).getbbox(text)
    place = (_CANVAS - left - right) / 2, (_CANVAS - top - bottom) / 2
    ImageDraw.Draw(image).text(place, text, fill=255, font=_font(font))
    return image, int(right - left), int(bottom - top)


@cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"{name}.ttf"), _POINTS)


def _clutter(generator: np.random.Generator, distortion: Distortion) -> np.ndarray:
    if generator.random() < 0.5:
        return _line(generator)
    other = CHARACTERS[int(generator.integers(len(CHARACTERS)))]
    # A piece of another character at the edge.
    far = Distortion(size=distortion.size, shift=0.0)
    mask = _character(other, generator, far)
    angle = generator.uniform(0, 2 * math.pi)
    dx, dy = (round(34 * f(angle)) for f in (math.cos, math.sin))
    return np.roll(mask, (dy, dx), axis=(0, 1)) * _inside(dx, dy)


def _inside(dx: int, dy: int) -> np.ndarray:
    """Where a shifted picture still shows itself and not what came round from the other side."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    return ((x - dx >= 0) & (x - dx < SIDE) & (y - dy >= 0) & (y - dy < SIDE)).astype(np.float64)


def _line(generator: np.random.Generator) -> np.ndarray:
    image = Image.new("L", (4 * SIDE, 4 * SIDE), 0)
    points = generator.uniform(-SIDE, 5 * SIDE, (3, 2))
    width = int(generator.integers(4, 13))
    ImageDraw.Draw(image).line([tuple(p) for p in points], fill=255, width=width, joint="curve")
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64) / 255
