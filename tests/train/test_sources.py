"""Sources give images and labels, and name everything that is wrong with them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qvit_hls.errors import QvitError
from qvit_hls.train.sources import ArraySource, FolderSource, open_source


def folder(path: Path, classes: dict[str, int]) -> Path:
    for i, (name, count) in enumerate(classes.items()):
        (path / name).mkdir(parents=True)
        for k in range(count):
            Image.new("RGB", (6, 4), (10 * i, k, 0)).save(path / name / f"{k}.png")
    return path


def test_classes_of_a_folder_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    source = FolderSource(folder(tmp_path, {"b": 1, "a": 2}), 2)
    (tmp_path / "a" / ".hidden").touch()
    items = [source.item(i) for i in range(len(source))]
    assert [label for _, label in items] == [0, 0, 1]
    assert [image.getpixel((0, 0)) for image, _ in items if isinstance(image, Image.Image)] == [
        (10, 0, 0), (10, 1, 0), (0, 0, 0),
    ]  # fmt: skip


def test_everything_wrong_with_a_folder_is_named(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 1, "b": 0})
    (tmp_path / "a" / "notes.txt").touch()
    (tmp_path / "list.csv").touch()
    with pytest.raises(QvitError) as error:
        open_source(str(tmp_path), 3)
    assert error.value.problems == (
        f"{tmp_path} has 2 folders; the network has 3 classes, and there should be a folder for each.",
        f"{tmp_path} holds what is no image of a class: {tmp_path}/list.csv, {tmp_path}/a/notes.txt.",
        f"Classes without images in {tmp_path}: b.",
    )


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 1})
    (tmp_path / "a" / "0.png").write_bytes(b"nothing")
    with pytest.raises(QvitError, match=rf"The image {tmp_path}/a/0.png cannot be read: cannot identify"):
        FolderSource(tmp_path, 1).item(0)


@pytest.mark.parametrize("suffix", [".png", ".pgm", ".tif"])
def test_grey_pixels_of_16_bits_keep_their_upper_8(suffix: str, tmp_path: Path) -> None:
    pixels = np.arange(0, 65536, 4096, dtype=np.uint16).reshape(4, 4) + 255
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / f"0{suffix}")
    image, _ = FolderSource(tmp_path, 1).item(0)
    assert isinstance(image, Image.Image) and image.mode == "L"
    assert np.array_equal(np.asarray(image), pixels // 256)


def test_pixels_without_a_known_range_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("F", (2, 2), 0.5).save(tmp_path / "a" / "0.tif")
    with pytest.raises(QvitError) as error:
        FolderSource(tmp_path, 1).item(0)
    assert str(error.value) == (
        f"The image {tmp_path}/a/0.tif cannot be read: its pixels are floating-point numbers; "
        "they should have 8 or 16 bits."
    )


def test_an_npz_file_gives_pixels_or_inputs(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.array([1, 0]))
    image, label = open_source(str(tmp_path / "a.npz"), 2).item(0)
    assert isinstance(image, Image.Image) and np.array_equal(np.asarray(image), pixels[0]) and label == 1
    inputs = np.ones((2, 1, 3, 3))
    array, _ = ArraySource(inputs, np.array([0, 1]), 2, "x").item(1)
    assert isinstance(array, np.ndarray) and array.dtype == np.float32 and array.shape == (1, 3, 3)


@pytest.mark.parametrize(
    ("images", "labels", "problems"),
    [
        (np.zeros((2, 3, 3, 2), np.uint8), np.zeros(2, int),
         ["'images' is uint8 [2, 3, 3, 2]; pixels should be uint8 [n, height, width] or "
          "[n, height, width, 1 or 3]."]),
        (np.zeros((2, 3, 3), int), np.zeros(3, int),
         ["'images' is int64 [2, 3, 3]; it should be uint8 pixels or float [n, channels, height, width].",
          "'labels' is int64 [3]; it should be one integer for each image, [2]."]),
        (np.full((2, 1, 3, 3), np.nan), np.array([0, 4]),
         ["'images' has NaN or infinity in 2 images, the first is image 0.",
          "'labels' has 1 values outside 0 to 3, the first is 4 of image 1; the network has 4 classes."]),
        (np.zeros((0, 1, 3, 3)), np.zeros(0, int),
         ["'images' is empty; there should be at least one image."]),
        (np.zeros((2, 0, 3), np.uint8), np.zeros(2, int),
         ["'images' is uint8 [2, 0, 3]; each image should have at least one pixel."]),
        (np.array([1.0, 1e39]).reshape(2, 1, 1, 1), np.zeros(2, int),
         ["'images' has NaN or infinity in 1 images, the first is image 1."]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_arrays_is_said(
    images: np.ndarray, labels: np.ndarray, problems: list[str]
) -> None:
    with pytest.raises(QvitError) as error:
        ArraySource(images, labels, 4, "x")
    assert list(error.value.problems) == [f"x: {problem}" for problem in problems]


def test_what_is_no_data_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pictures=np.zeros(1))
    (tmp_path / "b.npz").write_bytes(b"PK")
    (tmp_path / "c.txt").touch()
    expected = {
        "a.npz": ("{} has no array 'images'; its arrays are: pictures.",
                  "{} has no array 'labels'; its arrays are: pictures."),
        "b.npz": ("{} is not a readable .npz file of plain number arrays; "
                  "save with: np.savez(path, images=x, labels=y)",),
        "c.txt": ("{} is no data to train on; it should be an .npz file, a folder, or hf:NAME.",),
        "d": ("There is no {}; data is an .npz file, a folder of images, or hf:NAME.",),
        "e.npz": ("There is no file {}.",),
    }  # fmt: skip
    for name, sentences in expected.items():
        with pytest.raises(QvitError) as error:
            open_source(str(tmp_path / name), 2)
        assert error.value.problems == tuple(line.format(tmp_path / name) for line in sentences)


def _npy_file(descr: bytes, shape: bytes) -> bytes:
    header = (b"{'descr': '" + descr + b"', 'fortran_order': False, 'shape': " + shape).ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def _archive(path: Path, images: bytes, flags: int = 0) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", images)
        archive.writestr("labels.npy", images)
    content = bytearray(path.read_bytes())
    content[6] |= flags
    content[content.index(b"PK\x01\x02") + 8] |= flags
    path.write_bytes(content)


def _one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(1))


def _damaged_stream(path: Path) -> None:
    np.savez_compressed(path, images=np.random.default_rng(0).integers(0, 255, 999), labels=np.zeros(999))
    content = bytearray(path.read_bytes())
    content[90:200] = b"\xff" * 110
    path.write_bytes(content)


@pytest.mark.parametrize(
    "make",
    [
        _one_array,
        _damaged_stream,
        lambda path: _archive(path, b"no array"),
        lambda path: _archive(path, _npy_file(b"|u1", b"(1.5, 1")),
        lambda path: _archive(path, _npy_file(b"|u1", b"(1,), }") + b"1", flags=1),
    ],
    ids=["one array", "damaged stream", "no array", "no header", "encrypted"],
)
def test_a_damaged_npz_file_is_said(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "a.npz")
    with pytest.raises(QvitError) as error:
        open_source(str(tmp_path / "a.npz"), 2)
    assert str(error.value) == (
        f"{tmp_path / 'a.npz'} is not a readable .npz file of plain number arrays; "
        "save with: np.savez(path, images=x, labels=y)"
    )


def test_an_npz_file_larger_than_memory_is_said(tmp_path: Path) -> None:
    _archive(tmp_path / "a.npz", _npy_file(b"|u1", b"(1000000000000000, 8, 8), }"))
    with pytest.raises(QvitError, match=r"a\.npz holds more than memory does; save fewer images in it\.$"):
        open_source(str(tmp_path / "a.npz"), 2)


def test_hugging_face_data_without_its_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(QvitError) as error:
        open_source("hf:imagenet-1k:validation", 1000)
    assert str(error.value) == (
        "hf:imagenet-1k:validation needs the package datasets; install it with: pip install datasets"
    )


class Rows(list[dict[str, object]]):
    column_names = ("img", "label")


def test_hugging_face_rows_are_images_and_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    asked: list[tuple[str, str]] = []

    def load_dataset(name: str, split: str) -> Rows:
        asked.append((name, split))
        return Rows([{"img": Image.new("L", (2, 2)), "label": label} for label in (3, 9)])

    monkeypatch.setitem(__import__("sys").modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    source = open_source("hf:some/digits", 5)
    assert asked == [("some/digits", "train")]
    assert len(source) == 2 and source.item(0)[1] == 3
    with pytest.raises(QvitError) as error:
        source.item(1)
    assert str(error.value) == "Row 1 of hf:some/digits has the label 9; labels should be 0 to 4."
