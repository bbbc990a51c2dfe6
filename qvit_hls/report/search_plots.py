"""Pictures of a search: its front, how it came on, and the precision of each layer of the picks."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qvit_hls.errors import QvitError
from qvit_hls.flow.search import Found
from qvit_hls.nets.subnet import Subnet
from qvit_hls.search.front import dominance_ranks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE = "search.html"
_RATE, _ACCURACY = "frames per second", "top-1 on validation images, %"
_BITS, _SHARE = "average bits of a weight", "share of 8-bit rows"
_TRIALS, _AREA = "networks evaluated", "hypervolume (accuracy x frames per second)"


@dataclass(frozen=True, eq=False)
class _Shown:
    """What the pictures show.

    Attributes:
        rate, accuracy, bits: of each trial, ``[n]``; accuracy in per cent.
        front: trials that no other beats in both, from slow to fast.
        picks: trials that were picked, and the labels of their targets.
        layers: names of the layers of the deepest pick.
        shares: of 8-bit rows, ``[layers, picks]``; NaN where a pick has no such layer.
    """

    rate: np.ndarray
    accuracy: np.ndarray
    bits: np.ndarray
    front: np.ndarray
    picks: np.ndarray
    labels: list[str]
    layers: list[str]
    shares: np.ndarray


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
        figure, axis = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
        draw(found, shown, figure, axis)
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
    each = [pick.subnet.layer_shares() for pick in picks]
    deepest = max((list(shares) for shares in each), key=len, default=[])
    return _Shown(
        rate=rate,
        accuracy=accuracy,
        bits=hardware.costs(rows).average_bits,
        front=front[np.argsort(rate[front], kind="stable")],
        picks=np.array([place[pick.trial] for pick in picks], np.int64),
        labels=[f"{pick.target_fps:g}" for pick in picks],
        # The classifier comes last also where a deeper network has more blocks before it.
        layers=deepest,
        shares=np.array([[shares.get(name, np.nan) for shares in each] for name in deepest], np.float64),
    )


def _front(found: Found, shown: _Shown, figure: Figure, axis: Axes) -> None:
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


def _progress(found: Found, shown: _Shown, figure: Figure, axis: Axes) -> None:
    for stage in dict.fromkeys(generation.stage for generation in found.history):
        here = [generation for generation in found.history if generation.stage == stage]
        axis.plot([g.trials for g in here], [g.hypervolume for g in here], marker=".", label=stage)
    axis.set(xlabel=_TRIALS, ylabel=_AREA)
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right")


def _precision(found: Found, shown: _Shown, figure: Figure, axis: Axes) -> None:
    figure.set_size_inches(max(7.0, 0.16 * len(shown.layers)), 1.8 + 0.4 * len(shown.labels))
    if len(shown.labels):
        image = axis.imshow(shown.shares.T, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        figure.colorbar(image, label=_SHARE)
    axis.set_yticks(range(len(shown.labels)), shown.labels)
    axis.set_xticks(range(len(shown.layers)), shown.layers, rotation=90, fontsize=6)
    axis.set_ylabel("target, " + _RATE)


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
                    marker={"symbol": "star", "size": 14}, text=[f"target {fps}" for fps in shown.labels]),
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
    precision = graph_objects.Figure(
        graph_objects.Heatmap(
            z=shown.shares.T, x=shown.layers, y=shown.labels, zmin=0, zmax=1, colorbar={"title": _SHARE}
        )
    )
    figures: list[tuple[Any, str, str, str]] = [
        (front, "Accuracy against frames per second", _RATE, _ACCURACY),
        (progress, "Progress", _TRIALS, _AREA),
        (precision, "Precision of each layer", "layer", "target, " + _RATE),
    ]
    parts = []
    for index, (figure, title, x, y) in enumerate(figures):
        figure.update_layout(title=title, xaxis_title=x, yaxis_title=y, legend={"orientation": "h"})
        if index == 2:
            figure.update_yaxes(type="category")
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
