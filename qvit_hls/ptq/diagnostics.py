"""What reports show of a quantization: how values lie on their grids, and what the rows' errors are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from qvit_hls.ptq.observations import Observations
from qvit_hls.ptq.placement import Placement
from qvit_hls.ptq.rows import RowSteps

#: Shares of the samples that are below what a report shows of a value.
QUANTILES = (0.001, 0.25, 0.5, 0.75, 0.999)


@dataclass(frozen=True)
class ValueRange:
    """A value over the calibration images, and the grid that it was given.

    Attributes:
        name: of the value.
        use: kind of the grid.
        limit: what the largest code stands for.
        largest: largest magnitude that was seen.
        quantiles: of samples of the value, as QUANTILES; None where no samples are kept, of grids that cover
            what was seen.
    """

    name: str
    use: str
    limit: float
    largest: float
    quantiles: tuple[float, ...] | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        quantiles = None if self.quantiles is None else list(self.quantiles)
        return {**asdict(self), "quantiles": quantiles}


@dataclass(frozen=True)
class LayerError:
    """Expected change of the outputs by the rounding of a layer's rows: squared error times sensitivity.

    The method says what the squared error is of, the layer's output or its weights.

    Attributes:
        four_bit, eight_bit: with rows of one width.
        chosen: with the widths that were chosen.
    """

    four_bit: float
    eight_bit: float
    chosen: float

    def to_json(self) -> dict[str, float]:
        """Plain values."""
        return {f"{name}_error": value for name, value in asdict(self).items()}


def value_ranges(
    placement: Placement, seen: Observations, steps: Mapping[str, float]
) -> tuple[ValueRange, ...]:
    """Of all values with a grid.

    Args:
        placement: the grids.
        seen: by calibration.
        steps: by grid.
    """
    levels = torch.tensor(QUANTILES)
    found = []
    for grid in placement.grids:
        for name in grid.values:
            samples = seen.samples.get(name)
            quantiles = None if samples is None else tuple(samples.quantile(levels).tolist())
            limit, largest = steps[grid.name] * grid.qmax, float(seen.largest[name])
            found.append(ValueRange(name, grid.kind.value, limit, largest, quantiles))
    return tuple(found)


def layer_errors(layers: Mapping[str, RowSteps], widths: Mapping[str, Tensor]) -> dict[str, LayerError]:
    """Of all linear layers, before weights are corrected.

    Args:
        layers: errors of their rows.
        widths: 4 or 8 of each row, uint8 ``[R]``.
    """
    return {
        name: LayerError(
            float(rows.errors[4].sum()),
            float(rows.errors[8].sum()),
            float(torch.where(widths[name] == 8, rows.errors[8], rows.errors[4]).sum()),
        )
        for name, rows in layers.items()
    }
