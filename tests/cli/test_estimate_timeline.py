"""``estimate`` tells where the RTL engine's cycles go: causes, each layer's bound, a timeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Run

from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model

CONFIG = VitConfig(
    image_size=16, channels=1, patch_size=4, classes=3, embed_dim=24,
    blocks=(BlockConfig(heads=2, head_dim=8, mlp_hidden=32),) * 2,
)  # fmt: skip
RTL = ("--mac", "rtl", "--tile", 8, 16, 4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.pt"
    save_model(random_model(CONFIG, 1), path)
    return path


def test_causes_of_the_rtl_engine_add_up_to_the_frame(qvit_hls: Run, model: Path) -> None:
    result = qvit_hls("estimate", model, *RTL, "--json")
    assert result.exit_code == 0, result.output
    estimate = json.loads(result.stdout)
    assert sum(estimate["causes"].values()) == pytest.approx(estimate["cycles"], abs=1)
    bounds = {layer["bottleneck"] for layer in estimate["layers"] if layer["unit"] == "gemm"}
    assert bounds <= {"array", "drain", "operands", "weights"} and len(bounds) > 1


def test_the_table_of_causes_is_the_rtl_engines_only(qvit_hls: Run, model: Path) -> None:
    rtl = qvit_hls("estimate", model, *RTL).output
    assert "Where the cycles go" in rtl and "waiting for operands" in rtl and "Bound by" in rtl
    hls = qvit_hls("estimate", model, "--tile", 8, 16, 4).output
    assert "Bound by" in hls and "Where the cycles go" not in hls


def test_a_timeline_is_a_picture_or_a_page(qvit_hls: Run, model: Path, tmp_path: Path) -> None:
    for name in ("frame.png", "frame.html"):
        result = qvit_hls("estimate", model, *RTL, "--timeline", tmp_path / name)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "frame.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "frame.html").read_text()
    assert "<svg" in page and "waiting for operands" in page and "small: one frame" in page


def test_what_a_timeline_cannot_be_is_told_at_once(qvit_hls: Run, model: Path, tmp_path: Path) -> None:
    result = qvit_hls("estimate", model, "--timeline", tmp_path / "frame.jpg")
    assert result.exit_code == 1
    assert "must end in .png or .html" in result.output
    assert "Add --mac rtl" in result.output
    assert not (tmp_path / "frame.jpg").exists()
