"""``quantize`` within a budget of cycles, and that ``gen`` builds an accelerator that keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Run

from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model

CONFIG = VitConfig(
    image_size=8,
    channels=1,
    patch_size=4,
    classes=3,
    embed_dim=20,
    blocks=(BlockConfig(heads=2, head_dim=10, mlp_hidden=36),) * 2,
    mean=(0.5,),
    std=(0.25,),
)
TILE = ("--tile", 8, 16, 4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model.pt`` with ``images.npz`` beside it."""
    folder = tmp_path_factory.mktemp("float")
    save_model(random_model(CONFIG, seed=1), folder / "model.pt")
    images = np.random.default_rng(0).normal(size=(8, 1, 8, 8)).astype(np.float32)
    np.savez(folder / "images.npz", images=images)
    return folder / "model.pt"


def quantized(run: Run, model: Path, out: Path, *arguments: object, method: str = "mse") -> dict[str, Any]:
    """The report."""
    report = out.with_suffix(".json")
    done = run(
        "quantize", model, "--calib", model.parent / "images.npz", "--method", method, "-o", out,
        "--report", report, *arguments,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads(report.read_text())
    frame = result["frame"]
    if frame is not None:
        assert f"a frame takes {frame['cycles']:,} cycles, " in done.stdout
        assert f"4-bit rows only would take {frame['four_bit_cycles']:,}\n" in done.stdout
        assert frame["frames_per_second"] == pytest.approx(frame["clock_mhz"] * 1e6 / frame["cycles"])
    return dict(result)


def cycles_of(run: Run, model: Path, *arguments: object) -> int:
    done = run("estimate", model, "--json", *arguments)
    assert done.exit_code == 0, done.output
    return int(json.loads(done.stdout)["cycles"])


def logits_sqnr(report: dict[str, Any]) -> float:
    (name,) = [layer["name"] for layer in report["layers"] if layer["name"].startswith("head")]
    return next(float(layer["sqnr_db"]) for layer in report["layers"] if layer["name"] == name)


@pytest.mark.parametrize("mac", ["hls", "rtl"])
def test_free_rows_cost_no_cycle_and_make_the_network_more_accurate(
    qvit_hls: Run, model: Path, tmp_path: Path, mac: str
) -> None:
    uniform = quantized(qvit_hls, model, tmp_path / "uniform.pt", "--eight-bit-share", 0)
    assert uniform["frame"] is None
    mixed = quantized(qvit_hls, model, tmp_path / "mixed.pt", "--free-rows", *TILE, "--mac", mac)
    frame = mixed["frame"]
    before = cycles_of(qvit_hls, tmp_path / "uniform.pt", *TILE, "--mac", mac)
    after = cycles_of(qvit_hls, tmp_path / "mixed.pt", *TILE, "--mac", mac)
    assert (frame["cycles"], frame["four_bit_cycles"], frame["limit"]) == (after, before, before)
    assert after <= before
    assert sum(layer["eight_bit"] for layer in mixed["rows"].values()) > 40
    assert logits_sqnr(mixed) > logits_sqnr(uniform) + 0.5


def test_the_limit_counts_the_tables_that_the_method_adds(qvit_hls: Run, model: Path, tmp_path: Path) -> None:
    """Shifts of LayerNorm's channels, which the network has only once it is calibrated."""
    quantized(qvit_hls, model, tmp_path / "uniform.pt", "--eight-bit-share", 0, method="fqvit")
    quantized(qvit_hls, model, tmp_path / "plain.pt", "--eight-bit-share", 0)
    mixed = quantized(qvit_hls, model, tmp_path / "mixed.pt", "--free-rows", *TILE, method="fqvit")
    uniform, plain, after = (
        cycles_of(qvit_hls, tmp_path / f"{name}.pt", *TILE) for name in ("uniform", "plain", "mixed")
    )
    frame = mixed["frame"]
    assert (frame["cycles"], frame["four_bit_cycles"], frame["limit"]) == (after, uniform, uniform)
    assert after <= uniform and plain < uniform


def test_gen_finds_an_accelerator_that_keeps_the_budget(qvit_hls: Run, model: Path, tmp_path: Path) -> None:
    board = ("--board", "kv260", "--mac", "rtl", "--clock", 250)
    free = quantized(qvit_hls, model, tmp_path / "free.pt", "--free-rows", *board)
    limit = free["frame"]["four_bit_cycles"] * 11 // 10
    mixed = quantized(qvit_hls, model, tmp_path / "mixed.pt", "--max-cycles", limit, *board)
    assert free["frame"]["limit"] < mixed["frame"]["cycles"] <= limit
    assert mixed["average_weight_bits"] > free["average_weight_bits"] >= 4
    build = tmp_path / "build"
    made = qvit_hls("gen", tmp_path / "mixed.pt", "-o", build, "--max-cycles", limit, *board)
    assert made.exit_code == 0, made.output
    config = json.loads((build / "accelerator.json").read_text())
    tile = [config[name] for name in ("tile_tokens", "tile_rows", "tile_depth")]
    assert config["mac"] == "rtl"
    # Another model on that accelerator: --for says where cycles count, and gen --for builds there.
    again = quantized(qvit_hls, model, tmp_path / "again.pt", "--max-cycles", limit, "--for", build)
    assert again["frame"]["tile"] == tile and again["frame"]["clock_mhz"] == 250
    assert again["frame"]["cycles"] <= limit
    made = qvit_hls("gen", tmp_path / "again.pt", "-o", tmp_path / "other", "--for", build, "--quiet")
    assert made.exit_code == 0, made.output
    assert (tmp_path / "other" / "accelerator.json").read_bytes() == (build / "accelerator.json").read_bytes()


def test_a_target_that_4_bit_rows_miss_is_refused_before_the_work(
    qvit_hls: Run, model: Path, tmp_path: Path
) -> None:
    common = ("quantize", model, "--calib", model.parent / "images.npz", "-o", tmp_path / "q.pt", "--quiet")
    failed = qvit_hls(*common, "--max-cycles", 1000, *TILE, "--clock", 100)
    assert failed.exit_code == 1
    took = "on zcu102 at 100 MHz, engine hls, tile 8 x 16 x 4"
    advice = "Take a lower target, a larger board, a higher clock or a smaller network.\n"
    assert failed.stderr == (
        f"error: Even with 4-bit rows only, a frame takes 2,211 cycles {took} "
        f"(45,228.4 frames per second); the target is 1,000 cycles. {advice}"
    )
    failed = qvit_hls(*common, "--target-fps", 90000, *TILE, "--clock", 100)
    assert failed.exit_code == 1
    assert failed.stderr == (
        f"error: Even with 4-bit rows only, a frame takes 2,211 cycles {took} "
        f"(45,228.4 frames per second); the target is 90,000 frames per second, 1,111 cycles. {advice}"
    )
    assert not (tmp_path / "q.pt").exists()


def test_budgets_exclude_each_other_and_boards_need_one(qvit_hls: Run, model: Path, tmp_path: Path) -> None:
    common = ("quantize", model, "--calib", model.parent / "images.npz", "-o", tmp_path / "q.pt")
    failed = qvit_hls(*common, "--avg-bits", 5, "--max-cycles", 10, "--free-rows")
    assert failed.exit_code == 1
    assert failed.stderr == (
        "error: --avg-bits, --max-cycles and --free-rows exclude each other; give one of them.\n"
    )
    failed = qvit_hls(*common, "--avg-bits", 5, "--board", "kv260", "--mac", "rtl")
    assert failed.stderr == (
        "error: --board and --mac say where cycles count; give --max-cycles, --target-fps or --free-rows "
        "too.\n"
    )
    failed = qvit_hls(*common, "--free-rows", "--for", tmp_path, "--clock", 100)
    assert failed.stderr == (
        f"error: --for takes board, clock, tile and engine from {tmp_path}: leave out --board, --clock, "
        "--tile and --mac.\n"
    )
    failed = qvit_hls(*common, "--target-fps", 0)
    assert failed.stderr == (
        "error: The target is 0.0 frames per second; it should be a number greater than 0.\n"
    )
    failed = qvit_hls("gen", model, "-o", tmp_path / "b", "--max-cycles", 100, *TILE)
    assert failed.stderr == (
        "error: --tile and --max-cycles exclude each other: one names the accelerator, the other finds it.\n"
    )
    failed = qvit_hls("gen", model, "-o", tmp_path / "b", "--max-cycles", 100, "--for", tmp_path)
    assert failed.stderr == (
        f"error: --for takes board, clock, tile and engine from {tmp_path}: leave out --board, --clock, "
        "--tile, --max-cycles and --mac.\n"
    )
