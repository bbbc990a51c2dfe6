"""Batches of a run: each process's share of every step, the same whatever the number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from qvit_hls.errors import QvitError
from qvit_hls.train.mixing import MIXING_GROUP
from qvit_hls.train.pictures import Preparation
from qvit_hls.train.randomness import Order, generator
from qvit_hls.train.settings import TrainingConfig
from qvit_hls.train.sources import Source


@dataclass(frozen=True)
class Batch:
    """Labelled images: float ``[batch, channels, height, width]`` and int64 ``[batch]``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.images.to(device), self.labels.to(device))

    def pin_memory(self) -> Batch:
        """The same in memory that copies to a GPU read directly; torch's loader calls this."""
        return Batch(self.images.pin_memory(), self.labels.pin_memory())


@dataclass(frozen=True)
class Part:
    """Which part of every batch a process has: ``index`` of ``count`` equal ones."""

    index: int = 0
    count: int = 1


def training_batches(
    source: Source, preparation: Preparation, config: TrainingConfig, steps: range, part: Part
) -> Iterator[Batch]:
    """For every step ``config.accumulation`` batches, this process's share of the step's images.

    Step s of the run has positions ``s * batch_size`` onwards of the order in which the run sees its samples.

    Raises:
        QvitError: the batch does not divide into equal parts, or an image cannot be read.
    """
    size = images_at_once(config, part.count)
    positions = [
        range(start, start + size)
        for step in steps
        for share in range(config.accumulation)
        for start in (step * config.batch_size + (share * part.count + part.index) * size,)
    ]
    samples = _Samples(source, preparation, config)
    yield from _loaded(samples, positions, config.loader_workers)


def images_at_once(config: TrainingConfig, processes: int) -> int:
    """Images in each part that a process cuts its share of a batch into.

    Raises:
        QvitError: the batch does not divide into equal parts.
    """
    shares = processes * config.accumulation
    group = MIXING_GROUP if config.augmentation.mixing else 1
    if config.batch_size % (shares * group):
        mixed = f", and images are mixed in groups of {group}" if group > 1 else ""
        raise QvitError(
            f"batch_size is {config.batch_size}, for {processes} processes with {config.accumulation} parts "
            f"each{mixed}; it should be a multiple of {shares * group}."
        )
    return config.batch_size // shares


def validation_batches(
    source: Source, preparation: Preparation, batch_size: int, workers: int, part: Part
) -> Iterator[Batch]:
    """This process's share of all images, each once, in batches of at most ``batch_size``.

    Raises:
        QvitError: an image cannot be read.
    """
    mine = range(len(source))[part.index :: part.count]
    positions = [mine[i : i + batch_size] for i in range(0, len(mine), batch_size)]
    yield from _loaded(_Samples(source, preparation, None), positions, workers)


def calibration_batch(source: Source, preparation: Preparation, config: TrainingConfig) -> Batch:
    """Images to calibrate on, not augmented; the same in all processes.

    Raises:
        QvitError: an image cannot be read.
    """
    order = generator(config.seed, "calibration").permutation(len(source))
    chosen = order[: config.calibration_images].tolist()
    return next(_loaded(_Samples(source, preparation, None), [chosen], 0))


class _Samples(Dataset[Batch]):
    """Whole batches by their positions: in the run's order and augmented, or as they are without a config."""

    def __init__(self, source: Source, preparation: Preparation, config: TrainingConfig | None) -> None:
        self._source = source
        self._preparation = preparation
        self._config = config
        self._order = None if config is None else Order(config.seed, len(source))

    def __getitems__(self, positions: Sequence[int]) -> Batch | tuple[str, ...]:
        # Problems are returned: torch would wrap an exception of a worker in its traceback.
        try:
            return self._batch(positions)
        except QvitError as error:
            return error.problems

    def _batch(self, positions: Sequence[int]) -> Batch:
        if self._config is None or self._order is None:
            items = [self._source.item(i) for i in positions]
            images = torch.stack([self._preparation.validation(picture) for picture, _ in items])
        else:
            places = [self._order.sample(position) for position in positions]
            items = [self._source.item(index) for _, index in places]
            generators = [generator(self._config.seed, "augment", *place) for place in places]
            images = self._preparation.training(
                [picture for picture, _ in items], self._config.augmentation, generators
            )
        return Batch(images, torch.from_numpy(np.array([label for _, label in items], np.int64)))


def _loaded(samples: _Samples, positions: Sequence[Sequence[int]], workers: int) -> Iterator[Batch]:
    loader = DataLoader(
        samples,
        batch_sampler=positions,  # type: ignore[arg-type]
        collate_fn=_as_it_is,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        # Nothing is drawn from it; without it, torch's global generator would move.
        generator=torch.Generator(),
    )
    for batch in loader:
        if not isinstance(batch, Batch):
            raise QvitError(batch)
        yield batch


def _as_it_is(batch: Any) -> Any:
    return batch
