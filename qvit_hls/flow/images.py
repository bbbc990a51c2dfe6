"""The images that a simulation runs on: the user's, or the project's own random ones."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qvit_hls.errors import QvitError
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.integer_ops import QuantizedInput

#: Arrays that are named one by one in a message; the others are counted.
_LISTED = 5


@dataclass(frozen=True)
class ImageSet:
    """Images and, where known, their classes.

    Attributes:
        images: float32 ``[n, C, H, W]``, finite.
        labels: int64 ``[n]``, or None.
        origin: where they come from, for messages and reports.
    """

    images: np.ndarray
    labels: np.ndarray | None
    origin: str

    def __len__(self) -> int:
        """How many images."""
        return len(self.images)


def input_node(graph: Graph) -> Node:
    """The node that the image enters by.

    Raises:
        QvitError: the graph has no quantized input, or more than one.
    """
    inputs = [node for node in graph if isinstance(node.op, QuantizedInput)]
    if len(inputs) != 1:
        raise QvitError(f"The graph {graph.name} has {len(inputs)} quantized inputs; it must have one.")
    return inputs[0]


def random_images(graph: Graph, count: int, seed: int) -> np.ndarray:
    """Uniform noise over the input's range: float32 ``[count, C, H, W]``.

    The same seed gives the same images, and more of them start with the same ones.
    """
    node = input_node(graph)
    if node.quant is None:
        raise QvitError(f"Input {node.name} has no quantization, so its range is not defined.")
    limit = node.quant.scale * node.quant.qmax
    generator = np.random.default_rng(seed)
    try:
        images = np.empty((count, *node.shape), np.float32)
    except (MemoryError, ValueError) as error:
        raise QvitError(f"{count} images are more than memory holds. Ask for fewer with --images.") from error
    for image in images:
        image[...] = generator.uniform(-limit, limit, node.shape)
    return images


def load_images(path: Path, graph: Graph, count: int | None = None) -> ImageSet:
    """Read ``images`` (and ``labels``, where there) from an .npz file. Pickled arrays are refused.

    Args:
        path: file with ``images`` float or integer ``[n, C, H, W]`` and, optionally, ``labels``
            integer ``[n]``.
        graph: integer graph; its input gives the shape of an image.
        count: take only the first ``count`` images.

    Raises:
        QvitError: everything that is wrong with the file.
    """
    return read_images(path, input_node(graph).shape, graph[graph.outputs[0]].shape[-1], count)


def read_images(path: Path, shape: tuple[int, ...], classes: int, count: int | None = None) -> ImageSet:
    """As ``load_images``, for a network that is no graph yet.

    Args:
        path: file with ``images`` and, optionally, ``labels``.
        shape: ``[C, H, W]`` of an image.
        classes: labels are less than this.
        count: take only the first ``count`` images.

    Raises:
        QvitError: everything that is wrong with the file.
    """
    arrays = _read_npz(path)
    images, labels = arrays["images"], arrays.get("labels")
    problems = []
    if images.dtype.kind not in "fiu":
        problems.append(f"{path}: 'images' has dtype {images.dtype}; it must be a floating-point array.")
    if images.ndim != len(shape) + 1 or images.shape[1:] != shape:
        wanted = ", ".join(str(size) for size in shape)
        problems.append(f"{path}: 'images' has shape {list(images.shape)}; the network needs [n, {wanted}].")
    elif len(images) == 0:
        problems.append(f"{path}: 'images' is empty; at least one image is needed.")
    elif images.dtype.kind in "fiu" and not np.isfinite(images := _single_precision(images)).all():
        bad = np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))
        problems.append(
            f"{path}: 'images' contains NaN or infinity in {len(bad)} of {len(images)} images "
            f"(the first is image {bad[0]}); every value must be finite."
        )
    if labels is not None and (labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]):
        problems.append(
            f"{path}: 'labels' is {labels.dtype} of shape {list(labels.shape)}; "
            f"it must be one integer per image, shape {list(images.shape[:1])}."
        )
    elif labels is not None:
        outside = np.flatnonzero((labels < 0) | (labels >= classes))
        if outside.size:
            problems.append(
                f"{path}: 'labels' has {outside.size} values outside 0 to {classes - 1} (the first is "
                f"{labels[outside[0]]}, of image {outside[0]}); the network has {classes} classes."
            )
    if not problems and count is not None and count > len(images):
        problems.append(f"{path} holds {len(images)} images, but {count} were asked for with --images.")
    if problems:
        raise QvitError(problems)
    return ImageSet(
        images[:count],
        None if labels is None else labels[:count].astype(np.int64),
        str(path),
    )


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _single_precision(images: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is reported as that
        return images.astype(np.float32)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise QvitError(f"There is no file {path}. Give an .npz file with an array 'images'.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
        if "images" not in names:
            raise QvitError(
                f"{path} has no array 'images'; its arrays are: {_listed(names) or 'none'}. "
                "Save with: np.savez(path, images=x)"
            )
        with np.load(path, allow_pickle=False) as arrays:
            found: dict[str, np.ndarray] = {
                name: arrays[name] for name in ("images", "labels") if name in names
            }
        if not all(isinstance(array, np.ndarray) for array in found.values()):
            raise ValueError("a member is not an array")
        return found
    except QvitError:
        raise
    except MemoryError as error:
        raise QvitError(f"{path} holds more than memory does. Save fewer images in a file.") from error
    except Exception as error:  # whatever a damaged archive makes the readers stumble over
        if "allow_pickle" in str(error):
            raise QvitError(
                f"{path} holds pickled objects, which are never loaded. Save plain number arrays."
            ) from error
        raise QvitError(f"{path} is not a readable .npz file. Save with: np.savez(path, images=x)") from error
