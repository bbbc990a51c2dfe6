"""The rendered glyphs: the same for the same seed, balanced, legible, and different for different splits."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "glyphs"


@pytest.fixture(scope="module")
def glyphs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("glyphs", FOLDER / "glyphs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["glyphs"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_picture_depends_on_seed_split_and_index_alone(glyphs: ModuleType) -> None:
    hard = glyphs.Distortion()
    first, again = glyphs.picture(5, "train", 0, hard), glyphs.picture(5, "train", 0, hard)
    assert np.array_equal(first[0], again[0]) and first[1] == again[1] == 5
    for other in ((6, "train", 0), (5, "test", 0), (5, "train", 1)):
        assert not np.array_equal(first[0], glyphs.picture(*other, hard)[0])


def test_pictures_are_grey_bytes_and_classes_take_turns(glyphs: ModuleType) -> None:
    classes = len(glyphs.CHARACTERS)
    assert classes == len(set(glyphs.CHARACTERS)) >= 60
    pictures = [glyphs.picture(i, "validation", 3, glyphs.Distortion()) for i in range(classes)]
    assert [label for _, label in pictures] == list(range(classes))
    assert all(image.shape == (64, 64) and image.dtype == np.uint8 for image, _ in pictures)
    assert min(image.std() for image, _ in pictures) > 5


def test_every_font_has_every_character(glyphs: ModuleType) -> None:
    """A character that a font lacks is drawn as the same box as any other it lacks."""
    for font in glyphs._FONTS:
        drawn = [np.asarray(glyphs._drawn(text, font)[0]).tobytes() for text in glyphs.CHARACTERS]
        absent = np.asarray(glyphs._drawn("\U0010fffd", font)[0]).tobytes()
        assert len(set(drawn)) == len(drawn)
        assert absent not in drawn


def test_pictures_of_a_class_look_alike(glyphs: ModuleType) -> None:
    """Little distortion: nearest to the own class's mean twenty times as often as by chance."""
    easy = glyphs.Distortion(
        degrees=3, shear=0.02, stretch=0.02, size=(40, 44), shift=0.5, contrast=(0.6, 0.6),
        clutter=0, blur=0.1, noise=0.01,
    )  # fmt: skip
    classes = len(glyphs.CHARACTERS)
    masks, labels = [], []
    for i in range(12 * classes):
        image, label = glyphs.picture(i, "train", 0, easy)
        centred = image.astype(float) - np.median(image)
        masks.append(np.abs(centred).ravel() / np.linalg.norm(centred))
        labels.append(label)
    x, y = np.array(masks), np.array(labels)
    means = np.stack([x[: 8 * classes][y[: 8 * classes] == c].mean(axis=0) for c in range(classes)])
    guesses = (x[8 * classes :] @ means.T).argmax(axis=1)
    assert (guesses == y[8 * classes :]).mean() > 20 / classes
