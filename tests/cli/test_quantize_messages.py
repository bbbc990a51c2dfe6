"""What ``quantize`` says of models, weights, images and values that cannot be quantized: whole messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Run
from safetensors.torch import save_file
from torch import Tensor

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
Said = Callable[..., list[str]]


@pytest.fixture
def said(qvit_hls: Run, tmp_path: Path) -> Said:
    """Messages of a ``quantize`` that fails and writes nothing."""
    images = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "images.npz", images=images)

    def run(model: object, *arguments: object) -> list[str]:
        calibration = () if "--calib" in arguments else ("--calib", tmp_path / "images.npz")
        out = tmp_path / "q.pt"
        failed = qvit_hls(
            "quantize", model, *calibration, *arguments, "--method", "mse", "-o", out, "--quiet"
        )
        assert failed.exit_code == 1 and not out.exists()
        lines = failed.stderr.splitlines()
        assert all(line.startswith("error: ") for line in lines), failed.output
        return [line.removeprefix("error: ") for line in lines]

    return run


def model_with(path: Path, change: Callable[[Tensor], Tensor], *names: str) -> Path:
    """A model file in which some parameters are changed."""
    model = random_model(CONFIG, seed=1)
    with torch.no_grad():
        for name in names:
            parameter = model.get_parameter(name)
            parameter.copy_(change(parameter))
    save_model(model, path)
    return path


@pytest.mark.usefixtures("importable_timm")
def test_an_unknown_name_is_said_with_those_nearest(said: Said) -> None:
    timm = pytest.importorskip("timm")
    assert said("timm:deit_tinny_patch16_224") == [
        "timm has no model deit_tinny_patch16_224. Nearest names: deit_tiny_patch16_224, "
        "vit_tiny_patch16_224, vit_tiny_patch16_384."
    ]
    assert said("timm:qqqqqqq") == [
        f"timm has no model qqqqqqq; timm.list_models() gives the names of all {len(timm.list_models()):,}."
    ]
    assert said("torchvision:vit_b_16") == [
        "The model torchvision:vit_b_16 cannot be found; a model is timm:NAME, hf:NAME, or a folder with a "
        "config.json of transformers or timm."
    ]


@pytest.mark.usefixtures("importable_timm")
def test_every_tensor_that_does_not_fit_is_said(said: Said, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    name, file = "timm:deit_tiny_patch16_224", tmp_path / "weights.safetensors"
    assert said(name) == [
        f"{name} has no weights, and nothing is downloaded; name a safetensors file with all of its tensors "
        "(--weights)."
    ]
    assert said(name, "--weights", file) == [f"There is no weights file {file}."]
    tensors = dict(timm.create_model("deit_tiny_patch16_224", pretrained=False).state_dict())
    whole = dict(tensors)
    del tensors["norm.weight"]
    tensors |= {"extra.weight": torch.zeros(3), "head.weight": torch.zeros(10, 192)}
    save_file(tensors, file)
    assert said(name, "--weights", file) == [
        f"The weights {file} do not fit {name}.",
        "Tensor norm.weight is missing; it should be float32 of shape [192].",
        "Tensor head.weight is float32 of shape [10, 192]; it should be float32 of shape [1000, 192].",
        "Tensor extra.weight does not belong to the model that the configuration describes.",
    ]
    whole["head.bias"] = torch.full((1000,), float("inf"))
    save_file(whole, file)
    assert said(name, "--weights", file) == [
        f"The weights {file} cannot be used.",
        "Tensor head.bias has NaN or infinite values; all should be finite.",
    ]


def test_calibration_images_that_are_none_are_said(said: Said, tmp_path: Path) -> None:
    save_model(random_model(CONFIG, seed=1), tmp_path / "model.pt")
    model, nowhere = tmp_path / "model.pt", tmp_path / "nowhere"
    assert said(model, "--calib", nowhere) == [
        f"There is no file or folder {nowhere}; calibration images are an .npz file with an array 'images', "
        "or a folder of image files."
    ]
    np.savez(tmp_path / "other.npz", **{f"x{i}": np.zeros(1) for i in range(8)})
    assert said(model, "--calib", tmp_path / "other.npz") == [
        f"{tmp_path / 'other.npz'} has no array 'images'; its arrays are: x0, x1, x2, x3, x4 and 3 more. "
        "Save with: np.savez(path, images=x)"
    ]
    np.savez(tmp_path / "nan.npz", images=np.full((2, 1, 8, 8), np.nan, np.float32))
    assert said(model, "--calib", tmp_path / "nan.npz") == [
        f"{tmp_path / 'nan.npz'}: 'images' contains NaN or infinity in 2 of 2 images (the first is image 0); "
        "every value must be finite."
    ]


def test_values_that_are_always_zero_are_said(said: Said, tmp_path: Path) -> None:
    names = ("blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc1.bias")
    model = model_with(tmp_path / "model.pt", torch.zeros_like, *names)
    assert said(model) == [
        f"{name}: the value is 0 for all 4 calibration images, so its range is empty and no step follows "
        "from it; calibrate with other images, or remove what computes it."
        for name in ("blocks.0.mlp.fc1", "blocks.0.mlp.gelu")
    ]


def test_values_that_are_not_finite_are_said_where_they_arise(said: Said, tmp_path: Path) -> None:
    names = ("blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.weight")
    model = model_with(tmp_path / "model.pt", lambda x: x * 1e30, *names)
    assert said(model) == [
        "blocks.0.mlp.fc2: the value contains NaN or infinity for a calibration image; a network can be "
        "quantized only where every value is finite."
    ]
