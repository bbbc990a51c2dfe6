"""From a picture to a network's input: cropped, augmented, normalised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from qvit_hls.errors import QvitError
from qvit_hls.train.augment import AFFINE_DRAWS, random_affine, random_erasing
from qvit_hls.train.rand_augment import rand_augment
from qvit_hls.train.settings import Augmentation, Crop
from qvit_hls.train.sources import Picture

#: Validation sees this share of an image's shorter side, as DeiT does.
CENTRE_SHARE = 0.875
_CROP_TRIES = 10


@dataclass(frozen=True)
class Preparation:
    """What a network takes, and how pictures become that.

    Attributes:
        image_size: side in pixels.
        channels: 1 (grey) or 3 (red, green, blue) where pictures are pixels.
        mean, std: of pixels between 0 and 1, per channel.
        centre_crop: whether pictures of another size lose their border in validation; those that have the
            network's size never do.
    """

    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    centre_crop: bool = True

    def validation(self, picture: Picture) -> Tensor:
        """Float ``[channels, image_size, image_size]``, the whole picture or its centre.

        Raises:
            QvitError: an array of another shape, or pixels for a network that takes no colours.
        """
        if isinstance(picture, np.ndarray):
            return self._array(picture)
        return self._normalised(self._resized(self._in_mode(picture)))

    def training(
        self,
        pictures: Sequence[Picture],
        augmentation: Augmentation,
        generators: Sequence[np.random.Generator],
    ) -> Tensor:
        """Float ``[batch, channels, image_size, image_size]``, each picture augmented by its own generator.

        Raises:
            QvitError: as ``validation``, and an augmentation of pixels where there are none.
        """
        batch = torch.stack(
            [
                self._augmented(picture, augmentation, generator)
                for picture, generator in zip(pictures, generators, strict=True)
            ]
        )
        if (affine := augmentation.affine) is not None:
            draws = np.stack([g.uniform(-1, 1, AFFINE_DRAWS) for g in generators]).astype(np.float32)
            black = -torch.tensor(self.mean) / torch.tensor(self.std)
            batch = random_affine(
                batch, torch.from_numpy(draws),
                degrees=affine.degrees, shift=affine.shift, zoom=affine.zoom, fill=black,
            )  # fmt: skip
        for image, generator in zip(batch, generators, strict=True):
            random_erasing(image, augmentation.erasing, generator)
        return batch

    # ------------------------------------------------------------ one picture

    def _augmented(
        self, picture: Picture, augmentation: Augmentation, generator: np.random.Generator
    ) -> Tensor:
        flipped = augmentation.flip and generator.random() < 0.5
        if isinstance(picture, np.ndarray):
            wanted = [name for name in ("crop", "rand_augment") if getattr(augmentation, name) is not None]
            if wanted:
                raise QvitError(
                    f"augmentation.{name} works on uint8 pixels; the images are float arrays. Leave it out, "
                    "or give the images as uint8."
                    for name in wanted
                )
            image = self._array(picture)
            return image.flip(2) if flipped else image
        pixels = self._in_mode(picture)
        if augmentation.crop is None:
            pixels = self._resized(pixels)
        else:
            pixels = pixels.resize(
                (self.image_size, self.image_size),
                Image.Resampling.BICUBIC,
                _random_box(pixels, augmentation.crop, generator),
            )
        if flipped:
            pixels = pixels.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if augmentation.rand_augment is not None:
            grey = tuple(min(255, max(0, round(255 * mean))) for mean in self.mean)
            fill = grey[0] if self.channels == 1 else grey
            pixels = rand_augment(pixels, augmentation.rand_augment, fill, generator)
        return self._normalised(pixels)

    def _array(self, image: np.ndarray) -> Tensor:
        shape = (self.channels, self.image_size, self.image_size)
        if image.shape != shape:
            raise QvitError(f"An image has the shape {list(image.shape)}; the network takes {list(shape)}.")
        return torch.from_numpy(np.array(image, np.float32))

    def _in_mode(self, image: Image.Image) -> Image.Image:
        modes = {1: "L", 3: "RGB"}
        if self.channels not in modes:
            raise QvitError(
                f"The network takes {self.channels} channels; pixels are grey (1) or colours (3). "
                "Give the images as float arrays."
            )
        mode = modes[self.channels]
        return image if image.mode == mode else image.convert(mode)

    def _resized(self, image: Image.Image) -> Image.Image:
        size = self.image_size
        if image.size == (size, size):
            return image
        seen = round(min(image.size) * (CENTRE_SHARE if self.centre_crop else 1))
        left, top = (image.width - seen) / 2, (image.height - seen) / 2
        return image.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + seen, top + seen))

    def _normalised(self, image: Image.Image) -> Tensor:
        pixels = np.asarray(image, np.float32).reshape(self.image_size, self.image_size, self.channels)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return torch.from_numpy(np.ascontiguousarray(((pixels / 255 - mean) / std).transpose(2, 0, 1)))


def _random_box(
    image: Image.Image, crop: Crop, generator: np.random.Generator
) -> tuple[float, float, float, float]:
    """A random part of the image: left, top, right, bottom."""
    width, height = image.size
    for _ in range(_CROP_TRIES):
        area = generator.uniform(*crop.area) * width * height
        ratio = math.exp(generator.uniform(math.log(crop.ratio[0]), math.log(crop.ratio[1])))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left = int(generator.integers(width - wide + 1))
            top = int(generator.integers(height - high + 1))
            return left, top, left + wide, top + high
    # None fits: the largest part in the middle that has an allowed ratio.
    ratio = min(max(width / height, crop.ratio[0]), crop.ratio[1])
    wide, high = min(width, round(height * ratio)), min(height, round(width / ratio))
    left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + wide, top + high
