"""What is trained, and by which losses: a network of its own, or a supernet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from qvit_hls.nets.config import VitConfig
from qvit_hls.nets.subnet import Subnet
from qvit_hls.nets.supernet import Supernet
from qvit_hls.nets.vit import QuantVisionTransformer
from qvit_hls.train.randomness import generator
from qvit_hls.train.settings import TrainingConfig

#: Where networks compute: a context of lower precision, or one that changes nothing.
Autocast = Callable[[], AbstractContextManager[object]]
#: Images to logits [batch, classes], without gradients.
Teacher = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Loss:
    """One of the losses of a step; their weights add up to 1.

    Attributes:
        name: in the run's metrics.
        value: 0-d, float32.
        weight: of this loss in the step's.
    """

    name: str
    value: Tensor
    weight: float


class Objective(Protocol):
    """Something with parameters, and losses that train them."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    @property
    def input(self) -> VitConfig:
        """What the model takes."""

    def losses(self, images: Tensor, targets: Tensor, step: int, autocast: Autocast) -> Iterator[Loss]:
        """The losses of a step, one at a time: each can be differentiated before the next is computed.

        Args:
            images: float ``[batch, channels, image_size, image_size]``.
            targets: probabilities ``[batch, classes]``.
            step: of the run, which random choices depend on.
            autocast: context for the networks.
        """

    def networks(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Functions from images to logits, whose accuracies describe the model."""

    def set_quantization(self, enabled: bool) -> None:
        """Quantize, or compute in float."""

    def calibrate(self, images: Tensor) -> None:
        """Begin quantization: choose rows and steps."""

    def constrain(self) -> None:
        """Bring steps back into the range that the integer formats allow."""

    def order_rows(self) -> None:
        """Find anew which rows 4 bits hurt most, where networks choose theirs by that."""


class NetworkObjective:
    """Training of one network.

    Args:
        model: trained in place.
        config: settings of the run.
        teacher: another network to learn from.
        calibrated: whether the model has its rows and steps already, as an extracted or a loaded one has;
            they are then kept, unless the run begins in float.
    """

    def __init__(
        self,
        model: QuantVisionTransformer,
        config: TrainingConfig,
        teacher: Teacher | None = None,
        *,
        calibrated: bool = False,
    ) -> None:
        self.model = model
        self.input = model.config
        self._config = config
        self._teacher = teacher
        self._keeps_steps = calibrated and config.float_share == 0

    def losses(self, images: Tensor, targets: Tensor, step: int, autocast: Autocast) -> Iterator[Loss]:
        """One loss, of the network."""
        with autocast():
            logits = self.model(images)
        yield Loss("network", hard_loss(logits, targets, images, self._teacher, self._config), 1.0)

    def networks(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """The network."""
        return {"network": self.model}

    def set_quantization(self, enabled: bool) -> None:
        """Quantize, or compute in float."""
        self.model.set_quantization(enabled)

    def calibrate(self, images: Tensor) -> None:
        """Choose the 8-bit rows from the weights as they are, and start every step."""
        if self._keeps_steps:
            self.model.set_quantization(True)
            return
        self.model.allocate_rows()
        self.model.calibrate(images)

    def constrain(self) -> None:
        """Bring steps back into the range that the integer formats allow."""
        self.model.constrain()

    def order_rows(self) -> None:
        """Nothing: a network's rows are chosen once, when it is calibrated."""


class SupernetObjective:
    """Training of all networks of a space: the sandwich rule with in-place distillation (BigNAS,
    arXiv 2003.11142).

    Args:
        supernet: trained in place.
        config: settings of the run.
        teacher: another network for the largest to learn from; without the sandwich, for all.
    """

    def __init__(self, supernet: Supernet, config: TrainingConfig, teacher: Teacher | None = None) -> None:
        self.model = supernet
        self.input = supernet.latent.config
        self._config = config
        self._teacher = teacher

    def subnets(self, step: int) -> list[tuple[str, Subnet]]:
        """The networks that a step trains, by name, the largest first."""
        space, config = self.model.space, self._config
        drawn = generator(config.seed, "subnets", step)
        chosen = [("largest", space.largest()), ("smallest", space.smallest())] if config.sandwich else []
        return chosen + [(f"random_{i}", space.sample(drawn)) for i in range(config.random_subnets)]

    def losses(self, images: Tensor, targets: Tensor, step: int, autocast: Autocast) -> Iterator[Loss]:
        """A loss for each network of the step; the others learn from the largest, where that is trained."""
        subnets = self.subnets(step)
        taught: Tensor | None = None
        for name, subnet in subnets:
            with autocast():
                logits = self.model(images, subnet)
            if taught is None:
                loss = hard_loss(logits, targets, images, self._teacher, self._config)
            else:
                share = self._config.distillation
                loss = share * soft_cross_entropy(logits, taught)
                if share < 1:
                    loss = loss + (1 - share) * soft_cross_entropy(logits, targets)
            if name == "largest":
                taught = logits.detach().float().softmax(dim=1)
            yield Loss(name, loss, 1 / len(subnets))

    def networks(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """The largest and the smallest network."""
        space = self.model.space
        ends = {"largest": space.largest(), "smallest": space.smallest()}
        return {name: partial(self.model, subnet=subnet) for name, subnet in ends.items()}

    def set_quantization(self, enabled: bool) -> None:
        """Quantize, or compute in float."""
        self.model.set_quantization(enabled)

    def calibrate(self, images: Tensor) -> None:
        """Start every step, and order the rows."""
        self.model.calibrate(images)

    def constrain(self) -> None:
        """Bring steps back into the range that the integer formats allow."""
        self.model.constrain()

    def order_rows(self) -> None:
        """Find anew which rows 4 bits hurt most."""
        self.model.order_rows()


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy, 0-d float32, of ``logits [batch, classes]`` and probabilities of the same shape."""
    return -(targets * functional.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()


def hard_loss(
    logits: Tensor, targets: Tensor, images: Tensor, teacher: Teacher | None, config: TrainingConfig
) -> Tensor:
    """The loss against the data set's labels and, where there is one, the teacher's output (0-d float32)."""
    loss = soft_cross_entropy(logits, targets)
    if teacher is None:
        return loss
    temperature = config.teacher_temperature
    with torch.no_grad():
        taught = (teacher(images).float() / temperature).softmax(dim=1)
    # The factor keeps gradients of the same size at every temperature (arXiv 1503.02531).
    distilled = soft_cross_entropy(logits.float() / temperature, taught) * temperature**2
    return (1 - config.teacher_share) * loss + config.teacher_share * distilled
