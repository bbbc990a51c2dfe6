"""The cycle model and the schedule simulation against RTL simulation, layer by layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qvit_hls.flow.generate import Target, generate
from qvit_hls.hw.timing.analytic import frame_timing
from qvit_hls.hw.timing.network import NetworkShape
from qvit_hls.hw.timing.simulate import simulate
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model
from qvit_hls.verify.cosim import run_cosim

NETWORK = VitConfig(
    image_size=20,
    channels=1,
    patch_size=4,
    classes=10,
    embed_dim=48,
    blocks=(BlockConfig(heads=2, head_dim=24, mlp_hidden=96),),
    eight_bit_share=0.25,
)


def test_predicted_cycles_are_those_of_the_rtl(tmp_path: Path) -> None:
    save_model(random_model(NETWORK, seed=1), tmp_path / "model.pt")
    target = Target.on_board(tile=(4, 8, 4), mac="rtl")
    program = generate(tmp_path / "model.pt", tmp_path / "build", target).program
    report = run_cosim(tmp_path / "build", count=2, traced=False)
    assert report.passed
    assert report.cycles is not None
    complete = np.array([timed.complete for timed in report.cycles.layers])
    shape, tiles = NetworkShape.of_program(program), Tiles.of_config(program.config)
    timing, timeline = frame_timing(shape, tiles), simulate(shape, tiles)
    assert timeline.cycles == pytest.approx(report.cycles.total, rel=0.002)
    assert float(timing.cycles) == pytest.approx(report.cycles.total, rel=0.01)
    # Layers run one after the other or side by side, so an error in one shows in when all later ones end.
    assert np.array(timeline.complete) == pytest.approx(complete, rel=0.01, abs=5)
    assert timing.complete == pytest.approx(complete, rel=0.02, abs=10)
