"""Batches: the same whatever the number of processes, and wherever a run begins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from qvit_hls.errors import QvitError
from qvit_hls.train.loader import Part, calibration_batch, training_batches, validation_batches
from qvit_hls.train.mixing import mix, soft_targets
from qvit_hls.train.pictures import Preparation
from qvit_hls.train.randomness import Order
from qvit_hls.train.settings import AUGMENTATIONS, Augmentation, Crop, Mixing, TrainingConfig
from qvit_hls.train.sources import ArraySource

PREPARATION = Preparation(image_size=8, channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def source(count: int = 21, size: int = 12) -> ArraySource:
    drawn = np.random.default_rng(0)
    images = drawn.integers(0, 256, (count, size, size, 3)).astype(np.uint8)
    return ArraySource(images, np.arange(count), count, "test")


def config(**changes: object) -> TrainingConfig:
    return TrainingConfig.model_validate({"steps": 9, "batch_size": 8, "augmentation": "deit", **changes})


def whole(settings: TrainingConfig, steps: range, parts: int) -> torch.Tensor:
    """All images of all steps, those of several processes put together again."""
    runs = [
        list(training_batches(source(), PREPARATION, settings, steps, Part(i, parts))) for i in range(parts)
    ]
    return torch.cat([batch.images for step in zip(*runs, strict=True) for batch in step])


def test_processes_and_parts_share_the_same_batches() -> None:
    alone = whole(config(), range(9), 1)
    assert torch.equal(alone, whole(config(), range(9), 4))
    assert torch.equal(alone, whole(config(accumulation=2), range(9), 2))


def test_a_run_goes_on_anywhere_with_the_same_images() -> None:
    assert torch.equal(whole(config(), range(9), 1)[5 * 8 :], whole(config(), range(5, 9), 1))


def test_workers_change_nothing() -> None:
    assert torch.equal(whole(config(), range(2), 1), whole(config(loader_workers=1), range(2), 1))


def test_every_sample_comes_once_in_an_epoch_in_another_order_each_time() -> None:
    order = Order(3, 10)
    epochs = [[order.sample(e * 10 + i) for i in range(10)] for e in range(3)]
    for e, epoch in enumerate(epochs):
        assert {epoch_number for epoch_number, _ in epoch} == {e}
        assert sorted(index for _, index in epoch) == list(range(10))
    assert epochs[0] != [(0, index) for _, index in epochs[1]]
    assert order.sample(4) == epochs[0][4]


def test_the_same_image_is_augmented_differently_in_the_next_epoch() -> None:
    settings = config(steps=2, batch_size=21, augmentation={"crop": {}})
    first, second = training_batches(source(), PREPARATION, settings, range(2), Part())
    i, j = int((first.labels == 7).nonzero()), int((second.labels == 7).nonzero())
    assert not torch.equal(first.images[i], second.images[j])


def test_validation_sees_every_image_once() -> None:
    seen = [
        label
        for i in range(2)
        for batch in validation_batches(source(), PREPARATION, 4, 0, Part(i, 2))
        for label in batch.labels.tolist()
    ]
    assert sorted(seen) == list(range(21))


def test_calibration_images_are_as_in_validation() -> None:
    batch = calibration_batch(source(), PREPARATION, config(calibration_images=5))
    assert len(set(batch.labels.tolist())) == 5
    for image, label in zip(batch.images, batch.labels.tolist(), strict=True):
        assert torch.equal(image, PREPARATION.validation(source().item(label)[0]))


def test_pixels_are_normalised_by_channel() -> None:
    pixels = np.full((8, 8, 3), (255, 0, 51), np.uint8)
    image = PREPARATION.validation(Image.fromarray(pixels))
    expected = torch.tensor([(1 - 0.5) / 0.2, -0.4 / 0.3, (0.2 - 0.3) / 0.4])
    torch.testing.assert_close(image, expected.reshape(3, 1, 1).expand(3, 8, 8))


def test_validation_takes_the_centre_and_crops_stay_inside() -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[4:36, 24:56] = 255
    inside = Preparation(8, 3, (0.0,) * 3, (1.0,) * 3).validation(Image.fromarray(pixels))
    assert float(inside[:, 1:-1, 1:-1].min()) > 0.95
    drawn = np.random.default_rng(1)
    crops = Augmentation(crop=Crop(area=(0.01, 1), ratio=(0.1, 10)))
    for _ in range(30):
        got = PREPARATION.training([Image.fromarray(pixels)], crops, [drawn])
        assert got.shape == (1, 3, 8, 8)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(QvitError) as error:
        next(training_batches(source(), PREPARATION, config(batch_size=12), range(1), Part(0, 4)))
    assert str(error.value) == (
        "batch_size is 12, for 4 processes with 1 parts each, and images are mixed in groups of 2; "
        "it should be a multiple of 8."
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_problems_with_images_reach_the_user(workers: int) -> None:
    arrays = ArraySource(np.zeros((4, 3, 8, 8)), np.zeros(4, int), 2, "test")
    with pytest.raises(QvitError) as error:
        next(training_batches(arrays, PREPARATION, config(loader_workers=workers), range(1), Part()))
    assert error.value.problems == tuple(
        f"augmentation.{name} works on uint8 pixels; the images are float arrays. Leave it out, or give the "
        "images as uint8."
        for name in ("crop", "rand_augment")
    )
    with pytest.raises(QvitError) as error:
        Preparation(9, 3, (0.5,) * 3, (1.0,) * 3).validation(np.zeros((3, 8, 8), np.float32))
    assert str(error.value) == "An image has the shape [3, 8, 8]; the network takes [3, 9, 9]."


def test_smoothed_targets() -> None:
    assert soft_targets(torch.tensor([2]), 4, 0.2)[0].tolist() == pytest.approx([0.05, 0.05, 0.85, 0.05])


@pytest.mark.parametrize("mixing", [Mixing(cutmix=0), Mixing(mixup=0)])
def test_neighbours_are_mixed_and_targets_have_their_shares(mixing: Mixing) -> None:
    images = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 1, 16, 16).contiguous()
    targets = torch.eye(4)
    for seed in range(20):
        mixed, shares = mix(images, targets, mixing, np.random.default_rng(seed))
        # Image i has the value i everywhere, so the mean tells how much of which partner is in it.
        torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), shares @ torch.arange(4.0))
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))
        assert float(shares[0, 2:].sum() + shares[3, :2].sum()) == 0
        assert torch.equal(mix(images[2:], targets[2:], mixing, np.random.default_rng(seed))[0], mixed[2:])


def test_deit_mixes_half_of_the_batches_by_cutmix() -> None:
    images, mixing = torch.rand(2, 1, 16, 16), AUGMENTATIONS["deit"].mixing
    assert mixing is not None
    kept = [
        float((mix(images, torch.eye(2), mixing, np.random.default_rng(seed))[0] == images).float().mean())
        for seed in range(200)
    ]
    # Cutmix keeps pixels as they are, mixup changes every one.
    assert 0.35 < sum(share > 0 for share in kept) / 200 < 0.65
