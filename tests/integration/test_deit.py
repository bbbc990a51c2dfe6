"""Networks of published size: one image through the functional C-simulation, every value equal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qvit_hls.flow.generate import Target, generate
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import VitConfig
from qvit_hls.nets.presets import deit_small, deit_tiny
from qvit_hls.nets.random import random_model
from qvit_hls.verify.csim import run_csim


@pytest.mark.slow
@pytest.mark.parametrize("activation_bits", [7, 8])
@pytest.mark.parametrize("preset", [deit_tiny, deit_small])
def test_deit_shapes_are_bit_exact(
    preset: Callable[[int], VitConfig], activation_bits: int, tmp_path: Path
) -> None:
    config = preset(activation_bits)
    save_model(random_model(config, seed=1), tmp_path / "model.pt")
    generated = generate(tmp_path / "model.pt", tmp_path / "build", Target.on_board())
    assert generated.program.config.activation_bits == activation_bits
    assert generated.program.config.dsp_rows < generated.program.config.tile_rows  # LUT lanes, too
    report = run_csim(tmp_path / "build", count=1)
    assert report.passed, report.first
    layers = {layer.layer for layer in report.layers}
    assert len(layers) > 12 * (6 + 3 * config.blocks[0].heads)
