"""``qvit-hls explore`` and the report files of ``estimate``, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Run

from qvit_hls.flow.explore import preset_graph
from qvit_hls.ir.integer_ops import IntegerLinear
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model

CONFIG = VitConfig(
    image_size=16, channels=1, patch_size=4, classes=3, embed_dim=24,
    blocks=(BlockConfig(heads=2, head_dim=8, mlp_hidden=32),),
)  # fmt: skip
BOARD = (
    "name: tiny\npart: xczu1\nlut: 60000\nff: 120000\ndsp: 200\ndsp_type: DSP48E2\nbram36: 120\nuram: 0\n"
    "usable: 0.9\nweight_ports: 1\nddr_gbytes_per_s: 4\nclock_mhz: 100\n"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_model(random_model(CONFIG, 1), path)
    return path


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("board") / "tiny.yaml"
    path.write_text(BOARD)
    return path


def test_explore_writes_the_pareto_set_and_a_plot(
    qvit_hls: Run, model: Path, board: Path, tmp_path: Path
) -> None:
    options = ("--board", board, "--mac", "rtl", "-o", tmp_path / "out", "--plot", tmp_path / "plot.html")
    result = qvit_hls("explore", model, *options)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "pareto.json").read_text())
    assert found["board"]["name"] == "tiny" and found["clock_mhz"] == 100
    assert found["pareto"][0]["cycles"] == min(design["cycles"] for design in found["pareto"])
    assert found["binding_constraint"]["sentence"] in result.stdout.replace("\n", " ")
    chosen = found["chosen"]
    tile = " x ".join(str(chosen[name]) for name in ("tile_tokens", "tile_rows", "tile_depth"))
    assert any(line.startswith("*") and tile in line for line in result.stdout.splitlines())
    assert (tmp_path / "out" / "explore.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "plot.html").read_text()
    assert page.startswith("<!doctype html>") and "<svg" in page


def test_gen_builds_what_explore_chooses_and_another_model_goes_on_it(
    qvit_hls: Run, model: Path, board: Path, tmp_path: Path
) -> None:
    """Also on a board that only its file knows: the project carries it."""
    qvit_hls("explore", model, "--board", board, "--json", tmp_path / "pareto.json", "--quiet")
    made = qvit_hls("gen", model, "--board", board, "-o", tmp_path / "first", "--quiet")
    assert made.exit_code == 0, made.output
    accelerator = json.loads((tmp_path / "first" / "accelerator.json").read_text())
    assert json.loads((tmp_path / "pareto.json").read_text())["chosen"]["accelerator"] == accelerator
    again = qvit_hls("gen", model, "--for", tmp_path / "first", "-o", tmp_path / "second", "--quiet")
    assert again.exit_code == 0, again.output
    first, second = (
        {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        for folder in (tmp_path / "first", tmp_path / "second")
    )
    assert first == second


def test_the_same_exploration_gives_the_same_bytes(
    qvit_hls: Run, model: Path, board: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        folder = tmp_path / name
        made = qvit_hls(
            "explore", model, "--board", board, "-o", folder, "--plot", folder / "p.html", "--quiet"
        )
        assert made.exit_code == 0, made.output
        assert made.stdout == ""
    for name in ("pareto.json", "explore.png", "p.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_impossible_target_leaves_nothing_behind(
    qvit_hls: Run, model: Path, board: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = qvit_hls("explore", model, "--board", board, "--target-fps", 1e7, "-o", out, "--quiet")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: 10,000,000 frames per second are impossible on tiny: at most ")
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "Name a model file, or a shape with --shape."),
        (
            ("--shape", "deit_huge", "nowhere.pt"),
            "There is no shape 'deit_huge'; shapes are deit_tiny, deit_small, deit_base.\n"
            "error: There is no model file nowhere.pt.",
        ),
        (
            ("--shape", "deit_tiny", "--target-fps", "-3"),
            "The target is -3.0 frames per second; it should be a number greater than 0.",
        ),
        (("--shape", "deit_tiny", "--plot", "x.gif"), "The plot x.gif should end in .png or .html."),
    ],
)
def test_what_cannot_be_explored_is_said(qvit_hls: Run, arguments: tuple[str, ...], problem: str) -> None:
    result = qvit_hls("explore", *arguments, "--quiet")
    assert (result.exit_code, result.stderr) == (1, f"error: {problem}\n")


def test_a_plot_that_cannot_be_written_is_said(
    qvit_hls: Run, model: Path, board: Path, tmp_path: Path
) -> None:
    (tmp_path / "plot.png").mkdir()
    files = ("--plot", tmp_path / "plot.png")
    result = qvit_hls("explore", model, "--board", board, *files, "--quiet")
    problem = f"error: The file {tmp_path / 'plot.png'} cannot be written: Is a directory.\n"
    assert (result.exit_code, result.stderr) == (1, problem)


def test_shapes_have_the_8_bit_rows_and_the_activation_bits_that_are_asked_for() -> None:
    layers = [node for node in preset_graph("deit_tiny", 5, 1.0) if isinstance(node.op, IntegerLinear)]
    assert len(layers) == 1 + 12 * 6 + 1
    assert all((node.op.row_bits == 8).all() for node in layers)
    queries = next(node for node in layers if node.name == "blocks.0.attn.q")
    assert queries.op.qmax == 15


def test_every_problem_of_a_board_file_is_a_line(qvit_hls: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BOARD.replace("lut: 60000", "lut: many").replace("dsp: 200\n", ""))
    result = qvit_hls("gen", model, "--board", path, "-o", tmp_path / "out", "--quiet")
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: {path}: lut is 'many'; it should be a whole number (LUTs of the device)\n"
        f"error: {path}: dsp is missing (DSP slices of the device)\n",
    )
    assert not (tmp_path / "out").exists()
