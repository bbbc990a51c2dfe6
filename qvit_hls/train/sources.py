"""Labelled images to train on: arrays, folders of image files, Hugging Face data sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from qvit_hls.errors import QvitError

#: Pixels with their own colours, or float32 [channels, height, width] that a network takes as they are.
Picture = Image.Image | np.ndarray

#: Endings of file names that count as images.
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
#: Grey pixels of 16 bits, as Pillow names them: by the order of their bytes.
_SIXTEEN_BITS = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
#: Files whose grey pixels have 16 bits at most, though Pillow may give them 32.
_SIXTEEN_AS_32 = frozenset({"PNG", "PPM"})
#: Bad files, folders or labels that are named one by one; the others are counted.
_LISTED = 5


class Source(Protocol):
    """Labelled images by index."""

    #: Shown in messages.
    origin: str

    def __len__(self) -> int:
        """Number of images, at least 1."""

    def item(self, index: int) -> tuple[Picture, int]:
        """An image and its class.

        Raises:
            QvitError: the image cannot be read.
        """


class ArraySource:
    """Images in memory.

    Args:
        images: uint8 ``[n, height, width]`` or ``[n, height, width, 1 or 3]`` are pixels; float
            ``[n, channels, height, width]`` are normalised already.
        labels: integers ``[n]``.
        classes: labels are less than this.
        origin: where the images are from, for messages.

    Raises:
        QvitError: all that is wrong with the arrays.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, classes: int, origin: str) -> None:
        if problems := list(_array_problems(images, labels, classes)):
            raise QvitError(f"{origin}: {problem}" for problem in problems)
        self.origin = origin
        self._images = images if images.dtype == np.uint8 else _single_precision(images)
        self._labels = labels

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def item(self, index: int) -> tuple[Picture, int]:
        """An image and its class."""
        image, label = self._images[index], int(self._labels[index])
        if image.dtype != np.uint8:
            return image, label
        return Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image), label


def _array_problems(images: np.ndarray, labels: np.ndarray, classes: int) -> Iterator[str]:
    kind = f"{images.dtype} {list(images.shape)}"
    if images.dtype == np.uint8:
        if images.ndim != 3 and not (images.ndim == 4 and images.shape[3] in (1, 3)):
            yield (
                f"'images' is {kind}; pixels should be uint8 [n, height, width] or "
                "[n, height, width, 1 or 3]."
            )
    elif images.dtype.kind != "f" or images.ndim != 4:
        yield f"'images' is {kind}; it should be uint8 pixels or float [n, channels, height, width]."
    elif not np.isfinite(inputs := _single_precision(images)).all():
        bad = np.flatnonzero(~np.isfinite(inputs).reshape(len(images), -1).all(axis=1))
        yield f"'images' has NaN or infinity in {len(bad)} images, the first is image {bad[0]}."
    if images.ndim and len(images) == 0:
        yield "'images' is empty; there should be at least one image."
    elif images.size == 0:
        yield f"'images' is {kind}; each image should have at least one pixel."
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        yield (
            f"'labels' is {labels.dtype} {list(labels.shape)}; it should be one integer for each image, "
            f"{list(images.shape[:1])}."
        )
        return
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(bad):
        yield (
            f"'labels' has {len(bad)} values outside 0 to {classes - 1}, the first is {labels[bad[0]]} "
            f"of image {bad[0]}; the network has {classes} classes."
        )


def _single_precision(images: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is reported as that
        return images.astype(np.float32, copy=False)


def npz_source(path: Path, classes: int) -> ArraySource:
    """The arrays ``images`` and ``labels`` of an .npz file; pickled arrays are refused.

    Raises:
        QvitError: the file cannot be read, an array is missing, or what ArraySource says.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ("images", "labels") if name not in file]
            if missing:
                has = ", ".join(file.files) or "none"
                raise QvitError(f"{path} has no array {name!r}; its arrays are: {has}." for name in missing)
            images, labels = file["images"], file["labels"]
        if not (isinstance(images, np.ndarray) and isinstance(labels, np.ndarray)):
            raise TypeError("a member is not an array")
    except QvitError:
        raise
    except FileNotFoundError:
        raise QvitError(f"There is no file {path}.") from None
    except MemoryError:
        raise QvitError(f"{path} holds more than memory does; save fewer images in it.") from None
    except Exception as error:  # whatever a damaged archive makes the readers stumble over
        raise QvitError(
            f"{path} is not a readable .npz file of plain number arrays; "
            "save with: np.savez(path, images=x, labels=y)"
        ) from error
    return ArraySource(images, labels, classes, str(path))


class FolderSource:
    """A folder with one folder of image files per class, as ImageNet's; classes in the order of their names.

    Args:
        folder: its folders are the classes; names that begin with a dot are passed over.
        classes: how many folders there should be.

    Raises:
        QvitError: everything that is wrong with the folder.
    """

    def __init__(self, folder: Path, classes: int) -> None:
        self.origin = str(folder)
        self._files: list[tuple[Path, int]] = []
        strange: list[str] = []
        empty: list[str] = []
        folders = []
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(entry)
            else:
                strange.append(str(entry))
        for label, entry in enumerate(folders):
            files = [file for file in sorted(entry.iterdir()) if not file.name.startswith(".")]
            images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
            known = set(images)
            strange += [str(file) for file in files if file not in known]
            self._files += [(file, label) for file in images]
            if not images:
                empty.append(entry.name)
        problems = []
        if len(folders) != classes:
            problems.append(
                f"{folder} has {len(folders)} folders; the network has {classes} classes, "
                "and there should be a folder for each."
            )
        if strange:
            problems.append(f"{folder} holds what is no image of a class: {_listed(strange)}.")
        if empty:
            problems.append(f"Classes without images in {folder}: {_listed(empty)}.")
        if problems:
            raise QvitError(problems)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._files)

    def item(self, index: int) -> tuple[Picture, int]:
        """An image, as its file has it, and its class."""
        path, label = self._files[index]
        try:
            with Image.open(path) as image:
                return _eight_bit(image), label
        except Exception as error:  # whatever a damaged file makes the decoder stumble over
            raise QvitError(f"The image {path} cannot be read: {error}.") from error


def _eight_bit(image: Image.Image) -> Image.Image:
    """The image with pixels of 8 bits, in memory; Pillow itself would cut larger values off.

    Raises:
        ValueError: the pixels have no range that is known.
    """
    image.load()
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and image.format in _SIXTEEN_AS_32):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        kind = "floating-point numbers" if image.mode == "F" else "32-bit integers"
        raise ValueError(f"its pixels are {kind}; they should have 8 or 16 bits")
    return image


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


class HubSource:
    """One split of a Hugging Face data set that has an image and a label in each row.

    Args:
        name: ``NAME`` or ``NAME:SPLIT``, as in ``imagenet-1k:validation``; without a split it is ``train``.
        classes: labels are less than this.

    Raises:
        QvitError: ``datasets`` is not installed, the data set cannot be loaded, or has no such columns.
    """

    def __init__(self, name: str, classes: int) -> None:
        try:
            import datasets
        except ImportError:
            raise QvitError(
                f"hf:{name} needs the package datasets; install it with: pip install datasets"
            ) from None
        self.origin = f"hf:{name}"
        self._classes = classes
        data, _, split = name.partition(":")
        try:
            self._rows: Any = datasets.load_dataset(data, split=split or "train")
        except Exception as error:  # the library has an exception of its own for each way to fail
            raise QvitError(f"{self.origin} cannot be loaded: {' '.join(str(error).split())}") from error
        columns = list(self._rows.column_names)
        self._image = next((c for c in ("image", "img") if c in columns), None)
        self._label = next((c for c in ("label", "labels", "fine_label") if c in columns), None)
        if self._image is None or self._label is None:
            raise QvitError(
                f"{self.origin} has the columns {', '.join(columns)}; there should be one called image or "
                "img, and one called label, labels or fine_label."
            )
        if not len(self._rows):
            raise QvitError(f"{self.origin} is empty; there should be at least one image.")

    def __len__(self) -> int:
        """Number of images."""
        return len(self._rows)

    def item(self, index: int) -> tuple[Picture, int]:
        """An image and its class."""
        row = self._rows[index]
        try:
            image = _eight_bit(row[self._image])
        except Exception as error:  # whatever a damaged image makes the decoder stumble over
            raise QvitError(f"The image in row {index} of {self.origin} cannot be read: {error}.") from error
        label = int(row[self._label])
        if not 0 <= label < self._classes:
            raise QvitError(
                f"Row {index} of {self.origin} has the label {label}; "
                f"labels should be 0 to {self._classes - 1}."
            )
        return image, label


def open_source(name: str, classes: int) -> Source:
    """The labelled images called ``name``: an .npz file, a folder, or ``hf:NAME[:SPLIT]``.

    Args:
        classes: of the network; labels are 0 to ``classes - 1``.

    Raises:
        QvitError: there is no such thing, or what is wrong with it.
    """
    if name.startswith("hf:"):
        return HubSource(name.removeprefix("hf:"), classes)
    path = Path(name)
    if path.is_dir():
        return FolderSource(path, classes)
    if path.suffix == ".npz":
        return npz_source(path, classes)
    if not path.exists():
        raise QvitError(f"There is no {path}; data is an .npz file, a folder of images, or hf:NAME.")
    raise QvitError(f"{path} is no data to train on; it should be an .npz file, a folder, or hf:NAME.")
