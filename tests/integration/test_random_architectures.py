"""Random architectures on random accelerators, from model file to packed C-simulation, by equality."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, note, seed, settings
from random_architectures import Tile, networks, tiles

from qvit_hls.flow.generate import Target, generate
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import VitConfig
from qvit_hls.nets.random import random_model
from qvit_hls.verify.csim import run_csim


def prove(network: VitConfig, tile: Tile, model_seed: int, folder: Path) -> AcceleratorConfig:
    """Save a random model, generate its project and simulate it packed; every value must be equal.

    The chooser fills DSP lanes first, and such small tiles need no others: LUT lanes are set by hand.
    """
    model, build = folder / "model.pt", folder / "build"
    save_model(random_model(network, model_seed), model)
    target = Target.on_board(tile=(tile.tokens, tile.rows, tile.depth))
    config = generate(model, build, target).program.config
    if tile.lut_share:
        lanes = {"dsp_rows": tile.dsp_rows(config.activation_bits)}
        config = AcceleratorConfig.model_validate({**config.model_dump(), **lanes})
        generate(model, build, replace(target, config=config), force=True)
    report = run_csim(build, packed=True, jobs=1)
    assert report.images == 2
    assert report.passed, report.first
    return config


@pytest.mark.parametrize(
    "part", [0, 1, 2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_random_architectures_are_bit_exact(part: int) -> None:
    lut_lanes = set()

    @seed(part)
    # Each part begins with the same simplest example; the others differ, 26 in all. An example takes
    # seconds, so that shrinking a failure would take an hour.
    @settings(max_examples=6, derandomize=False, database=None, deadline=None, phases=[Phase.generate])
    @given(networks(), tiles())
    def every_example(network: VitConfig, tile: Tile) -> None:
        note(f"{network!r}\n{tile!r}")
        with tempfile.TemporaryDirectory() as folder:
            config = prove(network, tile, part, Path(folder))
        lut_lanes.add(config.tile_rows - config.dsp_rows)

    every_example()
    assert max(lut_lanes) > 0, "no example had LUT lanes"
