"""What calibration has seen: ranges, samples and second moments of values, and how outputs depend on rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from qvit_hls.errors import QvitError
from qvit_hls.ptq.placement import COVERING, Grid, Placement


@dataclass(eq=False)
class Observations:
    """Sums over the calibration images seen so far. All tensors are float32 and on the CPU.

    Attributes:
        images: how many images have been seen.
        largest: by value with a grid, the largest magnitude, 0-d.
        samples: by value whose grid does not simply cover the range, some of its elements ``[n]``, evenly
            spread over images, tokens and channels.
        moments: by input of a linear layer, the sum of ``x x^T`` over tokens and images, ``[K, K]``.
        sums: by input of a linear layer, the sum of ``x``, ``[K]``.
        tokens: by input of a linear layer, how many ``x`` there were, 0-d.
        sensitivity: by linear layer, for each row the sum over tokens and images of the squared derivative
            of the network's outputs by the row's output, ``[R]``.
    """

    images: int = 0
    largest: dict[str, Tensor] = field(default_factory=dict)
    samples: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, Tensor] = field(default_factory=dict)
    sums: dict[str, Tensor] = field(default_factory=dict)
    tokens: dict[str, Tensor] = field(default_factory=dict)
    sensitivity: dict[str, Tensor] = field(default_factory=dict)

    def range_of(self, grid: Grid) -> float:
        """The largest magnitude of the values on ``grid``."""
        return max(float(self.largest[name]) for name in grid.values)

    def samples_of(self, grid: Grid) -> Tensor:
        """Elements of the values on ``grid``, ``[n]``."""
        return torch.cat([self.samples[name] for name in grid.values])

    def check_ranges(self, placement: Placement) -> None:
        """Refuse values that were zero throughout: no step follows from them.

        Raises:
            QvitError: names every such value.
        """
        flat = [grid for grid in placement.grids if self.range_of(grid) == 0]
        if flat:
            raise QvitError(
                f"{', '.join(grid.values)}: the value is 0 for all {self.images} calibration images, so its "
                "range is empty and no step follows from it; calibrate with other images, or remove what "
                "computes it."
                for grid in flat
            )


def sampled_values(placement: Placement) -> Iterable[str]:
    """The values of which samples are kept."""
    return (name for grid in placement.grids if grid.kind not in COVERING for name in grid.values)
