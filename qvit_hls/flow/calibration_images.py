"""Calibration images: arrays in a file, or a folder of image files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qvit_hls.errors import QvitError
from qvit_hls.flow.images import ImageSet, read_images

#: Files that are named one by one in a message; the others are counted.
_LISTED = 5


@dataclass(frozen=True)
class ImageFormat:
    """What a network takes.

    Attributes:
        shape: ``[channels, height, width]``.
        classes: labels are less than this.
        mean, std: of each channel, that pixels from 0 to 1 are normalised with; None where nothing says so.
    """

    shape: tuple[int, int, int]
    classes: int
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def calibration_images(path: Path, wanted: ImageFormat, count: int | None = None) -> ImageSet:
    """The images of an .npz file or of a folder; those of a folder have no labels.

    Files of a folder are taken in the order of their paths, folders in it included; names that begin with a
    dot are passed over. They are resized, cropped and normalised as for validation.

    Args:
        path: .npz file with ``images``, float ``[n, C, H, W]`` as the network takes them, or folder.
        wanted: what the network takes.
        count: take only the first ``count`` images.

    Raises:
        QvitError: everything that is wrong with the file or the folder.
    """
    if path.is_dir():
        return _folder(path, wanted, count)
    if not path.exists():
        raise QvitError(
            f"There is no file or folder {path}; calibration images are an .npz file with an array 'images', "
            "or a folder of image files."
        )
    return read_images(path, wanted.shape, wanted.classes, count)


def _folder(folder: Path, wanted: ImageFormat, count: int | None) -> ImageSet:
    try:
        from PIL import Image

        from qvit_hls.train.pictures import Preparation
        from qvit_hls.train.sources import IMAGE_SUFFIXES
    except ImportError:
        raise QvitError(
            "A folder of images needs the package pillow; install it with: pip install pillow"
        ) from None
    channels, height, width = wanted.shape
    if height != width:
        raise QvitError(
            f"The network takes images of {height} x {width} pixels; those of {folder} are cut to squares. "
            "Give an .npz file of normalised images instead."
        )
    if wanted.mean is None or wanted.std is None:
        raise QvitError(
            f"The network does not say how pixels are normalised (mean and std of its configuration), so the "
            f"images of {folder} cannot be prepared; give an .npz file of normalised images instead."
        )
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    problems = []
    strange = [str(file) for file in files if file.suffix.lower() not in IMAGE_SUFFIXES]
    if strange:
        problems.append(f"{folder} holds what is no image: {_listed(strange)}.")
    if not files:
        problems.append(f"{folder} holds no images; at least one is needed.")
    elif count is not None and count > len(files):
        problems.append(f"{folder} holds {len(files)} images, but {count} were asked for with --images.")
    preparation = Preparation(height, channels, wanted.mean, wanted.std)
    images = []
    for file in files[:count]:
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        try:
            with Image.open(file) as picture:
                images.append(preparation.validation(picture).numpy())
        except Exception as error:  # whatever a damaged file makes the decoder stumble over
            problems.append(f"The image {file} cannot be read: {error}.")
    if problems:
        raise QvitError(problems)
    return ImageSet(np.stack(images), None, str(folder))


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
