"""Augmentation keeps shapes, moves what it should, and depends on its draws alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from qvit_hls.train.augment import random_affine, random_erasing
from qvit_hls.train.rand_augment import OPERATIONS, rand_augment
from qvit_hls.train.settings import RandAugment


def images() -> torch.Tensor:
    return torch.rand(6, 2, 8, 12, generator=torch.Generator().manual_seed(0))


def draws(count: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_no_amount_is_no_change() -> None:
    got = random_affine(images(), draws(6), degrees=0, shift=0, zoom=0, fill=torch.tensor([-1.0, 2.0]))
    torch.testing.assert_close(got, images())


def test_each_image_has_its_own_change() -> None:
    same = images()[:1].expand(6, -1, -1, -1).contiguous()
    got = random_affine(same, draws(6), degrees=10, shift=1, zoom=0.1, fill=torch.zeros(2))
    assert not torch.equal(got[0], got[1])
    alone = random_affine(same[3:4], draws(6)[3:4], degrees=10, shift=1, zoom=0.1, fill=torch.zeros(2))
    torch.testing.assert_close(alone[0], got[3])


def test_the_outside_has_the_fill_value() -> None:
    fives = torch.full((4, 1, 8, 8), 5.0)
    got = random_affine(fives, draws(4, 3), degrees=0, shift=6, zoom=0, fill=torch.tensor([-2.0]))
    assert float(got.min()) == -2.0
    assert float(got.max()) <= 5.0 + 1e-5


def test_rotation_keeps_the_centre_of_an_oblong_image() -> None:
    spot = torch.zeros(8, 1, 9, 21)
    spot[:, :, 4, 10] = 1
    got = random_affine(spot, draws(8), degrees=90, shift=0, zoom=0, fill=torch.zeros(1))
    torch.testing.assert_close(got[:, 0, 4, 10], torch.ones(8))
    # A quarter of the way along the long side, rotation moves a spot on a circle in pixels.
    spot = torch.zeros(1, 1, 9, 21)
    spot[0, 0, 4, 13] = 1
    got = random_affine(spot, draws(1, 5), degrees=90, shift=0, zoom=0, fill=torch.zeros(1))[0, 0]
    y, x = torch.meshgrid(torch.arange(9) - 4.0, torch.arange(21) - 10.0, indexing="ij")
    weight = got / got.sum()
    radius = torch.hypot((weight * y).sum(), (weight * x).sum())
    assert abs(float(radius) - 3) < 0.25


def test_erasing_replaces_one_rectangle_by_noise() -> None:
    image = torch.full((3, 20, 24), 9.0)
    random_erasing(image, 1.0, np.random.default_rng(0))
    rows, columns = (image[0] != 9).any(dim=1).nonzero(), (image[0] != 9).any(dim=0).nonzero()
    box = image[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert 0.02 * 480 <= box[0].numel() <= 0.34 * 480
    assert bool((box != 9).all()) and abs(float(box.mean())) < 0.5
    untouched = torch.full((3, 20, 24), 9.0)
    random_erasing(untouched, 0.0, np.random.default_rng(0))
    assert bool((untouched == 9).all())


def picture(mode: str) -> Image.Image:
    shape = (16, 20, 3) if mode == "RGB" else (16, 20)
    return Image.fromarray(np.random.default_rng(0).integers(40, 200, shape).astype(np.uint8))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("strength", [0.0, 0.9, 1.0])
def test_every_operation_keeps_mode_and_size(operation: object, mode: str, strength: float) -> None:
    assert callable(operation)
    image = picture(mode)
    fill = 7 if mode == "L" else (7, 8, 9)
    changed = [operation(image, strength, sign, fill) for sign in (1, -1)]
    assert all((new.mode, new.size) == (image.mode, image.size) for new in changed)
    # On grey there is no colour to change.
    if strength and not (mode == "L" and operation.__name__ == "_colour"):
        assert any(new.tobytes() != image.tobytes() for new in changed)


def test_rand_augment_depends_on_its_generator_alone() -> None:
    settings = RandAugment(probability=1)
    results = [
        rand_augment(picture("RGB"), settings, (0, 0, 0), np.random.default_rng(seed)).tobytes()
        for seed in (1, 1, 2)
    ]
    assert results[0] == results[1] != results[2]
    never = rand_augment(picture("L"), RandAugment(probability=0), 0, np.random.default_rng(1))
    assert never.tobytes() == picture("L").tobytes()
