"""``quantize`` from file to file, and that what it writes goes through gen and csim."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Run
from PIL import Image

from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model
from qvit_hls.ptq.methods import METHODS

CONFIG = VitConfig(
    image_size=8,
    channels=1,
    patch_size=4,
    classes=3,
    embed_dim=12,
    blocks=(BlockConfig(heads=2, head_dim=4, mlp_hidden=20),),
    mean=(0.5,),
    std=(0.25,),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``model.pt`` and ``images.npz``."""
    folder = tmp_path_factory.mktemp("float")
    save_model(random_model(CONFIG, seed=1), folder / "model.pt")
    generator = np.random.default_rng(0)
    images = generator.normal(size=(10, 1, 8, 8)).astype(np.float32)
    np.savez(folder / "images.npz", images=images, labels=np.arange(10) % 3)
    return folder


def test_a_quantized_network_becomes_a_proved_project(qvit_hls: Run, files: Path, tmp_path: Path) -> None:
    """With what only some methods use: shifts of LayerNorm's channels, and exponents that are powers."""
    out, report = tmp_path / "q.pt", tmp_path / "report.json"
    made = qvit_hls(
        "quantize", files / "model.pt", "--calib", files / "images.npz", "-o", out, "--avg-bits", 5,
        "--method", "fqvit", "--set", "shifts.largest=2", "--report", report, "--cache", tmp_path / "cache",
    )  # fmt: skip
    assert made.exit_code == 0, made.stderr
    assert "fqvit, 10 calibration images; weights of 4.9" in made.stdout
    found = json.loads(report.read_text())
    assert found["average_weight_bits"] == pytest.approx(5, abs=0.05)
    assert found["method_settings"] == {
        "shifts": "LeastChannelError", "shifts.largest": 2, "softmax_levels": 1,
    }  # fmt: skip
    assert found["images"] == found["calibration_images"] == 10
    assert abs(found["top1"]["integer"] - found["top1"]["quantized"]) <= 0.1
    ratios = [layer["sqnr_db"] for layer in found["layers"]]
    assert ratios == sorted(ratios) and ratios[0] > 5
    assert sum(layer["eight_bit"] for layer in found["rows"].values()) > 0
    assert len(list((tmp_path / "cache").iterdir())) == 1
    build = tmp_path / "build"
    assert qvit_hls("gen", out, "-o", build, "--quiet", "--tile", 8, 8, 4).exit_code == 0
    proven = qvit_hls("csim", build, "--quiet")
    assert proven.exit_code == 0, proven.output
    assert proven.stdout.startswith("equal: 0 mismatches in ")
    refused = qvit_hls("quantize", out, "--calib", files / "images.npz", "-o", tmp_path / "twice.pt")
    assert refused.exit_code == 1
    assert refused.stderr == (
        f"error: {out} is quantized already; post-training quantization starts from a float network.\n"
    )


def test_all_wrong_settings_are_said_and_nothing_is_written(
    qvit_hls: Run, files: Path, tmp_path: Path
) -> None:
    out = tmp_path / "q.pt"
    failed = qvit_hls(
        "quantize", files / "model.pt", "--calib", files / "images.npz", "-o", out, "--method", "magic",
        "--bits", 3, "--avg-bits", 5, "--eight-bit-share", 0.5, "--report", tmp_path,
    )  # fmt: skip
    assert failed.exit_code == 1
    assert failed.stderr.splitlines() == [
        f"error: {tmp_path} is a folder; it should be the name of a file to write.",
        f"error: There is no method magic; methods are {', '.join(METHODS)}.",
        "error: The activation grid is to have 3 bits; it should have 4 to 8.",
        "error: --eight-bit-share and --avg-bits exclude each other; give one of them.",
    ]
    assert not out.exists()


def test_settings_that_the_method_does_not_have_are_said(qvit_hls: Run, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.pt"
    failed = qvit_hls(
        "quantize", files / "model.pt", "--calib", files / "images.npz", "-o", out, "--method", "mse",
        "--set", "norm=0", "--set", "percentile=99", "--bits", 9,
    )  # fmt: skip
    assert failed.exit_code == 1 and not out.exists()
    assert failed.stderr.splitlines() == [
        "error: Method mse has no setting percentile; its settings are norm.",
        "error: The norm is 0; it should be greater than 0.",
        "error: The activation grid is to have 9 bits; it should have 4 to 8.",
    ]


def test_calibration_images_may_be_files_in_a_folder(qvit_hls: Run, files: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    generator = np.random.default_rng(1)
    for path in ("b.png", "a.png", "more/c.png"):
        Image.fromarray(generator.integers(0, 256, (12, 9), dtype=np.uint8)).save(folder / path)
    out = tmp_path / "q.pt"
    arguments = ("quantize", files / "model.pt", "--calib", folder, "-o", out, "--method", "mse")
    made = qvit_hls(*arguments)
    assert made.exit_code == 0, made.stderr
    assert "mse, 3 calibration images" in made.stdout
    out.unlink()
    (folder / "notes.txt").write_text("not an image")
    (folder / "b.png").write_bytes(b"damaged")
    failed = qvit_hls(*arguments)
    assert failed.exit_code == 1
    assert failed.stderr.splitlines() == [
        f"error: {folder} holds what is no image: {folder / 'notes.txt'}.",
        f"error: The image {folder / 'b.png'} cannot be read: cannot identify image file "
        f"{str(folder / 'b.png')!r}.",
    ]
    assert not out.exists()


def test_too_few_images_are_refused(qvit_hls: Run, files: Path, tmp_path: Path) -> None:
    failed = qvit_hls(
        "quantize", files / "model.pt", "--calib", files / "images.npz", "--images", 2, "--quiet",
        "-o", tmp_path / "q.pt",
    )  # fmt: skip
    assert failed.exit_code == 1
    assert failed.stderr == "error: There are 2 calibration images; the method needs at least 8.\n"


@pytest.mark.usefixtures("importable_timm")  # transformers imports torchvision as timm does
def test_a_classifier_of_transformers_becomes_a_proved_project(qvit_hls: Run, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=16, patch_size=8, hidden_size=24, intermediate_size=32, num_attention_heads=3,
        num_hidden_layers=2, num_labels=5,
    )  # fmt: skip
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    normalisation = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(normalisation))
    folder, out = tmp_path / "images", tmp_path / "q.pt"
    folder.mkdir()
    generator = np.random.default_rng(2)
    for index in range(8):
        pixels = generator.integers(0, 256, (20, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    made = qvit_hls("quantize", tmp_path / "vit", "--calib", folder, "-o", out, "--quiet", "--method", "mse")
    assert made.exit_code == 0, made.stderr
    build = tmp_path / "build"
    assert qvit_hls("gen", out, "-o", build, "--quiet", "--tile", 8, 8, 4).exit_code == 0
    proven = qvit_hls("csim", build, "--quiet")
    assert proven.exit_code == 0, proven.output
    assert proven.stdout.startswith("equal: 0 mismatches in ")


def test_what_is_no_model_is_said(qvit_hls: Run, files: Path, tmp_path: Path) -> None:
    common = ("--calib", files / "images.npz", "-o", tmp_path / "q.pt", "--quiet")
    failed = qvit_hls("quantize", files / "model.pt", "--weights", files / "w.safetensors", *common)
    assert failed.exit_code == 1
    assert failed.stderr == (
        f"error: {files / 'model.pt'} has its weights and classes; --weights and --classes are for models of "
        "timm and transformers.\n"
    )
    failed = qvit_hls("quantize", tmp_path / "nothing", *common)
    assert failed.exit_code == 1
    assert failed.stderr == (
        f"error: There is no folder {tmp_path / 'nothing'}; a model is timm:NAME, hf:NAME, or a folder with "
        "a config.json of transformers or timm.\n"
    )
