"""Pictures of a quantization: ranges of values on their grids, errors of rows, SQNR of values."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

from qvit_hls.errors import QvitError
from qvit_hls.flow.quantize import QuantizationResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches: of a picture without its columns, of a column, and the least of all.
_MARGIN, _COLUMN, _LEAST_WIDTH = 1.0, 0.14, 7.0


def check_plot_folder(folder: Path) -> None:
    """Refuse what cannot be a folder.

    Raises:
        QvitError: there is a file of this name.
    """
    if folder.exists() and not folder.is_dir():
        raise QvitError(f"{folder} is a file; it should be the name of a folder for plots.")


def quantization_plots(result: QuantizationResult) -> dict[str, bytes]:
    """The pictures as PNG by file name: ``ranges.png``, ``sensitivity.png`` and ``sqnr.png``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    files = {}
    for name, draw in (("ranges", draw_ranges), ("sensitivity", draw_sensitivity), ("sqnr", draw_sqnr)):
        figure, axis = pyplot.subplots(layout="constrained")
        labels = draw(result, axis)
        axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize=6)
        axis.set_xlim(-1, len(labels))
        axis.grid(alpha=0.3, axis="y")
        figure.set_size_inches(max(_LEAST_WIDTH, _MARGIN + _COLUMN * len(labels)), 5)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
        pyplot.close(figure)
        files[f"{name}.png"] = content.getvalue()
    return files


def draw_ranges(result: QuantizationResult, axis: Axes) -> list[str]:
    """Box plots of the values' samples in units of their grids' limits; the names of the values."""
    ranges = [found for found in result.quantized.ranges if found.quantiles is not None]
    boxes = []
    for found in ranges:
        assert found.quantiles is not None
        low, first, median, third, high = (value / found.limit for value in found.quantiles)
        boxes.append({"whislo": low, "q1": first, "med": median, "q3": third, "whishi": high})
    axis.bxp(boxes, positions=range(len(boxes)), widths=0.6, showfliers=False, manage_ticks=False)
    largest = [found.largest / found.limit for found in ranges]
    axis.scatter(range(len(ranges)), largest, s=8, marker="^", color="C3", label="largest magnitude")
    for sign in (-1, 1):
        axis.axhline(
            sign, color="C2", linestyle="--", linewidth=1, label="limit of the grid" if sign > 0 else None
        )
    axis.set_ylabel("value / limit of its grid; whiskers: 0.1 % and 99.9 %")
    axis.legend(fontsize=7)
    return [found.name for found in ranges]


def draw_sensitivity(result: QuantizationResult, axis: Axes) -> list[str]:
    """Error times sensitivity of the linear layers' rows; the names of the layers."""
    errors = result.quantized.errors
    for name, marker, color in (("four_bit", "v", "C3"), ("chosen", "o", "C0"), ("eight_bit", "^", "C2")):
        label = {"four_bit": "4-bit rows only", "chosen": "as chosen", "eight_bit": "8-bit rows only"}[name]
        values = [getattr(error, name) for error in errors.values()]
        axis.scatter(range(len(values)), values, s=16, marker=marker, color=color, label=label)
    axis.set_yscale("log", nonpositive="mask")
    axis.set_ylabel("squared error x sensitivity of the rows")
    axis.legend(fontsize=7)
    return list(errors)


def draw_sqnr(result: QuantizationResult, axis: Axes) -> list[str]:
    """SQNR of the integer graph's values, in the order of the graph; their names."""
    place = {node.name: index for index, node in enumerate(result.quantized.graph)}
    layers = sorted(result.quality.layers, key=lambda layer: place[layer.name])
    shown = [layer.sqnr_db if math.isfinite(layer.sqnr_db) else math.nan for layer in layers]
    axis.bar(range(len(layers)), shown, width=0.7)
    axis.set_ylabel("SQNR, dB")
    return [layer.name for layer in layers]
