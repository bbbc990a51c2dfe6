"""The map of row precisions: every row of every layer is where it belongs, and pictures show all picks."""

from __future__ import annotations

import numpy as np
import pytest

from qvit_hls.report.precision_map import draw_maps, plotly_maps, row_map

LAYERS = ["patch_embed", "blocks.0.mlp.fc1", "head"]
BITS = {
    "patch_embed": np.array([8, 4], np.uint8),
    "blocks.0.mlp.fc1": np.array([4, 4, 8, 4], np.uint8),
    "head": np.array([8], np.uint8),
}


def test_a_map_has_the_bits_of_each_row_and_zero_where_there_is_none() -> None:
    expected = [[8, 4, 8], [4, 4, 0], [0, 8, 0], [0, 4, 0]]
    assert row_map(LAYERS, BITS).tolist() == expected


def test_a_layer_that_a_shallower_network_lacks_is_empty() -> None:
    shallow = {name: bits for name, bits in BITS.items() if "blocks" not in name}
    assert row_map(LAYERS, shallow).tolist() == [[8, 0, 8], [4, 0, 0]]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_pictures_have_a_panel_for_each_network(count: int) -> None:
    from matplotlib.figure import Figure

    titles, maps = [f"pick {i}" for i in range(count)], [row_map(LAYERS, BITS)] * count
    figure = Figure(layout="constrained")
    draw_maps(figure, titles, LAYERS, maps)
    assert [axis.get_title() for axis in figure.axes if axis.images] == titles
    page = plotly_maps(titles, LAYERS, maps)
    assert [trace.z.tolist() for trace in page.data] == [rows.tolist() for rows in maps]
