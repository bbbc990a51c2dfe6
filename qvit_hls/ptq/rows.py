"""Steps and widths of weight rows by the error that they cause at the layer's output.

A row's squared output error is ``d^T M d`` with d the change of its weights and M the second moments of the
layer's input; see ``Observations.moments``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from qvit_hls.errors import QvitError
from qvit_hls.quant.fake_quant import fake_quantize_rows
from qvit_hls.quant.levels import weight_qmax
from qvit_hls.quant.rows import MIN_SCALE, eight_bit_rows, row_magnitude

#: How a row's error counts: all weights alike, each by the power of its input, or the whole output error.
RowError = Literal["weight", "diagonal", "gram"]

#: Clipping points that the search tries, as (smallest share of the row's maximum, number of candidates).
_CANDIDATES = {4: (0.4, 31), 8: (0.85, 8)}


@dataclass(frozen=True, eq=False)
class RowSteps:
    """Steps of a layer's rows at 4 and at 8 bits, and the output errors that they lead to.

    Attributes:
        steps: by bits, float32 ``[R]``.
        errors: by bits, ``[R]``, weighted with the rows' sensitivities where those were given.
        columns: K, weights of a row.
    """

    steps: Mapping[int, Tensor]
    errors: Mapping[int, Tensor]
    columns: int

    @property
    def gain(self) -> Tensor:
        """What a row's error falls by with 8 bits, ``[R]``."""
        return self.errors[4] - self.errors[8]

    def chosen(self, bits: Tensor) -> Tensor:
        """The step of each row, ``[R]``, at its ``bits``, uint8 ``[R]``."""
        return torch.where(bits == 8, self.steps[8], self.steps[4])


def search_rows(
    weight: Tensor,
    moments: Tensor | None = None,
    sensitivity: Tensor | None = None,
    full_range: bool = False,
) -> RowSteps:
    """The steps with the least error, for each row at both widths.

    Args:
        weight: float ``[R, K]``.
        moments: ``[K, K]`` for the whole output error, ``[K]`` for its diagonal; None: weights count alike.
        sensitivity: ``[R]``, what a unit of each row's squared error costs; None: the same.
        full_range: do not search; the largest weight of a row is its largest code.
    """
    steps, errors = {}, {}
    for bits, (smallest, count) in _CANDIDATES.items():
        shares = [1.0] if full_range else torch.linspace(1.0, smallest, count).tolist()
        full = row_magnitude(weight) / weight_qmax(bits)
        row_bits = torch.full((len(weight),), bits, dtype=torch.uint8)
        best = full.clamp(min=MIN_SCALE)
        best_error = torch.full_like(best, math.inf)
        for share in shares:
            step = (full * share).clamp(min=MIN_SCALE)
            error = output_error(fake_quantize_rows(weight, step, row_bits) - weight, moments)
            better = error < best_error
            best, best_error = torch.where(better, step, best), torch.where(better, error, best_error)
        steps[bits] = best
        errors[bits] = best_error if sensitivity is None else best_error * sensitivity
    return RowSteps(steps, errors, weight.shape[1])


def output_error(change: Tensor, moments: Tensor | None) -> Tensor:
    """The squared output error of each row, ``[R]``, of a change ``[R, K]`` of its weights."""
    if moments is None:
        return change.square().sum(1)
    if moments.dim() == 1:
        return change.square() @ moments
    return ((change @ moments) * change).sum(1)


@dataclass(frozen=True)
class EightBitShare:
    """The same share of 8-bit rows in every layer.

    Attributes:
        share: 0 to 1.

    Raises:
        QvitError: it is outside.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise QvitError(f"The share of 8-bit rows is {self.share:g}; it should be 0 to 1.")


@dataclass(frozen=True)
class AverageBits:
    """A budget over all weights of the network, spent where it lowers the error most.

    Attributes:
        bits: of a weight on average, 4 to 8.

    Raises:
        QvitError: it is outside.
    """

    bits: float

    def __post_init__(self) -> None:
        if not 4 <= self.bits <= 8:
            raise QvitError(f"The average is {self.bits:g} bits; weights have 4 to 8.")


RowBudget = EightBitShare | AverageBits


def choose_widths(layers: Mapping[str, RowSteps], budget: RowBudget) -> dict[str, Tensor]:
    """Which rows have 8 bits: uint8 ``[R]`` of 4 or 8, by layer.

    With a share, the rows of each layer whose error falls most. With an average, rows of all layers in the
    order of what their error falls by for each additional bit, as many as the budget pays for.
    """
    widths = {name: torch.full((len(rows.gain),), 4, dtype=torch.uint8) for name, rows in layers.items()}
    if isinstance(budget, EightBitShare):
        for name, rows in layers.items():
            # Stable sorts: rows of equal gain keep their order, so that the choice is reproducible.
            order = torch.argsort(rows.gain, descending=True, stable=True)
            widths[name][order[: eight_bit_rows(len(order), budget.share)]] = 8
        return widths
    weights = sum(len(rows.gain) * rows.columns for rows in layers.values())
    left = math.floor((budget.bits - 4) * weights / 4 + 0.5)
    for name, row in _by_gain(layers):
        if layers[name].columns <= left:
            widths[name][row] = 8
            left -= layers[name].columns
    return widths


def _by_gain(layers: Mapping[str, RowSteps]) -> Iterator[tuple[str, int]]:
    """All rows, first those whose error falls most for each weight that is widened."""
    names = [name for name, rows in layers.items() for _ in range(len(rows.gain))]
    numbers = [row for rows in layers.values() for row in range(len(rows.gain))]
    gains = torch.cat([rows.gain / rows.columns for rows in layers.values()])
    for i in torch.argsort(gains, descending=True, stable=True).tolist():
        yield names[i], numbers[i]


def average_bits(layers: Mapping[str, Tensor], columns: Mapping[str, int]) -> float:
    """Bits of a weight on average, from the row widths ``[R]`` and the weights of a row, by layer."""
    bits = sum(float(widths.sum()) * columns[name] for name, widths in layers.items())
    return bits / sum(len(widths) * columns[name] for name, widths in layers.items())
