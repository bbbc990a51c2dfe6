"""Pictures of a search: its front, how it came on, and the precision of each row of the picks."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qvit_hls.errors import QvitError
from qvit_hls.flow.search import Found
from qvit_hls.nets.subnet import Subnet
from qvit_hls.report.precision_map import draw_maps, plotly_maps, row_map
from qvit_hls.search.front import dominance_ranks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "search.html"
_RATE, _ACCURACY = "frames per second", "top-1 on validation images, %"
_BITS = "average bits of a weight"
_TRIALS, _AREA = "networks evaluated", "hypervolume (accuracy x frames per second)"


@dataclass(frozen=True, eq=False)
class _Shown:
    """What the pictures show.

    Attributes:
        rate, accuracy, bits: of each trial, ``[n]``; accuracy in per cent.
        front: trials that no other beats in both, from slow to fast.
        picks: trials that were picked.
        titles: of the picks.
        layers: names of the layers of the deepest pick.
        maps: of the bits of each pick's rows, as ``row_map``.
    """

    rate: np.ndarray
    accuracy: np.ndarray
    bits: np.ndarray
    front: np.ndarray
    picks: np.ndarray
    titles: list[str]
    layers: list[str]
    maps: list[np.ndarray]


def search_plots(found: Found) -> dict[str, bytes]:
    """The pictures by file name: three as PNG, and one web page with all of them that loads nothing.

    Raises:
        QvitError: plotly is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown, files = _shown(found), {}
    for name, draw in (("front", _front), ("progress", _progress), ("precision", _precision)):
        figure = pyplot.figure(figsize=(7, 4.5), layout="constrained")
        draw(found, shown, figure)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
        pyplot.close(figure)
        files[f"{name}.png"] = content.getvalue()
    return {**files, PAGE: _page(found, shown)}


def _shown(found: Found) -> _Shown:
    hardware, records = found.hardware, found.records
    rows = hardware.genome.rows([Subnet.of_key(record.key) for record in records])
    accuracy = 100 * np.array([record.accuracy for record in records])
    rate = hardware.frames_per_second(np.array([record.cycles for record in records]))
    front = np.flatnonzero(dominance_ranks(np.stack([-accuracy, -rate], axis=1)) == 0)
    place = {record.number: index for index, record in enumerate(records)}
    picks = [pick for pick in found.picks if pick is not None]
    row_bits = [bits for bits in found.row_bits if bits]
    # The classifier comes last also where a deeper network has more blocks before it.
    layers = max((list(bits) for bits in row_bits), key=len, default=[])
    return _Shown(
        rate=rate,
        accuracy=accuracy,
        bits=hardware.costs(rows).average_bits,
        front=front[np.argsort(rate[front], kind="stable")],
        picks=np.array([place[pick.trial] for pick in picks], np.int64),
        titles=[f"{pick.target_fps:,g} frames per second, {pick.average_bits:.2f} bits" for pick in picks],
        layers=layers,
        maps=[row_map(layers, bits) for bits in row_bits],
    )


def _front(found: Found, shown: _Shown, figure: Figure) -> None:
    axis = figure.subplots()
    points = axis.scatter(shown.rate, shown.accuracy, c=shown.bits, s=14, vmin=4, vmax=8)
    axis.plot(shown.rate[shown.front], shown.accuracy[shown.front], color="0.4", linewidth=1, label="front")
    for index, fps in enumerate(found.settings.targets):
        axis.axvline(fps, color="0.6", linestyle=":", label=None if index else "targets")
    axis.scatter(shown.rate[shown.picks], shown.accuracy[shown.picks], marker="*", s=110, color="C3",
                 label="picks")  # fmt: skip
    figure.colorbar(points, label=_BITS)
    axis.set(xlabel=_RATE, ylabel=_ACCURACY)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left")


def _progress(found: Found, shown: _Shown, figure: Figure) -> None:
    axis = figure.subplots()
    for stage in dict.fromkeys(generation.stage for generation in found.history):
        here = [generation for generation in found.history if generation.stage == stage]
        axis.plot([g.trials for g in here], [g.hypervolume for g in here], marker=".", label=stage)
    axis.set(xlabel=_TRIALS, ylabel=_AREA)
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right")


def _precision(found: Found, shown: _Shown, figure: Figure) -> None:
    draw_maps(figure, shown.titles, shown.layers, shown.maps)


def _page(found: Found, shown: _Shown) -> bytes:
    """The same with plotly: each network's choices appear under the pointer."""
    try:
        from plotly import graph_objects  # type: ignore[import-untyped]
        from plotly import io as plotly_io
    except ImportError:
        raise QvitError(
            "The page of a search needs the package plotly; install it with: pip install 'qvit-hls[search]'"
        ) from None
    networks = [_words(Subnet.of_key(record.key)) for record in found.records]
    marker = {"color": shown.bits, "cmin": 4, "cmax": 8, "colorscale": "Viridis", "showscale": True,
              "colorbar": {"title": _BITS}}  # fmt: skip
    scatter, lines = graph_objects.Scatter, {"mode": "lines+markers"}
    front = graph_objects.Figure(
        [
            scatter(x=shown.rate, y=shown.accuracy, text=networks, mode="markers", marker=marker,
                    name="networks"),
            scatter(x=shown.rate[shown.front], y=shown.accuracy[shown.front], mode="lines", name="front"),
            scatter(x=shown.rate[shown.picks], y=shown.accuracy[shown.picks], mode="markers", name="picks",
                    marker={"symbol": "star", "size": 14}, text=shown.titles),
        ]
    )  # fmt: skip
    for fps in found.settings.targets:
        front.add_vline(x=fps, line_dash="dot")
    progress = graph_objects.Figure(
        [
            scatter(x=[g.trials for g in found.history if g.stage == stage],
                    y=[g.hypervolume for g in found.history if g.stage == stage], name=stage, **lines)
            for stage in dict.fromkeys(generation.stage for generation in found.history)
        ]
    )  # fmt: skip
    front.update_layout(xaxis_title=_RATE, yaxis_title=_ACCURACY)
    progress.update_layout(xaxis_title=_TRIALS, yaxis_title=_AREA)
    figures: list[tuple[Any, str]] = [
        (front, "Accuracy against frames per second"),
        (progress, "Progress"),
        (plotly_maps(shown.titles, shown.layers, shown.maps), "Bits of each row of each layer"),
    ]
    parts = []
    for index, (figure, title) in enumerate(figures):
        figure.update_layout(title=title, legend={"orientation": "h"})
        script = index == 0  # once for all
        parts.append(
            plotly_io.to_html(figure, include_plotlyjs=script, full_html=False, div_id=f"figure{index}")
        )
    name = f"Search of {found.hardware.genome.space.name} on {found.hardware.board.name}"
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title><body><h1>{name}</h1>'
    return (page + "".join(parts) + "</body></html>\n").encode()


def _words(subnet: Subnet) -> str:
    blocks = " ".join(f"{b.heads}x{b.head_dim}/{b.mlp_ratio:g}" for b in subnet.blocks)
    return f"embed {subnet.embed_dim}, A {subnet.activation_bits}, heads x width / MLP: {blocks}"
