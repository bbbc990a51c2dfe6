"""A frame on the RTL engine as a timeline of its lanes, as PNG or HTML."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from qvit_hls.errors import QvitError
from qvit_hls.flow.output import write_file
from qvit_hls.hw.timing.timeline import Cause, Lane, Span, Timeline
from qvit_hls.report.causes import CauseRow

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
#: What a timeline's file name ends in.
TIMELINE_SUFFIXES = (".png", ".html")
_WIDTH_INCHES, _LANE_INCHES, _DPI = 16.0, 0.55, 130


def timeline_figure(
    timeline: Timeline, kinds: Sequence[str], title: str, windows: Sequence[tuple[int, int]] = ()
) -> Figure:
    """A timeline: a row for each lane, cycles from left to right.

    Args:
        kinds: kind of each layer, as :func:`layer_kind` names it.
        windows: first and last cycle of parts that are shown enlarged, below the whole frame.

    Raises:
        ValueError: ``kinds`` does not name one kind per layer.
    """
    if len(kinds) != len(timeline.begin):
        raise ValueError(f"there are {len(timeline.begin)} layers, but {len(kinds)} kinds")
    parts = [(0, timeline.cycles), *windows]
    height = 1.0 + len(parts) * (0.8 + _LANE_INCHES * len(Lane))
    figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
    panels = figure.subplots(len(parts), 1, squeeze=False)[:, 0]
    used: dict[str, str] = {}
    for axes, window in zip(panels, parts, strict=True):
        used |= _draw(axes, timeline, kinds, window)
    panels[0].set_title(title)
    panels[-1].set_xlabel("cycle")
    figure.legend(
        handles=[Patch(color=colour, label=label) for label, colour in used.items()],
        loc="outside lower center",
        ncols=6,
        frameon=False,
    )
    return figure


def _draw(axes: Axes, timeline: Timeline, kinds: Sequence[str], window: tuple[int, int]) -> dict[str, str]:
    """Draw a part of a timeline; returns labels and colours."""
    begin, end = window
    used: dict[str, str] = {}
    for row, lane in enumerate(Lane):
        by_colour: dict[str, list[tuple[int, int]]] = {}
        for span in timeline.spans[lane]:
            if span.end <= begin or span.begin >= end:
                continue
            label, colour = _appearance(span, kinds)
            used[label] = colour
            by_colour.setdefault(colour, []).append((span.begin, span.end - span.begin))
        for colour, bars in by_colour.items():
            axes.broken_barh(bars, (row - 0.4, 0.8), facecolors=colour, linewidth=0)
    axes.set_yticks(range(len(Lane)), [lane.value for lane in Lane])
    axes.set_ylim(len(Lane) - 0.5, -0.5)
    axes.set_xlim(begin, end)
    return used


def middle_block(names: Sequence[str], timeline: Timeline) -> list[tuple[int, int]]:
    """First and last cycle of the middle one of several blocks, from the layers' names; else nothing."""
    blocks: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        if found := re.match(r"blocks\.\d+(?=\.)", name):
            blocks.setdefault(found[0], []).append(index)
    if len(blocks) < 2:
        return []
    layers = list(blocks.values())[len(blocks) // 2]
    return [(min(timeline.begin[i] for i in layers), max(timeline.complete[i] for i in layers))]


def layer_kind(name: str) -> str:
    """The kind of a layer that a timeline's colour shows, from its name in the program."""
    last = name.rsplit(".", 1)[-1]
    if last.startswith(("scores", "context")):
        return "attention product"
    if last.startswith("softmax"):
        return "softmax"
    if last.startswith("norm"):
        return "LayerNorm"
    return "other" if last in ("patches", "constant", "result", "mean", "operand") else "linear"


def _appearance(span: Span, kinds: Sequence[str]) -> tuple[str, str]:
    if span.cause == Cause.WORK:
        return kinds[span.layer], _KIND_COLOURS[kinds[span.layer]]
    return _WAIT_NAMES[span.cause], _WAIT_COLOURS[span.cause]


def check_timeline(path: Path, mac: str) -> None:
    """Check that a timeline can be written, before the work begins.

    Raises:
        QvitError: the file's name ends in something else, or the engine has no timeline.
    """
    problems = []
    if path.suffix not in TIMELINE_SUFFIXES:
        wanted = " or ".join(TIMELINE_SUFFIXES)
        problems.append(f"{path}: a timeline is a picture or a page; its name must end in {wanted}.")
    if mac != "rtl":
        problems.append(
            "--timeline shows what works side by side in the engine in SystemVerilog; the engine in C++ runs "
            "its layers one after the other. Add --mac rtl, or leave out --timeline."
        )
    if problems:
        raise QvitError(problems)


def write_timeline(
    timeline: Timeline, names: Sequence[str], causes: Sequence[CauseRow], title: str, path: Path
) -> None:
    """Write a frame, and one of its blocks enlarged, as PNG, or as a page that also has the table of causes.

    Args:
        names: of the layers.
        causes: rows of :func:`~qvit_hls.report.causes.cause_rows`.
        path: as :func:`check_timeline` wants it.

    Raises:
        QvitError: the file cannot be written.
    """
    kinds = [layer_kind(name) for name in names]
    figure = timeline_figure(timeline, kinds, title, middle_block(names, timeline))
    if path.suffix == ".png":
        write_png(figure, path)
    else:
        write_html(figure, causes, title, path)


def write_png(figure: Figure, path: Path) -> None:
    """Write a figure; nothing is left behind if that fails."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI)
    write_file(path, content.getvalue())


def write_html(figure: Figure, table: Sequence[CauseRow], title: str, path: Path) -> None:
    """Write a page with the figure as SVG and the table of causes; nothing else is needed to show it."""
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
