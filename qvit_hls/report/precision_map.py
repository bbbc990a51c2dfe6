"""Which rows of which layer have 8 bits: a picture of layers by rows for each network that was picked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours by bits of a row; 0 where a layer has no such row.
_COLOURS = {0: "#ffffff", 4: "#3b528b", 8: "#fde725"}


def row_map(layers: Sequence[str], row_bits: Mapping[str, np.ndarray]) -> np.ndarray:
    """Bits of every row, uint8 ``[most rows of a layer, layers]``.

    Args:
        layers: names, from left to right.
        row_bits: 4 or 8 for each row of a layer, uint8 ``[rows]``, by name; a layer may be missing.

    Returns:
        4 or 8; 0 below a layer's last row, and where there is no such layer.
    """
    found = np.zeros((max(map(len, row_bits.values()), default=0), len(layers)), np.uint8)
    for column, name in enumerate(layers):
        bits = row_bits.get(name, np.zeros(0, np.uint8))
        found[: len(bits), column] = bits
    return found


def draw_maps(
    figure: Figure, titles: Sequence[str], layers: Sequence[str], maps: Sequence[np.ndarray]
) -> None:
    """One map below the other, with matplotlib; nothing where there is none."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    figure.set_size_inches(max(7.0, 0.16 * len(layers)), 1.6 + 1.8 * max(len(maps), 1))
    axes = figure.subplots(max(len(maps), 1), 1, sharex=True, squeeze=False)[:, 0]
    colours, values = ListedColormap(list(_COLOURS.values())), list(_COLOURS)
    for axis, title, rows in zip(axes, titles, maps, strict=False):
        axis.imshow(np.searchsorted(values, rows), cmap=colours, vmin=0, vmax=len(values) - 1, aspect="auto",
                    interpolation="nearest")  # fmt: skip
        axis.set_title(title, fontsize=9)
        axis.set_ylabel("row")
    axes[-1].set_xticks(range(len(layers)), layers, rotation=90, fontsize=6)
    handles = [Patch(facecolor=_COLOURS[bits], label=f"{bits} bits") for bits in (4, 8)]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=8)


def plotly_maps(titles: Sequence[str], layers: Sequence[str], maps: Sequence[np.ndarray]) -> Any:
    """The same as a figure of plotly; layer, row and bits appear under the pointer."""
    from plotly import graph_objects, subplots  # type: ignore[import-untyped]

    figure = subplots.make_subplots(max(len(maps), 1), 1, shared_xaxes=True, subplot_titles=titles,
                                    vertical_spacing=0.08)  # fmt: skip
    scale = [[bits / 8, colour] for bits, colour in _COLOURS.items()]
    for index, rows in enumerate(maps, start=1):
        figure.add_trace(
            graph_objects.Heatmap(
                z=rows, x=list(layers), zmin=0, zmax=8, colorscale=scale, showscale=False,
                hovertemplate="%{x}<br>row %{y}: %{z} bits<extra></extra>",
            ),
            row=index, col=1,
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", title="row")
    figure.update_layout(height=180 + 220 * len(maps))
    return figure
