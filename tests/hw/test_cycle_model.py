"""The cycle model: equal to the schedule simulation where that is exact, consistent over arrays."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from models import network
from op_graphs import GraphBuilder
from targets import configuration

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.board import load_board
from qvit_hls.hw.cycles import estimate
from qvit_hls.hw.descriptor import Unit
from qvit_hls.hw.program import Program
from qvit_hls.hw.requirements import sized
from qvit_hls.hw.schedule import schedule
from qvit_hls.hw.timing.analytic import frame_timing
from qvit_hls.hw.timing.network import ABSENT, NetworkShape, stack
from qvit_hls.hw.timing.simulate import simulate
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.timeline import Cause, Lane
from qvit_hls.nets.config import BlockConfig

TILES = ((16, 16, 4), (8, 12, 4), (8, 32, 8))


def scheduled(tile: tuple[int, int, int], drain_rows: int = 2, ports: int = 1, **changes: object) -> Program:
    """A small network on an RTL engine with memories that fit."""
    graph = network(**{"image_size": 24, "embed_dim": 48, **changes})
    config = configuration(tile, weight_ports=ports, mac="rtl", drain_rows=drain_rows)
    return schedule(graph, sized(config, graph, schedule(graph, config)))


def tiles_of(program: Program, **changes: float) -> Tiles:
    return Tiles.of_config(program.config, **changes)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("drain_rows", [1, 2])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_frame_takes_as_long_as_in_the_schedule_simulation(
    tile: tuple[int, int, int], drain_rows: int, pooling: str
) -> None:
    program = scheduled(tile, drain_rows, pooling=pooling)
    shape, tiles = NetworkShape.of_program(program), tiles_of(program)
    assert float(frame_timing(shape, tiles).cycles) == pytest.approx(simulate(shape, tiles).cycles, rel=0.01)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_norms_of_few_channels_and_operands_of_the_stream_take_what_they_take_there(
    tile: tuple[int, int, int], groups: int
) -> None:
    builder = GraphBuilder(np.random.default_rng(0), activation_bits=7)
    builder.patches(grid=(9, 10))
    x = builder.embed(48)
    for block in range(2):
        # Behind the second of them, the moments of the sum are no longer there.
        x = builder.residual(f"sum{block}", x, builder.norm(f"norm{block}", x, groups=groups))
        x = builder.residual(f"more{block}", x, builder.operand(f"operand{block}", x))
    graph = builder.finish_stream(x)
    config = configuration(tile, mac="rtl", drain_rows=2)
    program = schedule(graph, sized(config, graph, schedule(graph, config)))
    shape, tiles = NetworkShape.of_program(program), tiles_of(program)
    assert float(frame_timing(shape, tiles).cycles) == pytest.approx(simulate(shape, tiles).cycles, rel=0.02)


def test_causes_add_up_to_the_frame() -> None:
    program = scheduled((16, 16, 4))
    timing = frame_timing(NetworkShape.of_program(program), tiles_of(program))
    assert sum(timing.causes.values()) == pytest.approx(float(timing.cycles))
    assert min(float(value) for value in timing.causes.values()) >= 0
    array = sum(layer.atom_macs for layer in program.layers) / program.config.lanes
    # Rows that are sent as two digits to make pairs are more than the products that are needed.
    assert float(timing.causes["array"]) == pytest.approx(array, rel=0.1)


def test_every_cycle_of_the_simulated_array_has_one_cause() -> None:
    program = scheduled((16, 16, 4))
    timeline = simulate(NetworkShape.of_program(program), tiles_of(program))
    for lane in (Lane.ARRAY, Lane.LOADER, Lane.VECTOR):
        spans = timeline.spans[lane]
        assert all(a.end <= b.begin for a, b in pairwise(spans))
    array = timeline.spans[Lane.ARRAY]
    assert array[0].begin == 0
    assert all(a.end == b.begin for a, b in pairwise(array))
    steps = sum(
        -(-d.tokens // 16) * d.k_steps * len(range(0, d.rows + d.rows8, 16))
        for d in (layer.descriptor for layer in program.layers)
        if d.unit == Unit.GEMM
    )
    assert timeline.cycles_of(Lane.ARRAY, Cause.WORK) == steps


def test_layers_of_a_lane_are_complete_in_order() -> None:
    program = scheduled((8, 12, 4))
    shape = NetworkShape.of_program(program)
    for complete in (
        frame_timing(shape, tiles_of(program)).complete,
        simulate(shape, tiles_of(program)).complete,
    ):
        values = np.asarray(complete)
        for lane in (shape.unit == Unit.GEMM, shape.unit != Unit.GEMM):
            assert (np.diff(values[lane]) > 0).all()


def test_many_networks_take_what_each_takes_alone() -> None:
    programs = [scheduled((16, 16, 4)), scheduled((16, 16, 4), embed_dim=24, pooling="mean")]
    shapes = [NetworkShape.of_program(program) for program in programs]
    tiles = Tiles.of_config(programs[0].config)
    together = frame_timing(stack(shapes), tiles).cycles
    for shape, cycles in zip(shapes, together, strict=True):
        assert float(cycles) == pytest.approx(float(frame_timing(shape, tiles).cycles), rel=0.005)


def test_many_accelerators_take_what_each_takes_alone() -> None:
    program = scheduled((16, 16, 4))
    configs = [configuration(tile, mac="rtl", drain_rows=2, weight_ports=p) for tile in TILES for p in (1, 2)]
    shape = NetworkShape.of_program(program)
    together = frame_timing(shape, Tiles.of_configs(configs))
    assert together.complete.shape == (len(configs), shape.layers)
    for index, config in enumerate(configs):
        alone = frame_timing(shape, Tiles.of_config(config))
        assert float(together.cycles[index]) == float(alone.cycles)
        assert (together.complete[index] == alone.complete).all()


def test_absent_layers_change_no_layer_and_are_removed_again() -> None:
    shape = NetworkShape.of_program(scheduled((16, 16, 4)))
    padded = stack([shape, NetworkShape.of_program(scheduled((16, 16, 4), blocks=two_blocks()))])
    assert (padded.unit[0] == ABSENT).any()
    restored = padded.select(0).compact()
    for f in fields(NetworkShape):
        assert (getattr(restored, f.name) == getattr(shape, f.name)).all(), f.name


def two_blocks() -> tuple[BlockConfig, ...]:
    block = BlockConfig(heads=2, head_dim=8, mlp_hidden=32)
    return block, block


def test_a_slow_memory_bounds_the_frame() -> None:
    program = scheduled((16, 16, 4))
    shape = NetworkShape.of_program(program)
    frame = estimate(program, load_board("zcu102"), 200)
    slow = 0.5  # bytes per cycle
    for cycles in (
        float(frame_timing(shape, tiles_of(program, bytes_per_cycle=slow)).cycles),
        simulate(shape, tiles_of(program, bytes_per_cycle=slow)).cycles,
    ):
        assert cycles == pytest.approx(frame.stream_bytes / slow, rel=0.1)
        assert cycles >= frame.stream_bytes / slow * 0.95


def test_a_simulation_takes_one_network_without_gaps() -> None:
    program = scheduled((16, 16, 4))
    shape, tiles = NetworkShape.of_program(program), tiles_of(program)
    with pytest.raises(ValueError, match="one network"):
        simulate(stack([shape, shape]), tiles)
    gap = stack([shape, NetworkShape.of_program(scheduled((16, 16, 4), blocks=two_blocks()))]).select(0)
    with pytest.raises(ValueError, match="absent"):
        simulate(gap, tiles)


@pytest.mark.parametrize("mac", ["hls", "rtl"])
def test_every_layer_of_an_estimate_has_a_bottleneck(mac: str) -> None:
    graph = network()
    config = AcceleratorConfig.model_validate({**configuration((8, 16, 4)).model_dump(), "mac": mac})
    layers = estimate(schedule(graph, config), load_board("zcu102"), 200).layers
    assert {layer.bottleneck for layer in layers} <= {"array", "drain", "operands", "weights", "vector unit"}
    assert all((layer.bottleneck == "vector unit") == (layer.unit != "gemm") for layer in layers)
