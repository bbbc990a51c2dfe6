"""``qvit-hls train`` from the command line: one process and two, resumed, and refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_line import Run

from qvit_hls.nets.checkpoint import load_model
from qvit_hls.nets.supernet_file import load_supernet
from qvit_hls.train.metrics import read_metrics

SPACE = {
    "name": "small", "depth": [1, 2], "embed_dim": [8, 16], "heads": [1, 2], "head_dim": [4],
    "mlp_ratio": [1, 2], "eight_bit_share": [0, 0.5, 1],
    "network": {"image_size": 4, "channels": 1, "patch_size": 2, "classes": 2},
}  # fmt: skip
SETTINGS = {
    "steps": 8, "batch_size": 16, "learning_rate": 0.003, "augmentation": {"affine": {}, "mixing": {}},
    "log_every": 1, "checkpoint_every": 3, "ema_decay": 0.9,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A space, settings, and pixels of two classes, dark and bright."""
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(SETTINGS))
    labels = np.arange(64) % 2
    pixels = np.random.default_rng(0).integers(0, 120, (64, 4, 4)) + 120 * labels[:, None, None]
    np.savez(tmp_path / "data.npz", images=pixels.astype(np.uint8), labels=labels)
    return tmp_path


def arguments(folder: Path, out: str, *more: object) -> list[str]:
    return [
        "train", str(folder / "space.yaml"), "--data", str(folder / "data.npz"),
        "--config", str(folder / "settings.yaml"), "-o", str(folder / out), "--cpu", *map(str, more),
    ]  # fmt: skip


def test_a_supernet_and_then_one_of_its_networks(qvit_hls: Run, folder: Path) -> None:
    made = qvit_hls(*arguments(folder, "run", "--val", folder / "data.npz", "--steps", 30, "--set",
                               "quantized_learning_rate=0.01"))  # fmt: skip
    assert made.exit_code == 0, made.output
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["file"] == "supernet.pt" and result["steps"] == 30
    assert set(result["accuracies"]) == {"largest", "smallest"}
    assert f"largest   {result['accuracies']['largest']:7.2%} of the validation images" in made.stdout
    assert "30/30" in made.stderr
    supernet = load_supernet(folder / "run" / "supernet.pt")
    assert supernet.latent.config.mean == supernet.latent.config.std == (0.5,)
    assert any((folder / "run" / "tensorboard").iterdir())
    assert len(list((folder / "run" / "checkpoints").iterdir())) == 3

    from qvit_hls.nets.checkpoint import save_model

    network = supernet.extract(supernet.space.smallest())
    save_model(network, folder / "picked.pt")
    tuned = qvit_hls("train", folder / "picked.pt", "--data", folder / "data.npz", "-o", folder / "tuned",
                     "--steps", 4, "--batch-size", 16, "--cpu", "--quiet")  # fmt: skip
    assert (tuned.exit_code, tuned.output) == (0, "")
    model = load_model(folder / "tuned" / "model.pt")
    assert model.config == network.config
    assert torch.equal(model.patch_embed.row_bits, network.patch_embed.row_bits)
    assert not torch.equal(model.patch_embed.weight, network.patch_embed.weight)


def test_two_processes_have_the_losses_of_one(qvit_hls: Run, folder: Path) -> None:
    assert qvit_hls(*arguments(folder, "one", "--steps", 6, "--val", folder / "data.npz")).exit_code == 0
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
              "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
              "--main_process_port", "0", "-m", "qvit_hls"]  # fmt: skip
    two = subprocess.run(
        [*launch, *arguments(folder, "two", "--steps", 6, "--val", folder / "data.npz")],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert two.returncode == 0, two.stderr
    records = [
        [record for record in read_metrics(folder / name / "metrics.jsonl") if "loss" in record]
        for name in ("one", "two")
    ]
    assert len(records[0]) == 6
    for one, other in zip(*records, strict=True):
        one.pop("images_per_second", None), other.pop("images_per_second", None)
        # From step 4 on codes are rounded: a sum that differs in its last bit may round the other way.
        if one["step"] > 3:
            assert one.pop("gradient_norm") == pytest.approx(other.pop("gradient_norm"), rel=0.1)
        tolerance = 1e-5 if one["step"] <= 4 else 5e-3
        assert one == pytest.approx(other, rel=tolerance, abs=1e-9)
    assert two.stdout.count("wrote") == 1


def test_a_run_goes_on_and_a_changed_one_does_not(qvit_hls: Run, folder: Path) -> None:
    assert qvit_hls(*arguments(folder, "run", "--quiet")).exit_code == 0
    checkpoints = folder / "run" / "checkpoints"
    again = qvit_hls(*arguments(folder, "run", "--quiet"))
    assert (again.exit_code, again.stderr) == (
        1,
        f"error: {folder}/run holds a run already, with the checkpoint step_00000008.pt. Go on with it by "
        "--resume, or choose another folder with -o.\n",
    )
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    changed = qvit_hls(*arguments(folder, "run", "--resume", "--seed", 3, "--quiet"))
    assert (changed.exit_code, changed.stderr) == (
        1,
        f"error: {checkpoints}/step_00000008.pt: seed was 0 and is 3; a resumed run keeps it.\n",
    )
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    supernet = (folder / "run" / "supernet.pt").read_bytes()
    metrics = read_metrics(folder / "run" / "metrics.jsonl")
    (checkpoints / "step_00000008.pt").write_bytes(b"damaged")
    damaged = qvit_hls(*arguments(folder, "run", "--resume", "--quiet"))
    good = checkpoints / "step_00000006.pt"
    assert (damaged.exit_code, damaged.stderr) == (
        1,
        f"error: {checkpoints}/step_00000008.pt is not a checkpoint of a training run, or it is truncated "
        f"or damaged.\n"
        f"error: The newest good checkpoint is {good}; continue from it with --resume-from {good}\n",
    )
    resumed = qvit_hls(*arguments(folder, "run", "--resume-from", good, "--quiet"))
    assert resumed.exit_code == 0, resumed.output
    assert (checkpoints / "step_00000008.pt.aside").read_bytes() == b"damaged"
    assert (folder / "run" / "supernet.pt").read_bytes() == supernet
    after = read_metrics(folder / "run" / "metrics.jsonl")
    for one, other in zip(metrics, after, strict=True):
        one.pop("images_per_second", None), other.pop("images_per_second", None)
        assert one == other


def test_everything_wrong_is_said_and_nothing_written(qvit_hls: Run, folder: Path) -> None:
    def refused(*more: object) -> list[str]:
        result = qvit_hls(*arguments(folder, "run", *more, "--quiet"))
        assert result.exit_code == 1 and not (folder / "run").exists(), result.output
        return result.stderr.splitlines()

    assert refused("--steps", 0, "--augmentation", "some", "--set", "speed=9") == [
        "error: training.steps is 0; it should be greater than or equal to 1.",
        "error: training.augmentation: there is no 'some'; names are none, affine, deit.",
        "error: training.speed is not a setting that this version knows.",
    ]
    assert refused("--set", "ema_decay", "--set", "=1") == [
        "error: --set ema_decay should be NAME=VALUE, such as ema_decay=0.9999.",
        "error: --set =1 should be NAME=VALUE, such as ema_decay=0.9999.",
    ]
    assert refused("--set", "warmup_steps=4") == [
        "error: training: warmup_steps is 4 and the float phase has 4 steps; "
        "it should have more than the warm-up.",
        "error: training: warmup_steps is 4 and the quantized phase has 4 steps; "
        "it should have more than the warm-up.",
    ]
    assert refused("--set", "mean=[0.5, 0.5]", "--set", "std=[0.5]", "--val", "nothing") == [
        "error: training.mean has 2 values; the network has 1 channels, and there should be one for each.",
        "error: There is no nothing; data is an .npz file, a folder of images, or hf:NAME.",
    ]
    assert refused("--float-share", 1) == [
        "error: training.float_share is 1, which leaves no steps with quantization; it should be less."
    ]
    assert refused("--batch-size", 15) == [
        "error: batch_size is 15, for 1 processes with 1 parts each, and images are mixed in groups of 2; "
        "it should be a multiple of 2.",
    ]
    assert refused("--resume") == [
        f"error: There is no run in {folder}/run to resume; begin one without --resume."
    ]
    (folder / "settings.yaml").write_text("- 1")
    assert refused() == [
        f"error: {folder}/settings.yaml should be a mapping of training settings, such as 'steps: 10000'."
    ]


@pytest.mark.parametrize(("teacher", "package"), [("timm:deit3", "timm"), ("hf:deit", "transformers")])
def test_a_teacher_without_its_package_is_said(
    qvit_hls: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, teacher: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = qvit_hls(*arguments(folder, "run", "--set", f"teacher={teacher}", "--quiet"))
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: The teacher {teacher} needs the package {package}; install it with: pip install {package}\n",
    )
    assert not (folder / "run").exists()


def test_processes_launched_for_another_precision_are_refused(
    qvit_hls: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    result = qvit_hls(*arguments(folder, "run", "--quiet"))
    assert (result.exit_code, result.stderr) == (
        1,
        "error: The processes were launched for bfloat16, and the settings say float32; "
        "say precision: bfloat16 in the settings, or launch with --mixed_precision no.\n",
    )


def test_a_run_of_no_stated_length_is_refused_in_one_line(qvit_hls: Run, folder: Path) -> None:
    refused = qvit_hls("train", "digits", "--data", folder / "data.npz", "-o", folder / "run", "--cpu")
    assert (refused.exit_code, refused.stderr.strip()) == (
        1,
        "error: training.steps is missing; say how many, such as --steps 5000.",
    )
    assert not (folder / "run").exists()
