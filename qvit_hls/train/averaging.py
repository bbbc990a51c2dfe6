"""The moving average of a model's parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ParameterAverage:
    """An exponential moving average of all parameters of a model; buffers are the model's own.

    Args:
        model: the average starts at its parameters.
        decay: share of the average that stays at each update; the first updates keep less.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self.updates = 0
        self._parameters = dict(model.named_parameters())
        self.values = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the parameters as they are."""
        self.updates += 1
        # While young, as if the average were that of all steps so far, or nearly.
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(
            list(self.values.values()), [p.detach() for p in self._parameters.values()], 1 - decay
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged parameters inside this context, and its own again afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def adopt(self) -> None:
        """The parameters become the average, for good."""
        for name, parameter in self._parameters.items():
            parameter.copy_(self.values[name])

    def restore(self, values: dict[str, Tensor], updates: int) -> None:
        """Go on from an earlier average of the same model."""
        for name, value in self.values.items():
            value.copy_(values[name])
        self.updates = updates

    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            parameter.data, self.values[name] = self.values[name], parameter.data
