"""Layers straight from architectures: those of the programs, and many networks at once as each alone."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from models import network
from targets import configuration

from qvit_hls.hw.requirements import sized
from qvit_hls.hw.schedule import schedule
from qvit_hls.hw.timing.analytic import frame_cycles, frame_timing
from qvit_hls.hw.timing.network import ABSENT, NetworkShape
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.vit import VitArchitectures, vit_shape
from qvit_hls.nets.config import BlockConfig

BLOCKS = (BlockConfig(heads=3, head_dim=16, mlp_hidden=96), BlockConfig(heads=2, head_dim=16, mlp_hidden=64))


def architecture(share: float, class_token: bool = True) -> VitArchitectures:
    """One network of BLOCKS."""
    return VitArchitectures(
        image_size=24,
        patch_size=4,
        channels=1,
        classes=3,
        embed_dim=np.array([48]),
        heads=np.array([[block.heads for block in BLOCKS]]),
        head_dim=np.array([[block.head_dim for block in BLOCKS]]),
        mlp_hidden=np.array([[block.mlp_hidden for block in BLOCKS]]),
        shares=np.full((1, len(BLOCKS), 6), share),
        patch_share=share,
        head_share=share,
        class_token=class_token,
    )


def random_architectures(count: int, seed: int) -> VitArchitectures:
    """Networks of one to three blocks of one to four heads."""
    rng = np.random.default_rng(seed)
    exists = np.arange(3) < rng.integers(1, 4, count)[:, None]
    return VitArchitectures(
        image_size=32,
        patch_size=4,
        channels=3,
        classes=10,
        embed_dim=rng.choice([48, 96], count),
        heads=rng.integers(1, 5, (count, 3)) * exists,
        head_dim=rng.choice([16, 24], (count, 3)),
        mlp_hidden=rng.choice([96, 192], (count, 3)),
        shares=rng.choice([0.0, 0.25, 1.0], (count, 3, 6)),
    )


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_shape_from_an_architecture_is_that_of_the_program(share: float, pooling: str) -> None:
    graph = network(image_size=24, embed_dim=48, blocks=BLOCKS, eight_bit_share=share, pooling=pooling)
    config = configuration((16, 16, 4), mac="rtl", drain_rows=2)
    program = schedule(graph, sized(config, graph, schedule(graph, config)))
    of_program = NetworkShape.of_program(program)
    shape = vit_shape(architecture(share, pooling == "cls")).select(0).compact()
    # What a layer waits for may be more in a program, where a memory's place is used again.
    for f in fields(NetworkShape):
        if not f.name.startswith("after_") and not f.name.endswith("_by_tile"):
            assert (getattr(shape, f.name) == getattr(of_program, f.name)).all(), f.name
    tiles = Tiles.of_config(program.config)
    cycles = float(frame_cycles(of_program, tiles))
    assert float(frame_cycles(shape, tiles)) == pytest.approx(cycles, rel=0.01)


@pytest.mark.parametrize("tile", [(16, 16, 4), (8, 20, 8)])
def test_networks_together_take_what_each_takes_alone(tile: tuple[int, int, int]) -> None:
    tiles = Tiles.of_config(configuration(tile, mac="rtl", drain_rows=2))
    shape = vit_shape(random_architectures(20, seed=3))
    assert (shape.unit == ABSENT).any()
    together = frame_cycles(shape, tiles)
    alone = [float(frame_cycles(shape.select(index).compact(), tiles)) for index in range(20)]
    assert together == pytest.approx(np.array(alone), rel=1e-12)
    assert len(set(alone)) > 10


def test_cycles_alone_are_those_of_the_whole_timing() -> None:
    tiles = Tiles.of_config(configuration((16, 16, 4), mac="rtl", drain_rows=2))
    shape = vit_shape(random_architectures(20, seed=4))
    assert (frame_cycles(shape, tiles) == frame_timing(shape, tiles).cycles).all()


def test_shares_of_another_shape_are_refused() -> None:
    nets = architecture(0.25)
    wrong = VitArchitectures(**{**vars(nets), "shares": nets.shares[:, :1]})
    with pytest.raises(ValueError, match=r"shares \[S, B, 6\]; they are \(1, 2\) and \(1, 1, 6\)"):
        vit_shape(wrong)
