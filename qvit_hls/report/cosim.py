"""The result of ``qvit-hls cosim`` as tables and a verdict."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from qvit_hls.report.csim import first_mismatch
from qvit_hls.report.layer_rows import group_layers
from qvit_hls.verify.compare import LayerResult
from qvit_hls.verify.cosim_report import CosimReport
from qvit_hls.verify.cycles import FrameCycles, LayerCycles, busy, utilisation

_MOST_PROBLEMS = 10


@dataclass(frozen=True)
class _Row:
    """A layer of the program, with what was compared of it and when it ran, as far as there is any."""

    name: str
    unit: str
    compared: LayerResult | None
    cycles: LayerCycles | None

    @property
    def mismatches(self) -> int:
        return 0 if self.compared is None else self.compared.mismatches


def layer_table(report: CosimReport, selected: Collection[str] | None = None) -> Table:
    """Layers with compared and differing values, when they ran, and how well they used the array.

    Args:
        selected: names of layers; only these are shown, each in a row of its own. Default: all, a deep
            network's equal layers per block.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("Layer")
    table.add_column("Unit")
    titles = ["Values compared", "Mismatches"]
    if report.cycles is not None:
        titles += ["Begin", "Complete", "Cycles", "Ideal", "Utilisation"]
    for title in titles:
        table.add_column(title, justify="right")
    rows = [row for row in _rows(report) if selected is None or row.name in selected]
    for title, group in group_layers(
        rows, lambda row: row.name, alone=lambda row: selected is not None or row.mismatches > 0
    ):
        mismatches = sum(row.mismatches for row in group)
        cells: list[str | Text] = [
            title,
            ", ".join(dict.fromkeys(row.unit for row in group)),
            f"{sum(row.compared.values for row in group if row.compared is not None):,}",
            Text(f"{mismatches:,}", style="bold red" if mismatches else ""),
        ]
        timed = [row.cycles for row in group if row.cycles is not None]
        table.add_row(*cells, *(_cycle_cells(timed) if timed else ()))
    return table


def cycle_table(cycles: FrameCycles) -> Table:
    """Cycles of each kind of layers; they overlap, so the sum is more than the frame."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Cycles of a frame")
    for title in ("Layers", "Cycles", "Ideal", "Utilisation"):
        table.add_column(title, justify="right")
    for group in cycles.groups:
        table.add_row(
            group.kind, f"{group.layers:,}", f"{group.cycles:,}", *_array_cells(group.ideal, group.cycles)
        )
    ideal = sum(timed.ideal for timed in cycles.layers)
    table.add_row(
        "whole frame", f"{len(cycles.layers):,}", f"{cycles.total:,}", *_array_cells(ideal, cycles.total)
    )
    return table


def cosim_verdict(report: CosimReport) -> Text:
    """What was compared with which result, what else is wrong, the accuracy, cycles and times."""
    values = sum(layer.values for layer in report.layers)
    mismatches = sum(layer.mismatches for layer in report.layers)
    stalls = (
        f", streams stalled in {report.stalls.share:.0%} of the cycles (seed {report.stalls.seed})"
        if report.stalls.share
        else ""
    )
    lines = Text()
    verdict = "equal" if report.passed else "NOT EQUAL" if mismatches else "FAILED"
    lines.append(verdict, style="bold green" if report.passed else "bold red")
    lines.append(
        f": {mismatches:,} mismatches in {values:,} values of {_counted(len(report.layers), 'layer')}, "
        f"{_counted(report.images, 'image')} ({report.origin}), "
        f"{report.variant} RTL simulation{stalls}\n"
    )
    if report.first is not None:
        lines.append(first_mismatch(report) + "\n", style="red")
    for problem in report.problems[:_MOST_PROBLEMS]:
        lines.append(problem + "\n", style="red")
    if len(report.problems) > _MOST_PROBLEMS:
        lines.append(f"and {len(report.problems) - _MOST_PROBLEMS} problems more\n", style="red")
    if report.top1 is not None:
        lines.append(
            f"top-1: {report.top1.simulated:.2%} by the RTL simulation, "
            f"{report.top1.golden:.2%} by the golden graph\n"
        )
    traced = f", with the trace {_span(report.traced_cycles)}" if report.traced_cycles else ""
    # The first one loads its own image and the next one's.
    first_cycles = [cycles for cycles in report.first_frame_cycles if cycles not in report.frame_cycles]
    first = f", of the first one {_span(first_cycles)}" if first_cycles else ""
    lines.append(f"cycles per frame: {_span(report.frame_cycles)}{first}{traced}\n")
    if report.waves is not None:
        lines.append(f"waveform: {report.waves}\n")
    built = "program unchanged" if report.model.seconds is None else f"built in {report.model.seconds:.1f} s"
    speed = report.simulated_cycles / report.simulation_seconds if report.simulation_seconds else 0.0
    lines.append(
        f"time: {built}, simulation {report.simulation_seconds:.1f} s ({report.simulated_cycles:,} cycles, "
        f"{speed:,.0f} per second), golden graph {report.golden_seconds:.1f} s"
    )
    return lines


def _rows(report: CosimReport) -> Iterator[_Row]:
    compared = {(layer.layer, layer.unit): layer for layer in report.layers}
    for timed in () if report.cycles is None else report.cycles.layers:
        yield _Row(
            timed.layer.name,
            timed.layer.unit,
            compared.pop((timed.layer.name, timed.layer.unit), None),
            timed,
        )
    for layer in compared.values():
        yield _Row(layer.layer, layer.unit, layer, None)


def _cycle_cells(timed: Sequence[LayerCycles]) -> list[str]:
    begin, complete = min(item.begin for item in timed), max(item.complete for item in timed)
    ideal = sum(item.ideal for item in timed)
    cycles = busy(timed)  # heads take turns with their softmax
    return [f"{begin:,}", f"{complete:,}", f"{cycles:,}", *_array_cells(ideal, cycles)]


def _array_cells(ideal: float, cycles: int) -> list[str]:
    return [f"{ideal:,.0f}", f"{utilisation(ideal, cycles):.1%}"] if ideal else ["", ""]


def _span(cycles: Sequence[int]) -> str:
    least, most = min(cycles), max(cycles)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"
