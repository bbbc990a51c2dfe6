"""Images are validated completely before anything runs on them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from qvit_hls.errors import QvitError
from qvit_hls.flow.images import load_images, random_images
from qvit_hls.ir.graph import Graph, Node, Quantization
from qvit_hls.ir.integer_ops import QuantizedInput

GRAPH = Graph(
    "g", (Node("image", QuantizedInput((1, 2, 3)), (), (1, 2, 3), Quantization(0.25, 63)),), ("image",)
)
GOOD = np.zeros((4, 1, 2, 3), np.float32)


def problems(path: Path, count: int | None = None) -> tuple[str, ...]:
    with pytest.raises(QvitError) as error:
        load_images(path, GRAPH, count)
    return error.value.problems


def save(tmp_path: Path, **arrays: np.ndarray) -> Path:
    np.savez(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


def test_images_and_labels_are_read_and_cut_to_the_count(tmp_path: Path) -> None:
    data = load_images(save(tmp_path, images=GOOD.astype(np.float64), labels=np.arange(4) % 3), GRAPH, 3)
    assert (len(data), data.images.dtype, data.images.shape) == (3, np.float32, (3, 1, 2, 3))
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 2]


def test_random_images_stay_in_the_input_range_and_share_a_prefix() -> None:
    few, many = random_images(GRAPH, 2, seed=1), random_images(GRAPH, 5, seed=1)
    assert np.array_equal(few, many[:2])
    assert np.abs(many).max() <= 0.25 * 63
    assert not np.array_equal(few, random_images(GRAPH, 2, seed=2))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.npz"
    assert problems(path) == (f"There is no file {path}. Give an .npz file with an array 'images'.",)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04garbage"])
def test_what_is_not_an_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    assert problems(path) == (f"{path} is not a readable .npz file. Save with: np.savez(path, images=x)",)


def test_a_truncated_npz_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, images=GOOD)
    path.write_bytes(path.read_bytes()[:-40])
    assert problems(path) == (f"{path} is not a readable .npz file. Save with: np.savez(path, images=x)",)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    path = save(tmp_path, images=np.array([{"a": 1}], dtype=object))
    assert problems(path) == (
        f"{path} holds pickled objects, which are never loaded. Save plain number arrays.",
    )


def test_a_missing_array_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = save(tmp_path, x=GOOD, y=GOOD)
    assert problems(path) == (
        f"{path} has no array 'images'; its arrays are: x, y. Save with: np.savez(path, images=x)",
    )


def test_a_wrong_shape_and_wrong_labels_are_reported_together(tmp_path: Path) -> None:
    path = save(tmp_path, images=np.zeros((4, 2, 3), np.float32), labels=np.zeros(3))
    assert problems(path) == (
        f"{path}: 'images' has shape [4, 2, 3]; the network needs [n, 1, 2, 3].",
        f"{path}: 'labels' is float64 of shape [3]; it must be one integer per image, shape [4].",
    )


def test_nan_is_located(tmp_path: Path) -> None:
    images = GOOD.copy()
    images[2, 0, 1, 1], images[3, 0, 0, 0] = np.nan, np.inf
    path = save(tmp_path, images=images)
    assert problems(path) == (
        f"{path}: 'images' contains NaN or infinity in 2 of 4 images (the first is image 2); "
        "every value must be finite.",
    )


def test_no_images_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, images=GOOD[:0])
    assert problems(path) == (f"{path}: 'images' is empty; at least one image is needed.",)


def test_text_is_not_an_image(tmp_path: Path) -> None:
    path = save(tmp_path, images=np.full((4, 1, 2, 3), "a"))
    assert problems(path) == (f"{path}: 'images' has dtype <U1; it must be a floating-point array.",)


def test_more_images_than_there_are_cannot_be_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path, images=GOOD)
    assert problems(path, 5) == (f"{path} holds 4 images, but 5 were asked for with --images.",)


def test_labels_that_are_no_class_are_located(tmp_path: Path) -> None:
    path = save(tmp_path, images=GOOD, labels=np.array([2, 3, -1, 0]))
    assert problems(path) == (
        f"{path}: 'labels' has 2 values outside 0 to 2 (the first is 3, of image 1); "
        "the network has 3 classes.",
    )


def test_values_beyond_single_precision_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, images=GOOD.astype(np.float64) + 1e300)
    assert problems(path) == (
        f"{path}: 'images' contains NaN or infinity in 4 of 4 images (the first is image 0); "
        "every value must be finite.",
    )


def _array_file(shape: bytes) -> bytes:
    header = (b"{'descr': '<f4', 'fortran_order': False, 'shape': " + shape).ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize("content", [b"", b"hello", _array_file(b"(1.5, 1"), _array_file(b"(-3,), }")])
def test_a_member_that_is_no_array_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", content)
    assert problems(path) == (f"{path} is not a readable .npz file. Save with: np.savez(path, images=x)",)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, images=GOOD)
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert problems(path) == (f"{path} is not a readable .npz file. Save with: np.savez(path, images=x)",)


def test_an_array_larger_than_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", _array_file(b"(1000000000000000, 1, 2, 3), }"))
    assert problems(path) == (f"{path} holds more than memory does. Save fewer images in a file.",)


def test_more_random_images_than_memory_holds_are_refused() -> None:
    with pytest.raises(QvitError) as error:
        random_images(GRAPH, 10**20, seed=1)
    assert error.value.problems == (
        "100000000000000000000 images are more than memory holds. Ask for fewer with --images.",
    )
