"""Where a frame's cycles go: a timeline of the engine's lanes as PNG or HTML, and a table."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rich.table import Table

from qvit_hls.flow.output import write_file
from qvit_hls.hw.timing.analytic import FrameTiming
from qvit_hls.hw.timing.timeline import Cause, Lane, Span, Timeline

#: Colours of work, by the kind of layer; of waiting, by its cause.
_KIND_COLOURS = {
    "linear": "#4878a8",
    "attention product": "#2f9e8f",
    "LayerNorm": "#8f6bb3",
    "softmax": "#c2619c",
    "other": "#8a8a8a",
}
_WAIT_COLOURS = {
    Cause.DRAIN: "#e0a030",
    Cause.OPERANDS: "#f0d0d0",
    Cause.WEIGHTS: "#d05040",
    Cause.CHANGE: "#404040",
    Cause.ROOM: "#ececec",
}
_WAIT_NAMES = {
    Cause.DRAIN: "waits for the drain",
    Cause.OPERANDS: "waits for operands",
    Cause.WEIGHTS: "waits for weights",
    Cause.CHANGE: "between layers",
    Cause.ROOM: "weight buffer full",
}
_CAUSE_NAMES = {
    "array": "products",
    "padding": "padding of tiles",
    "drain": "waiting for the drain",
    "operands": "waiting for operands",
    "weights": "waiting for weights",
    "change": "between layers",
    "ends": "after the last step",
}
_WIDTH_INCHES, _LANE_INCHES, _DPI = 16.0, 0.55, 130


def timeline_figure(
    timeline: Timeline, kinds: Sequence[str], title: str, window: tuple[int, int] | None = None
) -> Figure:
    """A timeline: a row for each lane, cycles from left to right.

    Args:
        kinds: kind of each layer, as :func:`layer_kind` names it.
        window: first and last cycle to show; default the whole frame.

    Raises:
        ValueError: ``kinds`` does not name one kind per layer.
    """
    if len(kinds) != len(timeline.begin):
        raise ValueError(f"there are {len(timeline.begin)} layers, but {len(kinds)} kinds")
    begin, end = window or (0, timeline.cycles)
    lanes = list(Lane)
    figure = Figure(figsize=(_WIDTH_INCHES, 1.6 + _LANE_INCHES * len(lanes)), layout="constrained")
    axes = figure.add_subplot()
    used: dict[str, str] = {}
    for row, lane in enumerate(lanes):
        by_colour: dict[str, list[tuple[int, int]]] = {}
        for span in timeline.spans[lane]:
            if span.end <= begin or span.begin >= end:
                continue
            label, colour = _appearance(span, kinds)
            used[label] = colour
            by_colour.setdefault(colour, []).append((span.begin, span.end - span.begin))
        for colour, bars in by_colour.items():
            axes.broken_barh(bars, (row - 0.4, 0.8), facecolors=colour, linewidth=0)
    axes.set_yticks(range(len(lanes)), [lane.value for lane in lanes])
    axes.invert_yaxis()
    axes.set_xlim(begin, end)
    axes.set_xlabel("cycle")
    axes.set_title(title)
    figure.legend(
        handles=[Patch(color=colour, label=label) for label, colour in used.items()],
        loc="outside lower center",
        ncols=6,
        frameon=False,
    )
    return figure


def layer_kind(name: str) -> str:
    """The kind of a layer that a timeline's colour shows, from its name in the program."""
    last = name.rsplit(".", 1)[-1]
    if last.startswith(("scores", "context")):
        return "attention product"
    if last.startswith("softmax"):
        return "softmax"
    if last.startswith("norm"):
        return "LayerNorm"
    return "other" if last in ("patches", "constant", "result", "mean") else "linear"


def _appearance(span: Span, kinds: Sequence[str]) -> tuple[str, str]:
    if span.cause == Cause.WORK:
        return kinds[span.layer], _KIND_COLOURS[kinds[span.layer]]
    return _WAIT_NAMES[span.cause], _WAIT_COLOURS[span.cause]


def write_png(figure: Figure, path: Path) -> None:
    """Write a figure; nothing is left behind if that fails."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI)
    write_file(path, content.getvalue())


def write_html(figure: Figure, table: Sequence[tuple[str, float, float]], title: str, path: Path) -> None:
    """Write a page with the figure as SVG and the table of :func:`cause_rows`; nothing else is needed."""
    content = io.StringIO()
    figure.savefig(content, format="svg")
    drawing = content.getvalue()
    rows = "\n".join(
        f"<tr><td>{html.escape(name)}</td><td>{cycles:,.0f}</td><td>{share:.1%}</td></tr>"
        for name, cycles, share in table
    )
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>body {{ font-family: sans-serif }} svg {{ width: 100%; height: auto }}
td {{ padding: 0.1em 1em }} td + td {{ text-align: right }}</style></head>
<body><h1>{html.escape(title)}</h1>
{drawing[drawing.index("<svg") :]}
<table>{rows}</table></body></html>
"""
    write_file(path, page.encode())


def cause_rows(timing: FrameTiming) -> list[tuple[str, float, float]]:
    """What the MAC tile's cycles of one frame are spent on: name, cycles, share of the frame."""
    total = float(timing.cycles)
    return [(_CAUSE_NAMES[name], float(value), float(value) / total) for name, value in timing.causes.items()]


def cause_table(timing: FrameTiming) -> Table:
    """The same as a table."""
    table = Table(title="Where the cycles go", box=None, pad_edge=False)
    table.add_column("MAC tile")
    table.add_column("Cycles", justify="right")
    table.add_column("Share", justify="right")
    for name, cycles, share in cause_rows(timing):
        table.add_row(name, f"{cycles:,.0f}", f"{share:.1%}")
    table.add_row("frame", f"{float(timing.cycles):,.0f}", "100.0%", end_section=True)
    return table
