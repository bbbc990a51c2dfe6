"""The accelerator that the exploration chooses is the one that gen emits and that simulation proves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qvit_hls.flow.generate import Target, compile_model, generate
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.hw.accelerator import AcceleratorConfig, Mac
from qvit_hls.hw.board import load_board
from qvit_hls.hw.explore.explore import explore
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.presets import deit_small
from qvit_hls.nets.random import random_model
from qvit_hls.verify.cosim import run_cosim
from qvit_hls.verify.csim import run_csim

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "model.pt"


def chosen(model: Path, mac: Mac) -> AcceleratorConfig:
    board = load_board("zcu102")
    graph = compile_model(model, False, lambda stage, done, total: None)
    return explore([graph], board, board.clock_mhz, mac).config


def generated(model: Path, build: Path, mac: Mac) -> AcceleratorConfig:
    board = load_board("zcu102")
    generate(model, build, Target.on_board("zcu102", None, None, mac))
    manifest = json.loads((build / "manifest.json").read_text())
    assert manifest["board"] == board.name
    return AcceleratorConfig.model_validate(manifest["accelerator"])


@pytest.mark.parametrize("mac", ["hls", "rtl"])
@one_torch_thread()
def test_gen_emits_the_chosen_accelerator(mac: Mac, tmp_path: Path) -> None:
    assert generated(DIGITS, tmp_path / "build", mac) == chosen(DIGITS, mac)


def test_c_simulation_proves_the_chosen_accelerator(tmp_path: Path) -> None:
    generated(DIGITS, tmp_path / "build", "hls")
    assert run_csim(tmp_path / "build", count=1).passed


@pytest.mark.slow
@pytest.mark.parametrize("mac", ["hls", "rtl"])
def test_the_accelerator_chosen_for_deit_small_is_emitted_and_proven(mac: Mac, tmp_path: Path) -> None:
    model = tmp_path / "model.pt"
    save_model(random_model(deit_small(7), seed=1), model)
    assert generated(model, tmp_path / "build", mac) == chosen(model, mac)
    if mac == "hls":
        assert run_csim(tmp_path / "build", count=1).passed
    else:
        assert run_cosim(tmp_path / "build", count=1, traced=False).passed
