"""The Pareto set of an exploration as a plot: frames per second over each resource."""

from __future__ import annotations

import html
import io
from pathlib import Path

from qvit_hls.errors import QvitError
from qvit_hls.hw.explore.explore import Exploration

_COSTS = (("lut", "LUTs"), ("dsp", "DSP slices"), ("bram36", "block RAMs (36 Kbit)"))
PLOT_SUFFIXES = (".png", ".html")


def check_plot_path(path: Path) -> None:
    """Refuse a file name whose ending names no kind of plot.

    Raises:
        QvitError: it ends neither in ``.png`` nor in ``.html``.
    """
    if path.suffix not in PLOT_SUFFIXES:
        raise QvitError(f"The plot {path} should end in {' or '.join(PLOT_SUFFIXES)}.")


def explore_plot(result: Exploration, suffix: str) -> bytes:
    """The plot as a PNG, or as a web page with the plot as SVG.

    Args:
        suffix: ``.png`` or ``.html``.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    models = ", ".join(result.models)
    title = f"{models} on {result.board.name}, {result.clock_mhz:g} MHz, A = {result.activation_bits}"
    # A fixed salt and no date: the same exploration gives the same bytes.
    with pyplot.rc_context({"svg.hashsalt": "qvit-hls"}):
        figure, axes = pyplot.subplots(1, len(_COSTS), figsize=(13, 4), sharey=True, layout="constrained")
        rates = [min(design.frames_per_second(result.clock_mhz)) for design in result.designs]
        best = min(result.chosen.frames_per_second(result.clock_mhz))
        for axis, (key, label) in zip(axes, _COSTS, strict=True):
            axis.scatter([getattr(d, key) for d in result.designs], rates, s=10, label="Pareto set")
            axis.scatter([getattr(result.chosen, key)], [best], s=60, marker="*", color="C3", label="chosen")
            axis.axvline(result.board.usable * getattr(result.board, key), color="0.5", linestyle="--")
            axis.set_xlabel(f"{label}; dashed: what may be used")
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
        if result.target_fps is not None:
            for axis in axes:
                axis.axhline(result.target_fps, color="C2", linewidth=1)
        axes[0].set_ylabel("frames per second")
        axes[0].legend(loc="lower right")
        figure.suptitle(title)
        content = io.BytesIO()
        if suffix == ".png":
            figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
        else:
            figure.savefig(content, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    if suffix == ".png":
        return content.getvalue()
    svg = content.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    text = html.escape(f"What binds: {result.binding.sentence}.")
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<body>{svg}<p>{text}</p></body></html>\n"
    )
    return page.encode()
