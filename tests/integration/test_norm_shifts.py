"""LayerNorms that scale each channel by a power of two, from a model file to both simulations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shifted_models import write_shifted_model

from qvit_hls.errors import QvitError
from qvit_hls.flow.generate import Generated, Target, generate
from qvit_hls.hw.descriptor import Unit
from qvit_hls.hw.timing.analytic import frame_timing
from qvit_hls.hw.timing.network import NetworkShape
from qvit_hls.hw.timing.simulate import simulate
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model
from qvit_hls.verify.cosim import run_cosim
from qvit_hls.verify.csim import run_csim

#: Few tokens and many channels, so that LayerNorms wait for their shifts.
NETWORK = VitConfig(
    image_size=8,
    channels=1,
    patch_size=4,
    classes=4,
    embed_dim=97,
    blocks=(BlockConfig(heads=2, head_dim=4, mlp_hidden=8),),
    eight_bit_share=0.25,
)
TILE = (4, 8, 4)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    """A project with RTL for a model with shifts."""
    folder = tmp_path_factory.mktemp("shifted")
    model = write_shifted_model(folder / "model.pt", NETWORK, seed=3)
    return generate(model, folder / "build", Target.on_board(tile=TILE, mac="rtl"))


def table_entries(project: Generated) -> list[int]:
    """Of all LayerNorms, in order."""
    descriptors = [layer.descriptor for layer in project.program.layers]
    return [d.table_entries for d in descriptors if d.unit == Unit.LAYER_NORM]


@pytest.mark.slow
def test_every_layer_of_both_engines_is_equal_and_takes_the_predicted_cycles(project: Generated) -> None:
    assert project.program.config.norm_shifts
    assert table_entries(project) == [97, 97, 0]
    assert run_csim(project.folder).passed
    report = run_cosim(project.folder, count=2)
    assert report.passed and report.first is None
    assert {"layer_norm"} < {layer.unit for layer in report.layers}
    assert report.cycles is not None
    complete = np.array([timed.complete for timed in report.cycles.layers])
    shape, tiles = NetworkShape.of_program(project.program), Tiles.of_config(project.program.config)
    timing, timeline = frame_timing(shape, tiles), simulate(shape, tiles)
    assert timeline.cycles == pytest.approx(report.cycles.total, rel=0.002)
    assert float(timing.cycles) == pytest.approx(report.cycles.total, rel=0.01)
    assert np.array(timeline.complete) == pytest.approx(complete, abs=5)
    norm = next(i for i, layer in enumerate(project.program.layers) if layer.descriptor.table_entries == 97)
    without = replace(shape, table_entries=np.where(shape.unit == Unit.LAYER_NORM, 0, shape.table_entries))
    waits = timeline.complete[norm] - simulate(without, tiles).complete[norm]
    assert waits > 20  # the predictions would be wrong without the table


def test_a_model_without_shifts_runs_on_an_accelerator_that_has_them(
    project: Generated, tmp_path: Path
) -> None:
    save_model(random_model(NETWORK, seed=3), tmp_path / "plain.pt")
    plain = generate(tmp_path / "plain.pt", tmp_path / "build", Target.of_build(project.folder))
    assert table_entries(plain) == [0, 0, 0]
    assert run_csim(plain.folder).passed
    for path, content in project.plan.files.items():
        if path.startswith(("src/", "rtl/")):
            assert plain.plan.files[path] == content, path


def test_an_accelerator_without_shifts_is_refused(tmp_path: Path) -> None:
    save_model(random_model(NETWORK, seed=3), tmp_path / "plain.pt")
    plain = generate(tmp_path / "plain.pt", tmp_path / "plain", Target.on_board(tile=TILE))
    assert not plain.program.config.norm_shifts
    model = write_shifted_model(tmp_path / "shifted.pt", NETWORK, seed=3)
    with pytest.raises(QvitError) as error:
        generate(model, tmp_path / "shifted", Target.of_build(plain.folder))
    assert error.value.problems == (
        "the model needs a LayerNorm with a shift per channel; the accelerator has none",
    )
