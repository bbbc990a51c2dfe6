"""Top-1 accuracy of networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qvit_hls.train.loader import validation_batches
from qvit_hls.train.pictures import Preparation
from qvit_hls.train.processes import Processes
from qvit_hls.train.sources import Source

_BATCH = 256


@dataclass(frozen=True)
class Accuracy:
    """How many images a network is right about."""

    correct: int
    images: int

    @property
    def share(self) -> float:
        """Top-1 accuracy, 0 to 1."""
        return self.correct / self.images


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int = _BATCH) -> Tensor:
    """The class of each image, int64 ``[n]``, with the model in evaluation mode."""
    was_training = model.training
    model.eval()
    try:
        return torch.cat([model(batch).argmax(dim=1) for batch in images.split(batch_size)])
    finally:
        model.train(was_training)


@torch.no_grad()
def accuracies(
    networks: Mapping[str, Callable[[Tensor], Tensor]],
    source: Source,
    preparation: Preparation,
    processes: Processes,
    *,
    workers: int = 0,
) -> dict[str, Accuracy]:
    """Accuracy of several networks on the same images, which the processes share.

    Args:
        networks: functions from images ``[batch, channels, image_size, image_size]`` to logits.
        source: labelled images.
        preparation: from pictures to inputs.
        processes: each of which takes a part of the images.
        workers: processes that load images, for each process.

    Raises:
        QvitError: an image cannot be read.
    """
    device = processes.device
    correct = torch.zeros(len(networks), dtype=torch.int64, device=device)
    for batch in validation_batches(source, preparation, _BATCH, workers, processes.part):
        on_device = batch.to(device)
        for i, network in enumerate(networks.values()):
            correct[i] += (network(on_device.images).argmax(dim=1) == on_device.labels).sum()
    total = processes.total(correct).tolist()
    return {name: Accuracy(right, len(source)) for name, right in zip(networks, total, strict=True)}
