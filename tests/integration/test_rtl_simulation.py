"""From model file to RTL simulation by cocotb: every layer of whole networks equal to the golden graph."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, note, seed, settings
from random_architectures import Tile, networks, tiles

from qvit_hls.flow.generate import Generated, Target, generate
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.presets import deit_tiny
from qvit_hls.nets.random import random_model
from qvit_hls.verify.cosim import run_cosim
from qvit_hls.verify.cosim_report import CosimReport
from qvit_hls.verify.rtl.stalls import Stalls

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"
TILE = (4, 8, 4)
STALLS = Stalls(0.3, seed=2**31 - 1)  # beyond the seeds that Verilator has
#: Units whose results are in the trace; tables and residual sums are those of their GEMM, or of the next one.
UNITS = {"load_image", "gemm", "layer_norm", "softmax", "store_result"}


def project(network: VitConfig, tile: tuple[int, int, int], folder: Path) -> Generated:
    """A project with RTL for a random model."""
    save_model(random_model(network, seed=1), folder / "model.pt")
    return generate(folder / "model.pt", folder / "build", Target.on_board(tile=tile, mac="rtl"))


def assert_equal(report: CosimReport) -> None:
    assert report.first is None
    assert report.problems == ()
    assert sum(layer.values for layer in report.layers) > 0


def test_the_digits_network_is_bit_exact_with_and_without_stalls(tmp_path: Path) -> None:
    target = Target.on_board(tile=TILE, mac="rtl")
    config = generate(EXAMPLE / "model.pt", tmp_path / "build", target).program.config
    assert (config.drain_rows, config.table_bits > 0, config.softmax) == (2, True, True)
    data = EXAMPLE / "test.npz"
    plain = run_cosim(tmp_path / "build", data=data, count=1, packed=True)
    stalled = run_cosim(tmp_path / "build", data=data, count=1, packed=True, stalls=STALLS)
    for report in (plain, stalled):
        assert_equal(report)
        assert {layer.unit for layer in report.layers} == UNITS
        assert len({layer.layer for layer in report.layers}) > 4 * 10
        assert report.top1 is not None and report.top1.simulated == 1
    assert stalled.model.seconds is None  # the same simulation
    assert stalled.frame_cycles > plain.frame_cycles
    # Where the image's place is used again, the next one is loaded behind the last matrix product.
    late = Target(target.board, target.clock_mhz, config.model_copy(update={"image_ahead": False}))
    generate(EXAMPLE / "model.pt", tmp_path / "late", late)
    (tmp_path / "build" / "cosim").rename(tmp_path / "late" / "cosim")
    later = run_cosim(tmp_path / "late", data=data, count=2, packed=True)
    assert_equal(later)
    assert later.frame_cycles > plain.frame_cycles
    # Layers overlap where nothing waits for the trace.
    assert plain.frame_cycles < plain.traced_cycles
    assert plain.cycles is not None


@pytest.mark.slow
@pytest.mark.parametrize("activation_bits", [4, 5, 6, 8])
def test_every_width_of_activations_is_bit_exact(activation_bits: int, tmp_path: Path) -> None:
    network = VitConfig(
        image_size=8,
        channels=1,
        patch_size=2,
        classes=10,
        embed_dim=24,
        blocks=(
            BlockConfig(heads=2, head_dim=12, mlp_hidden=40),
            BlockConfig(heads=3, head_dim=8, mlp_hidden=56),
        ),
        activation_bits=activation_bits,
        eight_bit_share=0.25,
    )
    generated = project(network, TILE, tmp_path)
    assert generated.program.config.activation_bits == activation_bits
    for stalls in (Stalls(), STALLS):
        assert_equal(run_cosim(generated.folder, packed=True, stalls=stalls))


@pytest.mark.slow
def test_a_block_of_deit_tiny_is_bit_exact_on_a_tile_that_fills_the_board(tmp_path: Path) -> None:
    whole = deit_tiny()
    network = VitConfig.model_validate({**whole.model_dump(), "blocks": whole.blocks[:1]})
    generated = project(network, (40, 40, 8), tmp_path)
    assert generated.program.config.dsp_rows < generated.program.config.tile_rows  # LUT lanes, too
    plain = run_cosim(generated.folder, count=1)
    stalled = run_cosim(generated.folder, count=1, stalls=STALLS)
    for report in (plain, stalled):
        assert_equal(report)
        assert {layer.unit for layer in report.layers} == UNITS
    assert stalled.frame_cycles > plain.frame_cycles


def prove(network: VitConfig, tile: Tile, model_seed: int, folder: Path) -> AcceleratorConfig:
    """Like the C-simulation's: LUT lanes are set by hand."""
    save_model(random_model(network, model_seed), folder / "model.pt")
    target = Target.on_board(tile=(tile.tokens, tile.rows, tile.depth), mac="rtl")
    config = generate(folder / "model.pt", folder / "build", target).program.config
    if tile.lut_share:
        lanes = {"dsp_rows": tile.dsp_rows(config.activation_bits)}
        config = AcceleratorConfig.model_validate({**config.model_dump(), **lanes})
        generate(folder / "model.pt", folder / "build", replace(target, config=config), force=True)
    for stalls in (Stalls(), Stalls(0.5, model_seed)):
        assert_equal(run_cosim(folder / "build", packed=True, stalls=stalls))
    return config


@pytest.mark.slow
@pytest.mark.parametrize("part", range(5))
def test_random_architectures_are_bit_exact(part: int) -> None:
    drain_rows = set()

    @seed(part)
    @settings(max_examples=5, derandomize=False, database=None, deadline=None, phases=[Phase.generate])
    @given(networks(), tiles())
    def every_example(network: VitConfig, tile: Tile) -> None:
        note(f"{network!r}\n{tile!r}")
        with tempfile.TemporaryDirectory() as folder:
            drain_rows.add(prove(network, tile, part, Path(folder)).drain_rows)

    every_example()
    assert drain_rows == {1, 2}
