"""``gen``, ``csim`` and ``estimate`` together, on a small random network."""

from __future__ import annotations

import json
import os
from pathlib import Path

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
    embed_dim=12,
    blocks=(BlockConfig(heads=2, head_dim=4, mlp_hidden=20),),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_model(random_model(CONFIG, seed=1), path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_generated_project_is_equal_to_the_golden_graph(qvit_hls: Run, model: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    made = qvit_hls("gen", model, "-o", build, "--verify-passes", "--onnx", "--tile", 8, 8, 4)
    assert made.exit_code == 0, made.stderr
    assert f"prove it: qvit-hls csim {build}" in made.stdout
    assert (build / "graph.onnx").is_file()
    for variant in ([], ["--packed"]):
        proven = qvit_hls("csim", build, *variant, "--quiet")
        assert proven.exit_code == 0, proven.output
        assert proven.stdout.startswith("equal: 0 mismatches in ")


def test_gen_twice_gives_the_same_bytes(
    qvit_hls: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "elsewhere" / "model.pt"
    copy.parent.mkdir()
    copy.write_bytes(model.read_bytes())
    qvit_hls("gen", model, "-o", tmp_path / "one", "--quiet", "--tile", 8, 8, 4)
    monkeypatch.chdir(copy.parent)
    qvit_hls("gen", "model.pt", "-o", "two", "--quiet", "--tile", 8, 8, 4)
    first, second = contents(tmp_path / "one"), contents(copy.parent / "two")
    assert sorted(first) == sorted(second)
    assert first == second


def test_another_model_runs_on_the_same_accelerator(qvit_hls: Run, model: Path, tmp_path: Path) -> None:
    qvit_hls("gen", model, "-o", tmp_path / "first", "--quiet", "--tile", 8, 8, 4)
    other = tmp_path / "other.pt"
    save_model(random_model(CONFIG, seed=2), other)
    made = qvit_hls("gen", other, "-o", tmp_path / "second", "--for", tmp_path / "first", "--quiet")
    assert made.exit_code == 0, made.stderr
    first, second = contents(tmp_path / "first"), contents(tmp_path / "second")
    changed = {path for path in first if first[path] != second[path]}
    assert "data/weights0.bin" in changed
    assert not {path for path in changed if path.startswith("src/")}
    assert qvit_hls("csim", tmp_path / "second", "--quiet").exit_code == 0


def test_a_model_that_does_not_fit_leaves_nothing_behind(qvit_hls: Run, model: Path, tmp_path: Path) -> None:
    qvit_hls("gen", model, "-o", tmp_path / "first", "--quiet", "--tile", 8, 8, 4)
    wider = tmp_path / "wider.pt"
    save_model(random_model(CONFIG.model_copy(update={"embed_dim": 24}), seed=1), wider)
    made = qvit_hls("gen", wider, "-o", tmp_path / "second", "--for", tmp_path / "first", "--quiet")
    assert made.exit_code == 1
    assert (
        "error: the model needs 24 channels of the residual stream; the accelerator has 12\n" in made.stderr
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "wider.pt"]


@pytest.mark.parametrize("option", [("--clock", 100), ("--mac", "hls")])
def test_for_takes_the_board_from_the_build(
    qvit_hls: Run, model: Path, tmp_path: Path, option: tuple[object, object]
) -> None:
    result = qvit_hls("gen", model, "-o", tmp_path / "out", "--for", tmp_path / "b", *option)
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: --for takes board, clock, tile and engine from {tmp_path / 'b'}: "
        "leave out --board, --clock, --tile and --mac.\n"
    )


def test_an_accelerator_file_of_a_build_is_validated(qvit_hls: Run, model: Path, tmp_path: Path) -> None:
    qvit_hls("gen", model, "-o", tmp_path / "b", "--quiet", "--tile", 8, 8, 4)
    (tmp_path / "b" / "accelerator.json").unlink()
    result = qvit_hls("gen", model, "-o", tmp_path / "out", "--for", tmp_path / "b", "--quiet")
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: The project lacks {tmp_path / 'b' / 'accelerator.json'}. Make it again with qvit-hls gen.\n",
    )


def test_estimate_counts_every_layer(qvit_hls: Run, model: Path) -> None:
    result = qvit_hls("estimate", model, "--json", "--clock", 100, "--tile", 8, 8, 4)
    assert result.exit_code == 0, result.output
    estimate = json.loads(result.stdout)
    assert estimate["clock_mhz"] == 100
    assert estimate["compute_cycles"] == sum(layer["cycles"] for layer in estimate["layers"])
    assert estimate["frames_per_second"] == pytest.approx(100e6 / estimate["cycles"])
    table = qvit_hls("estimate", model, "--clock", 100, "--tile", 8, 8, 4)
    assert f"per frame: {estimate['cycles']:,} cycles" in table.stdout
    assert "blocks.0.attn.scores" in table.stdout


@pytest.mark.parametrize("clock", ["nan", "inf", "0", "-5", "200000000"])
def test_a_clock_that_no_tool_takes_is_refused(
    qvit_hls: Run, model: Path, tmp_path: Path, clock: str
) -> None:
    result = qvit_hls("gen", model, "-o", tmp_path / "b", "--clock", clock)
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: The clock is {float(clock)} MHz; it should be from 1 to 2000 MHz, "
        "such as the 200 MHz of zcu102.\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_a_model_file_name_that_is_no_text_is_taken(qvit_hls: Run, model: Path, tmp_path: Path) -> None:
    strange = tmp_path / os.fsdecode(b"bad\xff.pt")
    strange.write_bytes(model.read_bytes())
    result = qvit_hls("gen", strange, "-o", tmp_path / "b", "--quiet", "--tile", 8, 8, 4)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["model"] == "bad\ufffd"


@pytest.mark.parametrize("content", [b"\xff", b"[" * 200_000])
def test_an_accelerator_file_that_is_no_json_is_refused(
    qvit_hls: Run, model: Path, tmp_path: Path, content: bytes
) -> None:
    qvit_hls("gen", model, "-o", tmp_path / "b", "--quiet", "--tile", 8, 8, 4)
    (tmp_path / "b" / "accelerator.json").write_bytes(content)
    result = qvit_hls("gen", model, "-o", tmp_path / "out", "--for", tmp_path / "b", "--quiet")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {tmp_path / 'b' / 'accelerator.json'} is not JSON: ")
