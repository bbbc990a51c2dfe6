"""The result of ``qvit-hls csim`` as a table and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rich.table import Table
from rich.text import Text

from qvit_hls.report.layer_rows import group_layers
from qvit_hls.verify.compare import LayerResult, Mismatch
from qvit_hls.verify.csim import CsimReport


def csim_table(layers: Sequence[LayerResult]) -> Table:
    """Layers with the number of compared and differing values; a deep network's equal layers per block."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Layer")
    table.add_column("Unit")
    table.add_column("Values compared", justify="right")
    table.add_column("Mismatches", justify="right")
    rows = group_layers(layers, lambda layer: layer.layer, alone=lambda layer: layer.mismatches > 0)
    for title, group in rows:
        mismatches = sum(layer.mismatches for layer in group)
        table.add_row(
            title,
            ", ".join(dict.fromkeys(layer.unit for layer in group)),
            f"{sum(layer.values for layer in group):,}",
            Text(f"{mismatches:,}", style="bold red" if mismatches else ""),
        )
    return table


def csim_verdict(report: CsimReport) -> Text:
    """What was compared with which result, where the first difference is, and the accuracy."""
    values = sum(layer.values for layer in report.layers)
    mismatches = sum(layer.mismatches for layer in report.layers)
    built = (
        "program unchanged"
        if report.program.seconds is None
        else f"compiled in {report.program.seconds:.1f} s"
    )
    lines = Text()
    lines.append(
        "equal" if report.passed else "NOT EQUAL", style="bold green" if report.passed else "bold red"
    )
    lines.append(
        f": {mismatches:,} mismatches in {values:,} values of {len(report.layers)} layers, "
        f"{report.images} image{'s' * (report.images != 1)} ({report.origin}), "
        f"{report.variant} C-simulation\n"
    )
    if report.first is not None:
        lines.append(first_mismatch(report) + "\n", style="red")
    if report.top1 is not None:
        lines.append(
            f"top-1: {report.top1.simulated:.2%} by the C-simulation, "
            f"{report.top1.golden:.2%} by the golden graph\n"
        )
    lines.append(
        f"time: {built}, simulation {report.simulation_seconds:.1f} s, "
        f"golden graph {report.golden_seconds:.1f} s"
    )
    return lines


class Compared(Protocol):
    """A report that may have a first mismatch and a saved vector."""

    @property
    def first(self) -> Mismatch | None:
        """The first mismatch of the first layer that has one."""

    @property
    def vector(self) -> Path | None:
        """The file with the failing tensors."""


def first_mismatch(report: Compared) -> str:
    """Where the first difference is, what was expected, and where the failing vector lies."""
    first = report.first
    if first is None:
        return ""
    tensor = first.tensor
    head = "" if tensor.entry.head is None else f"head {tensor.entry.head}, "
    saved = "" if report.vector is None else f"; failing vector in {report.vector}"
    return (
        f"first differing layer: {tensor.layer} ({tensor.unit}), tensor {tensor.entry.node}, "
        f"image {first.image}, {head}token {first.token}, channel {first.channel}: "
        f"expected {first.expected}, got {first.got}{saved}"
    )
