"""The model file: round trip, and every kind of bad file refused with its message."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qvit_hls.errors import QvitError
from qvit_hls.nets.checkpoint import load_model, save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model
from qvit_hls.nets.vit import QuantVisionTransformer

CONFIG = VitConfig(
    image_size=8,
    channels=1,
    patch_size=4,
    classes=5,
    embed_dim=16,
    blocks=(BlockConfig(heads=2, head_dim=8, mlp_hidden=24),) * 2,
    layer_scale=True,
    class_names=("a", "b", "c", "d", "e"),
    layer_eight_bit_share={"head": 0.5},
)


@pytest.fixture(scope="module")
def model() -> QuantVisionTransformer:
    return random_model(CONFIG, seed=0)


@pytest.fixture
def file(model: QuantVisionTransformer, tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    save_model(model, path)
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(QvitError) as caught:
        load_model(path)
    return list(caught.value.problems)


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = torch.load(path, weights_only=True)
    edit(content)
    torch.save(content, path)


def test_a_saved_model_comes_back_equal(model: QuantVisionTransformer, file: Path) -> None:
    loaded = load_model(file)
    assert loaded.config == model.config
    assert not loaded.training
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(loaded(x), model(x))
    trainable = {name: p.requires_grad for name, p in loaded.named_parameters()}
    assert trainable == {name: True for name, _ in model.named_parameters()}


def test_the_same_model_gives_the_same_bytes(
    model: QuantVisionTransformer, file: Path, tmp_path: Path
) -> None:
    save_model(model, tmp_path / "other.pt")
    assert (tmp_path / "other.pt").read_bytes() == file.read_bytes()


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    model: QuantVisionTransformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"old")

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match=r"^disk full$"):
        save_model(model, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none.pt"
    assert problems(path) == [f"There is no model file {path}."]


def test_a_folder(tmp_path: Path) -> None:
    assert problems(tmp_path) == [f"{tmp_path} is a folder; it should be a model file such as model.pt."]


NOT_A_CHECKPOINT = (
    "{} is not a model file, or it is truncated or damaged; it should be a file that save_model wrote."
)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    assert problems(file) == [NOT_A_CHECKPOINT.format(file)]


@pytest.mark.parametrize("content", [b"hello", b"\x00" * 100, b"PK\x03\x04" + b"x" * 50])
def test_a_file_that_is_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    assert problems(path) == [NOT_A_CHECKPOINT.format(path)]


class Payload:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("write", ["torch", "torch-legacy", "pickle 2", "pickle 4"])
def test_code_in_a_pickle_is_refused_and_does_not_run(tmp_path: Path, write: str) -> None:
    path, trace = tmp_path / "model.pt", tmp_path / "ran"
    content = {"format": "qvit-hls model", "version": 1, "config": Payload(f"touch {trace}"), "tensors": {}}
    if write.startswith("pickle"):
        path.write_bytes(pickle.dumps(content, protocol=int(write[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=write == "torch")
    if write == "torch":
        expected = (
            f"{path} contains code or Python objects ({os.system.__module__}.system), which were not loaded; "
            "a model file holds tensors and plain values only, as save_model writes it."
        )
    else:
        expected = (
            f"{path} is a plain pickle, which may contain code; it was not loaded. "
            "A model file is an archive of tensors, as save_model writes it."
        )
    assert problems(path) == [expected]
    assert not trace.exists()


def test_a_checkpoint_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.zeros(3)}, path)
    assert problems(path) == [
        f"{path} is a torch checkpoint but not a qvit-hls model; "
        'it should be a dictionary whose "format" is "qvit-hls model".'
    ]


def test_another_version(file: Path) -> None:
    change(file, lambda c: c.update(version=7))
    assert problems(file) == [f"{file} has model format version 7; this program reads version 1."]


def test_entries_missing_and_unknown(file: Path) -> None:
    change(file, lambda c: (c.pop("config"), c.update(extra=1)))
    assert problems(file) == [f'{file} has no entry "config".', f'{file} has an unknown entry "extra".']


def test_tensors_that_are_no_dictionary(file: Path) -> None:
    change(file, lambda c: c.update(tensors=[1, 2]))
    assert problems(file) == [f'The entry "tensors" of {file} should be a dictionary of tensors by name.']


def test_an_invalid_configuration_is_described_completely(file: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["config"]["embed_dim"] = 4096
        content["config"]["blocks"][1]["heads"] = 0
        content["config"]["activation"] = "swish"
        content["config"]["colour"] = "red"
        del content["config"]["classes"]

    change(file, edit)
    assert problems(file) == [
        "config.classes is missing.",
        "config.embed_dim is 4096; it should be less than or equal to 2048.",
        "config.blocks[1].heads is 0; it should be greater than or equal to 1.",
        "config.activation is 'swish'; it should be 'gelu', 'gelu_tanh', 'relu' or 'silu'.",
        "config.colour is not a setting that this version knows.",
    ]


def test_a_configuration_that_is_no_mapping(file: Path) -> None:
    change(file, lambda c: c.update(config=[1]))
    assert problems(file) == ["config is [1]; it should be a mapping of settings."]


def test_bad_tensors_are_all_listed(file: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        tensors = content["tensors"]
        del tensors["cls_token"]
        tensors["pos_embed"] = tensors["pos_embed"][:, 1:]
        tensors["head.bias"] = tensors["head.bias"].double()
        tensors["head.weight"][1, 2] = float("nan")
        tensors["patch_embed.bias"] = [0.0] * 16
        tensors["blocks.2.mlp.fc1.weight"] = torch.zeros(1)

    change(file, edit)
    assert problems(file) == [
        "Tensor cls_token is missing; it should be float32 of shape [1, 1, 16].",
        "Tensor pos_embed is float32 of shape [1, 4, 16]; it should be float32 of shape [1, 5, 16].",
        "Tensor patch_embed.bias is not a dense tensor; it should be float32 of shape [16].",
        "Tensor head.weight has NaN or infinite values (1 of 80); all should be finite.",
        "Tensor head.bias is float64 of shape [5]; it should be float32 of shape [5].",
        "Tensor blocks.2.mlp.fc1.weight does not belong to the model that the configuration describes.",
    ]


def test_rows_of_other_widths(file: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["tensors"]["blocks.1.mlp.fc1.row_bits"][5] = 6
        content["tensors"]["head.row_bits"][:] = 0

    change(file, edit)
    assert problems(file) == [
        "Row 5 of blocks.1.mlp.fc1 has 6-bit weights; rows are 4 or 8 bit.",
        "Row 0 of head has 0-bit weights; rows are 4 or 8 bit.",
        "Row 1 of head has 0-bit weights; rows are 4 or 8 bit.",
        "Row 2 of head has 0-bit weights; rows are 4 or 8 bit.",
        "Row 3 of head has 0-bit weights; rows are 4 or 8 bit.",
        "The same is wrong in more rows of head: 1.",
    ]


def test_steps_that_are_not_positive(file: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["tensors"]["input_quant.scale"].fill_(0.0)
        content["tensors"]["blocks.0.attn.q.row_scale"][3] = -0.5
        content["tensors"]["blocks.0.attn.score_quant.scale"].fill_(0.25)

    change(file, edit)
    assert problems(file) == [
        "Tensor input_quant.scale is 0; steps are greater than 0.",
        "Row 3 of blocks.0.attn.q has the step -0.5; steps are greater than 0.",
        "Tensor blocks.0.attn.score_quant.scale is 0.25; it should be config.score_step, 0.03125.",
    ]


def test_a_bias_that_its_integer_format_cannot_hold(file: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["tensors"]["head.bias"][2] = 1000.0
        content["tensors"]["head.row_scale"][2] = 0.0009765625
        content["tensors"]["norm_quant.scale"].fill_(0.0009765625)

    change(file, edit)
    assert problems(file) == [
        "Row 2 of head has the bias 1000, which is 1.05e+09 times the row's step times the input's step; "
        "it should be less than 536870912 times."
    ]
