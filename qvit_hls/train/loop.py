"""Quantization-aware training in memory: float training, row allocation, calibration, then fine-tuning.

The integer accelerator's grids are in the model (``nets/vit.py``); the loop only switches them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from qvit_hls.nets.vit import QuantVisionTransformer
from qvit_hls.quant.modules import ActivationQuantizer, RowQuantized

#: Changes a batch of images at random, for training.
Augmentation = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Phase:
    """Settings of one phase of training."""

    epochs: int
    learning_rate: float
    weight_decay: float = 0.05
    warmup_epochs: float = 1.0
    batch_size: int = 64
    label_smoothing: float = 0.1
    #: Gradients are scaled down to at most this norm.
    max_gradient_norm: float = 1.0


@dataclass(frozen=True)
class Dataset:
    """Labelled images: float ``[n, channels, height, width]`` and int64 ``[n]``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int = 256) -> Tensor:
    """The class of each image, int64 ``[n]``, with the model in evaluation mode."""
    was_training = model.training
    model.eval()
    try:
        return torch.cat([model(batch).argmax(dim=1) for batch in images.split(batch_size)])
    finally:
        model.train(was_training)


def accuracy(model: nn.Module, data: Dataset) -> float:
    """Top-1 accuracy, 0 to 1."""
    return float((predict(model, data.images) == data.labels).float().mean())


def train_float(
    model: QuantVisionTransformer, data: Dataset, phase: Phase, seed: int, augment: Augmentation | None = None
) -> None:
    """Train ``model`` in place without quantization; quantization is off afterwards."""
    model.set_quantization(False)
    _fit(model, data, phase, seed, augment, "float")


def train_quantized(
    model: QuantVisionTransformer,
    data: Dataset,
    phase: Phase,
    seed: int,
    augment: Augmentation | None = None,
    calibration_images: int = 256,
) -> None:
    """Allocate rows, calibrate on the first images, and fine-tune in place with quantization on.

    The choice of 8-bit rows is made once, from the weights as they are; their steps are then trained.
    """
    model.allocate_rows()
    model.calibrate(data.images[:calibration_images])
    _fit(model, data, phase, seed, augment, "quantized")


def _fit(
    model: QuantVisionTransformer,
    data: Dataset,
    phase: Phase,
    seed: int,
    augment: Augmentation | None,
    title: str,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(parameter_groups(model, phase))
    batches = math.ceil(len(data) / phase.batch_size)
    schedule = LambdaLR(
        optimizer, warmup_cosine(round(phase.warmup_epochs * batches), phase.epochs * batches)
    )
    model.train()
    with _progress() as progress:
        task = progress.add_task(title, total=phase.epochs, loss=math.nan)
        for _ in range(phase.epochs):
            total = 0.0
            for chosen in torch.randperm(len(data), generator=generator).split(phase.batch_size):
                images, labels = data.images[chosen], data.labels[chosen]
                if augment is not None:
                    images = augment(images, generator)
                loss = functional.cross_entropy(model(images), labels, label_smoothing=phase.label_smoothing)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), phase.max_gradient_norm)
                optimizer.step()
                schedule.step()
                model.constrain()
                total += loss.item() * len(labels)
            progress.update(task, advance=1, loss=total / len(data))
    model.eval()


def warmup_cosine(warmup: int, steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at a step: linear to 1 over ``warmup`` steps, then a cosine to 0."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    return factor


def parameter_groups(model: nn.Module, phase: Phase) -> list[dict[str, object]]:
    """Parameters with their learning rates and weight decays, for an Adam-like optimizer.

    Weight matrices decay; biases, embeddings and factors do not. Each quantization step is a group of its
    own: Adam moves every value by about the learning rate, whatever its gradient, so a step needs a rate
    in proportion to its size.
    """
    steps: list[nn.Parameter] = []
    decaying: list[nn.Parameter] = []
    for module in model.modules():
        if isinstance(module, ActivationQuantizer) and isinstance(module.scale, nn.Parameter):
            steps.append(module.scale)
        elif isinstance(module, RowQuantized):
            steps.append(module.row_scale)
            decaying.append(module.weight)
    grouped = {id(p) for p in steps + decaying}
    others = [p for p in model.parameters() if id(p) not in grouped]
    rate = phase.learning_rate
    return [
        {"params": decaying, "lr": rate, "weight_decay": phase.weight_decay},
        {"params": others, "lr": rate, "weight_decay": 0.0},
        *({"params": [p], "lr": rate * float(p.detach().mean()), "weight_decay": 0.0} for p in steps),
    ]


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        yield progress
