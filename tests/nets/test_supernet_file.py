"""A supernet file gives back the supernet, and says all that is wrong with a file that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qvit_hls.errors import QvitError
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.space import SearchSpace, space_of
from qvit_hls.nets.supernet import Supernet
from qvit_hls.nets.supernet_file import load_supernet, save_supernet


def _space() -> SearchSpace:
    return space_of(
        {
            "name": "small",
            "depth": [1, 2],
            "embed_dim": [8, 12],
            "heads": [1, 2],
            "head_dim": [4],
            "mlp_ratio": [1.5, 2],
            "eight_bit_share": [0, 0.5],
            "network": {"image_size": 4, "channels": 1, "patch_size": 2, "classes": 3},
        },
        "small",
    )


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    torch.manual_seed(0)
    result = Supernet(_space())
    result.calibrate(torch.randn(8, 1, 4, 4))
    return result.eval()


@pytest.fixture
def path(supernet: Supernet, tmp_path: Path) -> Path:
    save_supernet(supernet, tmp_path / "supernet.pt")
    return tmp_path / "supernet.pt"


def _changed(path: Path, change: Any) -> list[str]:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(QvitError) as refused:
        load_supernet(path)
    return list(refused.value.problems)


def test_every_network_of_a_loaded_supernet_is_the_saved_one(supernet: Supernet, path: Path) -> None:
    loaded = load_supernet(path)
    assert loaded.space == supernet.space
    assert not loaded.training
    images, generator = torch.randn(2, 1, 4, 4), np.random.default_rng(1)
    with torch.no_grad():
        for _ in range(8):
            subnet = supernet.space.sample(generator)
            assert torch.equal(loaded(images, subnet), supernet(images, subnet))


def test_a_loaded_supernet_can_be_trained(path: Path) -> None:
    loaded = load_supernet(path)
    loaded(torch.randn(2, 1, 4, 4), loaded.space.largest()).sum().backward()
    gradient = loaded.latent.get_submodule("head").weight.grad
    assert gradient is not None and gradient.abs().sum() > 0


def test_the_same_supernet_gives_the_same_bytes(supernet: Supernet, path: Path, tmp_path: Path) -> None:
    save_supernet(load_supernet(path), tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == path.read_bytes()


def test_every_wrong_tensor_is_named(path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        tensors = content["tensors"]
        del tensors["latent.pos_embed"]
        tensors["latent.head.bias"] = torch.zeros(4)
        tensors["stray"] = torch.zeros(1)

    assert _changed(path, change) == [
        f"{path}: Tensor latent.pos_embed is missing; it should be float32 of shape [1, 5, 12].",
        f"{path}: Tensor latent.head.bias is float32 of shape [4]; it should be float32 of shape [3].",
        f"{path}: Tensor stray does not belong to the model that the configuration describes.",
    ]


def test_steps_row_widths_and_errors_are_checked(path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        tensors = content["tensors"]
        tensors["latent.head.row_bits"][0] = 5
        tensors["wide_row_scale.head"][1] = 0
        tensors["row_error_head"][2] = -1

    assert sorted(_changed(path, change)) == [
        f"{path}: Tensor latent.head.row_bits has 1 values that are neither 4 nor 8; rows are 4 or 8 bit.",
        f"{path}: Tensor row_error_head has 1 of 3 squared errors that are negative.",
        f"{path}: Tensor wide_row_scale.head has 1 of 3 steps that are not greater than 0.",
    ]


def test_a_wrong_space_is_refused_before_the_tensors(path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["space"]["depth"] = []

    assert _changed(path, change) == [f"{path}: space: depth has no choices; it should list at least one."]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "supernet.pt"
    path.write_bytes(content)
    with pytest.raises(QvitError) as refused:
        load_supernet(path)
    assert refused.value.problems == (
        f"{path} is not a supernet file, or it is truncated or damaged; "
        "it should be a file that save_supernet wrote.",
    )


def test_code_in_a_file_is_named_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "supernet.pt"
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(QvitError) as refused:
        load_supernet(path)
    assert refused.value.problems == (
        f"{path} is a plain pickle, which may contain code; it was not loaded. "
        "A supernet file is an archive of tensors, as save_supernet writes it.",
    )
    torch.save({"format": tmp_path}, path)
    with pytest.raises(QvitError) as refused:
        load_supernet(path)
    assert refused.value.problems == (
        f"{path} contains code or Python objects (pathlib.PosixPath), which were not loaded; a supernet file "
        "holds tensors and plain values only, as save_supernet writes it.",
    )


def test_a_model_file_and_a_missing_file_are_told_apart(supernet: Supernet, tmp_path: Path) -> None:
    model = tmp_path / "model.pt"
    save_model(supernet.extract(supernet.space.smallest()), model)
    with pytest.raises(QvitError) as refused:
        load_supernet(model)
    assert refused.value.problems == (
        f"{model} is a torch checkpoint but not a supernet ('qvit-hls model'); "
        'it should be a dictionary whose "format" is "qvit-hls supernet".',
    )
    with pytest.raises(QvitError, match=r"There is no supernet file .*absent\.pt"):
        load_supernet(tmp_path / "absent.pt")


def test_another_version_and_unknown_entries_are_named(path: Path) -> None:
    assert _changed(path, lambda content: content.update(extra=1)) == [
        f'{path} has an unknown entry "extra".'
    ]
    assert _changed(path, lambda content: content.update(version=2)) == [
        f"{path} has supernet format version 2; this program reads version 1."
    ]
