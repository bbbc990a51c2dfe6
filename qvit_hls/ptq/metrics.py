"""How near a layer's output is to the float one, for the search of steps: sums over channels, and a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Metric(Protocol):
    """A measure of a rounded output that is made of sums over its channels."""

    @property
    def needs_importance(self) -> bool:
        """Whether ``terms`` wants the importance of the elements."""

    def terms(self, output: Tensor, wanted: Tensor, importance: Tensor | None) -> np.ndarray:
        """What each channel contributes, float64 ``[terms, R]``.

        Args:
            output: with rounded operands, float32 ``[n, R]``.
            wanted: in float, ``[n, R]``.
            importance: squared derivative of the network's outputs by each element, ``[n, R]``.
        """

    def score(self, totals: np.ndarray) -> np.ndarray:
        """From terms that are summed over channels, ``[terms, ...]``, the score ``[...]``: more is nearer."""


@dataclass(frozen=True)
class CosineSimilarity:
    """EasyQuant (arXiv 2006.16669, eq. 3): the cosine of the angle between both outputs."""

    @property
    def needs_importance(self) -> bool:
        """As ``Metric``."""
        return False

    def terms(self, output: Tensor, wanted: Tensor, importance: Tensor | None) -> np.ndarray:
        """As ``Metric``: product of both outputs, and their powers."""
        pairs = (output, wanted), (output, output), (wanted, wanted)
        return torch.stack([_channel_sums(*pair) for pair in pairs]).numpy()

    def score(self, totals: np.ndarray) -> np.ndarray:
        """As ``Metric``."""
        product, power, wanted = totals
        return np.asarray(product / np.sqrt(np.maximum(power * wanted, np.finfo(float).tiny)))


@dataclass(frozen=True)
class HessianGuided:
    """PTQ4ViT (arXiv 2111.12293, eq. 7): squared error, weighted with each element's squared gradient."""

    @property
    def needs_importance(self) -> bool:
        """As ``Metric``."""
        return True

    def terms(self, output: Tensor, wanted: Tensor, importance: Tensor | None) -> np.ndarray:
        """As ``Metric``: the weighted squared error."""
        assert importance is not None
        error = output - wanted
        return _channel_sums(error * importance, error)[None].numpy()

    def score(self, totals: np.ndarray) -> np.ndarray:
        """As ``Metric``."""
        return np.asarray(-totals[0])


#: Rows that are summed in float32, before their sums are added in float64.
_BLOCK = 128


def _channel_sums(a: Tensor, b: Tensor) -> Tensor:
    """``(a * b).sum(0)``, float64 ``[R]``: short sums in float32, and those in float64."""
    products = a * b
    return torch.stack([part.sum(0) for part in products.split(_BLOCK)]).double().sum(0)
