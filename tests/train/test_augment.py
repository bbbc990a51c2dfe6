"""Augmentation keeps shapes, moves what it should, and depends on its generator alone."""

from __future__ import annotations

import torch

from qvit_hls.train.augment import random_affine


def images() -> torch.Tensor:
    return torch.rand(6, 2, 8, 12, generator=torch.Generator().manual_seed(0))


def test_no_amount_is_no_change() -> None:
    got = random_affine(images(), torch.Generator(), degrees=0, shift=0, zoom=0, fill=-1)
    torch.testing.assert_close(got, images())


def test_the_same_generator_gives_the_same_images_and_each_image_its_own_change() -> None:
    same = images()[:1].expand(6, -1, -1, -1).contiguous()
    first, second = (
        random_affine(same, torch.Generator().manual_seed(1), degrees=10, shift=1, zoom=0.1, fill=0)
        for _ in range(2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_the_outside_has_the_fill_value() -> None:
    ones = torch.full((4, 1, 8, 8), 5.0)
    got = random_affine(ones, torch.Generator().manual_seed(3), degrees=0, shift=6, zoom=0, fill=-2.0)
    assert float(got.min()) == -2.0
    assert float(got.max()) <= 5.0 + 1e-5


def test_rotation_keeps_the_centre_of_an_oblong_image() -> None:
    spot = torch.zeros(8, 1, 9, 21)
    spot[:, :, 4, 10] = 1
    got = random_affine(spot, torch.Generator().manual_seed(3), degrees=90, shift=0, zoom=0, fill=0)
    torch.testing.assert_close(got[:, 0, 4, 10], torch.ones(8))
    # A quarter of the way along the long side, rotation moves a spot on a circle in pixels.
    spot = torch.zeros(1, 1, 9, 21)
    spot[0, 0, 4, 13] = 1
    got = random_affine(spot, torch.Generator().manual_seed(5), degrees=90, shift=0, zoom=0, fill=0)[0, 0]
    y, x = torch.meshgrid(torch.arange(9) - 4.0, torch.arange(21) - 10.0, indexing="ij")
    weight = got / got.sum()
    radius = torch.hypot((weight * y).sum(), (weight * x).sum())
    assert abs(float(radius) - 3) < 0.25
