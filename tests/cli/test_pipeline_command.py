"""``qvit-hls pipeline`` from the command line: to a proved project, kept, changed, killed, and refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from command_line import Run

from qvit_hls.cli.main import main
from qvit_hls.nets.checkpoint import load_model
from qvit_hls.nets.space import load_space
from qvit_hls.nets.subnet import Subnet
from qvit_hls.nets.supernet_file import load_supernet

SPACE = {
    "name": "small", "depth": [1, 2], "embed_dim": [8, 16], "heads": [1, 2], "head_dim": [4],
    "mlp_ratio": [1, 2], "eight_bit_share": [0, 0.5, 1],
    "network": {"image_size": 4, "channels": 1, "patch_size": 2, "classes": 3},
}  # fmt: skip
RUN: dict[str, Any] = {
    "data": {"train": "train.npz", "validation": "validation.npz", "test": "test.npz"},
    "supernet": {
        "space": "space.yaml",
        "training": {"steps": 60, "batch_size": 16, "learning_rate": 0.003, "checkpoint_every": 3},
    },
    "search": {"accelerator": "4,8,4", "clock_mhz": 200, "target_fps": [20000], "trials": 8},
    "tune": {"steps": 6, "batch_size": 16, "checkpoint_every": 2},
    "proof": {"images": 48},
}
STEPS = ["supernet", "search", "images", "fps_20000/inherited", "fps_20000/tuned", "fps_20000/accuracy",
         "fps_20000/rtl", "fps_20000/rtl_proof"]  # fmt: skip
PROJECT = Path("fps_20000") / "rtl"


def _command(folder: Path, out: Path) -> list[str]:
    return ["pipeline", str(folder / "run.yaml"), "-o", str(out), "--cpu"]


def _run(folder: Path, out: Path) -> Result:
    result = CliRunner().invoke(main, _command(folder, out))
    assert result.exit_code == 0, result.output
    return result


def _said(result: Result) -> dict[str, str]:
    """Steps that were run, with the reason; those that were kept have none."""
    lines = [line for line in result.stderr.splitlines() if line.startswith(("kept  ", "run   "))]
    found = {}
    for line in lines:
        step, _, reason = line[6:].partition(": ")
        assert (line.startswith("run")) == bool(reason)
        found[step] = reason
    return found


def _files(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "pipeline.json")
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A folder with a pipeline of three classes of brightness, and its result in ``out``."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    (folder / "run.yaml").write_text(yaml.safe_dump(RUN))
    for seed, name in enumerate(("train", "validation", "test")):
        labels = np.arange(48) % 3
        pixels = np.random.default_rng(seed).integers(0, 120, (48, 4, 4)) + 60 * labels[:, None, None]
        np.savez(folder / f"{name}.npz", images=pixels.astype(np.uint8), labels=labels)
    return folder, _run(folder, folder / "out")


@pytest.fixture
def again(made: tuple[Path, Result], tmp_path: Path) -> Path:
    """A copy of the pipeline and all it has made."""
    return Path(shutil.copytree(made[0], tmp_path / "again"))


def test_one_command_makes_a_project_that_is_proved(made: tuple[Path, Result]) -> None:
    folder, result = made
    out = folder / "out"
    assert list(_said(result)) == STEPS
    found = json.loads((out / "pipeline.json").read_text())
    (project,) = found["projects"]
    assert project["frames_per_second"] == pytest.approx(200e6 / project["cycles"], abs=1e-3)
    assert project["frames_per_second"] >= project["target_fps"] == 20000
    subnet = Subnet.of_key(json.dumps(project["subnet"]))
    tuned = load_model(out / project["model"])
    inherited = load_supernet(out / "supernet" / "supernet.pt").extract(subnet)
    assert tuned.config == inherited.config
    assert tuned.config.blocks == load_space(str(folder / "space.yaml")).config(subnet).blocks
    assert not (tuned.patch_embed.weight == inherited.patch_embed.weight).all()
    # The simulated project is right about as many images as its integer graph, to the last value.
    csim = project["proof"]["csim"]
    assert csim["equal"] and csim["images"] == project["top1"]["images"] == 48
    assert csim["top1"] == project["top1"]["integer"] > 0.5
    report = json.loads((out / project["project"] / "reports" / "csim-functional.json").read_text())
    assert report["passed"] and report["mismatches"] == 0 and report["values"] == csim["values"] > 0
    assert f"{project['cycles']:,}" in result.stdout and "equal (48 images)" in result.stdout
    assert f"{project['accelerator']['lut']:,}" in result.stdout
    assert (out / "search" / "front.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_done_is_kept(made: tuple[Path, Result]) -> None:
    folder, first = made
    before, outcome = _files(folder), (folder / "out" / "pipeline.json").read_bytes()
    result = _run(folder, folder / "out")
    assert _said(result) == dict.fromkeys(STEPS, "")
    assert _files(folder) == before
    assert (folder / "out" / "pipeline.json").read_bytes() == outcome
    assert result.stdout == first.stdout


def test_a_changed_setting_runs_what_depends_on_it(again: Path) -> None:
    out, changed = again / "out", {**RUN, "tune": {**RUN["tune"], "steps": 8, "log_every": 1}}
    (again / "run.yaml").write_text(yaml.safe_dump(changed))
    before = (out / "fps_20000" / "tuned" / "model.pt").read_bytes()
    said = _said(_run(again, out))
    assert [step for step in STEPS if not said[step]] == STEPS[:4]
    assert said["fps_20000/tuned"] == "tune.steps was 6 and is 8"
    assert said["fps_20000/rtl"] == "model has changed"
    assert (out / "fps_20000" / "tuned" / "model.pt").read_bytes() != before
    # What is done again with the same outcome changes nothing after it.
    (out / "supernet" / "supernet.pt").write_bytes(b"damaged")
    said = _said(_run(again, out))
    assert said == {**dict.fromkeys(STEPS, ""), "supernet": "supernet.pt is not as it was written"}


def test_killed_anywhere_it_comes_to_the_same(made: tuple[Path, Result], tmp_path: Path) -> None:
    folder, _ = made
    out = tmp_path / "out"
    # In the training of the supernet, in the search, and with the project half written or unproved.
    for sign in ("supernet/work/checkpoints/*.pt", "search/work/study.db", "fps_20000.rtl*/*"):
        process = subprocess.Popen(
            [sys.executable, "-m", "qvit_hls", *_command(folder, out)],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        limit = time.monotonic() + 180
        while not any((out / ".partial").glob(sign)):
            assert process.poll() is None and time.monotonic() < limit, process.communicate()[1]
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (out / "pipeline.json").exists()
    said = _said(_run(folder, out))
    assert not any(said[step] for step in STEPS[:6])
    for name in (
        "pipeline.json",
        "supernet/supernet.pt",
        "fps_20000/tuned/model.pt",
        PROJECT / "weights.bin",
    ):
        if (folder / "out" / name).exists():
            assert (out / name).read_bytes() == (folder / "out" / name).read_bytes(), name
    assert list((out / ".partial").iterdir()) == []


def test_everything_wrong_is_said_and_nothing_written(qvit_hls: Run, made: tuple[Path, Result]) -> None:
    folder, _ = made

    def refused(settings: object) -> list[str]:
        (folder / "bad.yaml").write_text(settings if isinstance(settings, str) else yaml.safe_dump(settings))
        result = qvit_hls("pipeline", folder / "bad.yaml", "-o", folder / "none", "--quiet")
        assert result.exit_code == 1 and not (folder / "none").exists(), result.output
        return [line.removeprefix("error: ") for line in result.stderr.splitlines()]

    assert refused({
        "data": {**RUN["data"], "more": 1}, "supernet": {"space": "digits"},
        "search": {**RUN["search"], "target_fps": [], "trials": 0}, "tune": {"stepz": 1}, "engines": ["vhdl"],
    }) == [
        "pipeline.data.more is not a setting that this version knows.",
        "pipeline.supernet: training is missing; give space and training, or the file of a supernet.",
        "pipeline.search.target_fps: the list is empty; it should have at least one item.",
        "pipeline.search.trials is 0; it should be greater than or equal to 1.",
        "pipeline.tune.steps is missing.",
        "pipeline.tune.stepz is not a setting that this version knows.",
        "pipeline.engines[0] is 'vhdl'; it should be 'hls' or 'rtl'.",
    ]  # fmt: skip
    assert refused({
        **RUN, "data": {**RUN["data"], "train": "nothing.npz", "test": "nothing"}, "proof": {"images": 50},
        "search": {**RUN["search"], "board": "zcu999", "images": 99},
    }) == [
        "unknown board 'zcu999'; known boards: kv260, zcu102, zcu104; any other board is the path of a .yaml "
        "file with the same keys",
        f"There is no file {folder}/nothing.npz.",
        f"{folder}/validation.npz holds 48 images, but 99 are asked for.",
        f"There is no {folder}/nothing; data is an .npz file, a folder of images, or hf:NAME.",
    ]  # fmt: skip
    np.savez(folder / "wide.npz", images=np.zeros((48, 1, 4, 5)), labels=np.zeros(48, int))
    assert refused({
        **RUN, "data": {**RUN["data"], "test": "wide.npz"},
        "tune": {"steps": 2, "batch_size": 3, "augmentation": "deit", "mean": [0.5, 0.5], "std": [1, 1]},
    }) == [
        f"{folder}/wide.npz: An image has the shape [1, 4, 5]; the network takes [1, 4, 4].",
        "tune: batch_size is 3, for 1 processes with 1 parts each, and images are mixed in groups of 2; "
        "it should be a multiple of 2.",
        "tune.mean has 2 values; the network has 1 channels, and there should be one for each.",
        "tune.std has 2 values; the network has 1 channels, and there should be one for each.",
    ]  # fmt: skip
    assert refused({**RUN, "engines": ["rtl", "hls", "rtl"]}) == [
        "pipeline: engines is ['rtl', 'hls', 'rtl']; each should be named once."
    ]
    assert refused({**RUN, "engines": ["hls"], "proof": {"cosim_images": 1}}) == [
        "pipeline: proof.cosim_images is 1, and engines has no rtl; only its projects can be simulated so."
    ]
    assert refused("- 1") == [f"{folder}/bad.yaml should be a mapping with data, supernet, search and tune."]
    missing = qvit_hls("pipeline", folder / "no.yaml", "-o", folder / "none")
    assert (
        missing.stderr
        == f"error: There is no file {folder}/no.yaml; it should be a YAML file of a pipeline.\n"
    )


@pytest.mark.parametrize(
    ("search", "problem"),
    [
        ({"target_fps": [20000, 1e9]}, "The target of 1e+09 frames per second is out of reach: "),
        ({"accelerator": "4,8,3"}, "tile 4,8,3 cannot be built: "),
    ],
)
def test_what_the_search_would_refuse_is_said_before_the_training(
    qvit_hls: Run, made: tuple[Path, Result], search: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    folder, _ = made
    (folder / "beyond.yaml").write_text(yaml.safe_dump({**RUN, "search": {**RUN["search"], **search}}))
    result = qvit_hls("pipeline", folder / "beyond.yaml", "-o", tmp_path / "out", "--quiet")
    assert result.exit_code == 1 and result.stderr.startswith(f"error: {problem}"), result.output
    assert not list(tmp_path.rglob("*.pt"))
