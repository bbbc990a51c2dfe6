"""The optimizer: which parameters learn how fast, and the learning rate over the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from qvit_hls.nets.supernet import Supernet
from qvit_hls.quant.modules import ActivationQuantizer, RowQuantized
from qvit_hls.train.settings import Phase

#: Quantization steps whose sizes differ by less than this factor learn at one rate, so that hundreds of them
#: are a few groups of the optimizer.
_SIZE_CLASS = 2**0.25


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with one learning rate.

    Attributes:
        names: of the parameters.
        rate: factor of the phase's learning rate.
        decays: whether weight decay applies.
    """

    names: tuple[str, ...]
    rate: float
    decays: bool

    def to_json(self) -> dict[str, Any]:
        """Plain data; ``ParameterGroup(**data)`` reads it, with ``names`` a tuple."""
        return {**asdict(self), "names": list(self.names)}


def parameter_groups(model: nn.Module) -> list[ParameterGroup]:
    """All parameters of ``model``, each in one group.

    Weight matrices decay; biases, embeddings and factors do not. Adam moves every value by about the learning
    rate, whatever its gradient, so a quantization step has a rate in proportion to its size.
    """
    steps: list[str] = []
    decaying: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, ActivationQuantizer) and isinstance(module.scale, nn.Parameter):
            steps.append(f"{name}.scale")
        elif isinstance(module, RowQuantized):
            steps.append(f"{name}.row_scale")
            decaying.append(f"{name}.weight")
        elif isinstance(module, Supernet):
            steps += [f"wide_row_scale.{layer}" for layer in module.wide_row_scale]
    parameters = dict(model.named_parameters())
    grouped = {*steps, *decaying}
    by_size: dict[int, list[str]] = {}
    for name in steps:
        size = float(parameters[name].detach().mean())
        by_size.setdefault(round(math.log(size, _SIZE_CLASS)), []).append(name)
    return [
        ParameterGroup(tuple(decaying), 1.0, True),
        ParameterGroup(tuple(name for name in parameters if name not in grouped), 1.0, False),
        *(
            ParameterGroup(tuple(names), _SIZE_CLASS**exponent, False)
            for exponent, names in sorted(by_size.items())
        ),
    ]


def adamw(model: nn.Module, groups: Sequence[ParameterGroup], weight_decay: float) -> torch.optim.AdamW:
    """An AdamW over ``groups``; its learning rates are set before each step by :func:`set_learning_rate`."""
    parameters = dict(model.named_parameters())
    return torch.optim.AdamW(
        [
            {
                "params": [parameters[name] for name in group.names],
                "weight_decay": weight_decay if group.decays else 0.0,
                "rate": group.rate,
            }
            for group in groups
        ]
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its part of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]


def learning_rate(phase: Phase, step: int) -> float:
    """The learning rate at a step of the run: linear warm-up, then a cosine to 0 at the phase's end."""
    done = step - phase.start
    if done < phase.warmup_steps:
        return phase.learning_rate * (done + 1) / phase.warmup_steps
    share = (done - phase.warmup_steps) / (phase.end - phase.start - phase.warmup_steps)
    return phase.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
