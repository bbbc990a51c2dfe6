"""Pictures of a quantization show the report's numbers, at the names of the values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from qvit_hls.errors import QvitError
from qvit_hls.flow.quantization_request import QuantizationRequest
from qvit_hls.flow.quantize import QuantizationResult, quantize
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model
from qvit_hls.report.quantize_plots import (
    check_plot_folder,
    draw_ranges,
    draw_sensitivity,
    draw_sqnr,
    quantization_plots,
)

CONFIG = VitConfig(
    image_size=8,
    channels=1,
    patch_size=4,
    classes=3,
    embed_dim=12,
    blocks=(BlockConfig(heads=2, head_dim=4, mlp_hidden=20),),
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> QuantizationResult:
    folder = tmp_path_factory.mktemp("quantized")
    save_model(random_model(CONFIG, seed=1), folder / "model.pt")
    images = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
    np.savez(folder / "images.npz", images=images)
    request = QuantizationRequest(
        str(folder / "model.pt"), folder / "images.npz", folder / "q.pt", method="mse"
    )
    return quantize(request)


def test_ranges_are_drawn_in_units_of_the_limit(result: QuantizationResult) -> None:
    axis = Figure().subplots()
    names = draw_ranges(result, axis)
    shown = {found["name"]: found for found in result.to_json()["ranges"]}
    assert names and names == [name for name, found in shown.items() if found["quantiles"] is not None]
    (points,) = axis.collections
    for index, (x, y) in enumerate(points.get_offsets()):
        assert x == index
        assert y == pytest.approx(shown[names[index]]["largest"] / shown[names[index]]["limit"])
    medians = [line for line in axis.lines if line.get_color() == "C1"]
    wanted = [shown[name]["quantiles"][2] / shown[name]["limit"] for name in names]
    assert [line.get_ydata()[0] for line in medians] == pytest.approx(wanted)


def test_sensitivity_is_drawn_for_every_linear_layer(result: QuantizationResult) -> None:
    axis = Figure().subplots()
    names = draw_sensitivity(result, axis)
    rows = result.to_json()["rows"]
    assert names == list(rows)
    keys = ("four_bit_error", "chosen_error", "eight_bit_error")
    for points, key in zip(axis.collections, keys, strict=True):
        assert [y for _, y in points.get_offsets()] == pytest.approx([rows[name][key] for name in names])


def test_sqnr_is_drawn_in_the_order_of_the_graph(result: QuantizationResult) -> None:
    axis = Figure().subplots()
    names = draw_sqnr(result, axis)
    ratios = {layer["name"]: layer["sqnr_db"] for layer in result.to_json()["layers"]}
    assert names == [node.name for node in result.quantized.graph if node.name in ratios]
    assert len(names) == len(ratios)
    assert [bar.get_height() for bar in axis.patches] == pytest.approx([ratios[name] for name in names])


def test_plots_are_three_png_files(result: QuantizationResult, tmp_path: Path) -> None:
    files = quantization_plots(result)
    assert list(files) == ["ranges.png", "sensitivity.png", "sqnr.png"]
    assert all(content.startswith(b"\x89PNG") and len(content) > 5000 for content in files.values())
    (tmp_path / "taken").write_text("")
    with pytest.raises(QvitError, match=r"/taken is a file; it should be the name of a folder for plots\.$"):
        check_plot_folder(tmp_path / "taken")
    check_plot_folder(tmp_path)
