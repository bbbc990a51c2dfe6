"""Costs of many networks at once are those of each by itself; accelerators hold what they are made for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from search_spaces import small_space

from qvit_hls.errors import QvitError
from qvit_hls.hw.board import Board, load_board
from qvit_hls.hw.explore.configuration import program_for
from qvit_hls.hw.explore.explore import bytes_per_cycle
from qvit_hls.hw.timing.analytic import frame_timing
from qvit_hls.hw.timing.network import NetworkShape
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.nets.subnet import Subnet, SubnetBlock
from qvit_hls.search.accelerators import (
    Accelerator,
    explored_accelerators,
    fixed_accelerator,
    holding,
    network_graph,
    tile_accelerator,
)
from qvit_hls.search.genome import Genome
from qvit_hls.search.hardware import Hardware

ZCU102 = load_board("zcu102")
TINY = Board.model_validate(
    {**ZCU102.model_dump(), "name": "tiny", "lut": 40_000, "ff": 80_000, "dsp": 120, "bram36": 60}
)


@pytest.fixture(scope="module")
def explored() -> tuple[Accelerator, ...]:
    return explored_accelerators(small_space(), TINY, 200)


def test_accelerators_of_the_exploration_fit_the_board_and_hold_the_largest_network(
    explored: tuple[Accelerator, ...],
) -> None:
    assert 2 <= len(explored) <= 6
    assert [a.share for a in explored] == sorted((a.share for a in explored), reverse=True)
    assert all(a.share <= TINY.usable for a in explored)
    graph = network_graph(small_space(), small_space().largest())
    for accelerator in explored:
        assert program_for(graph, accelerator.config).config == accelerator.config


@pytest.mark.parametrize("blocks", [[(1, 4), (3, 4), (3, 8)], [(3, 4), (1, 8)], [(2, 8), (2, 8), (2, 4)]])
def test_an_accelerator_gets_the_memories_that_a_network_needs(blocks: list[tuple[int, int]]) -> None:
    """The first network lies less densely in the memories than the largest one."""
    space = small_space()
    (accelerator,) = tile_accelerator(space, (8, 8, 4), ZCU102)
    shares = (0.25,) * 6
    subnet = Subnet(16, tuple(SubnetBlock(h, d, 2, shares) for h, d in blocks), 0.25, 0.25, 7)
    graph = network_graph(space, subnet)
    held = holding(graph, accelerator, ZCU102)
    assert held is not None
    assert program_for(graph, held.config).config == held.config
    try:
        program_for(graph, accelerator.config)
        assert held == accelerator
    except QvitError:
        assert held.config.activation_depth > accelerator.config.activation_depth
        memories = {"activation_depth", "digit_depth", "wide_depth"}
        assert held.config.model_dump(exclude=memories) == accelerator.config.model_dump(exclude=memories)
        assert holding(graph, replace(accelerator, is_built=True), ZCU102) is None


def test_cycles_are_those_of_the_scheduled_network(hardware: Hardware) -> None:
    space, (accelerator,) = hardware.genome.space, hardware.accelerators
    tiles = Tiles.of_config(accelerator.config, bytes_per_cycle(hardware.board, hardware.clock_mhz))
    generator = np.random.default_rng(2)
    subnets = [space.sample(generator) for _ in range(4)]
    costs = hardware.costs(hardware.genome.rows(subnets))
    for subnet, cycles in zip(subnets, costs.cycles.tolist(), strict=True):
        program = program_for(network_graph(space, subnet), accelerator.config)
        exact = frame_timing(NetworkShape.of_program(program), tiles).cycles
        assert cycles == pytest.approx(float(exact), rel=0.05)


def test_costs_of_many_are_those_of_each(hardware: Hardware, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where activation bits differ, and across the chunks that are timed at once."""
    space = small_space(activation_bits=[4, 7])
    genome = Genome(space)
    mixed = Hardware(genome, hardware.accelerators, hardware.board, 200)
    monkeypatch.setattr("qvit_hls.search.hardware._CHUNK", 50)
    rows = genome.sample(400, np.random.default_rng(0))
    assert len(set(genome.activation_bits(rows).tolist())) == 2
    costs = mixed.costs(rows)
    for index in (0, 1, 2, 3, 330, 399):
        alone = mixed.costs(rows[[index]])
        assert costs.all_cycles[index].tolist() == alone.all_cycles[0].tolist()
        assert costs.stream_bytes[index] == alone.stream_bytes[0]
        assert costs.average_bits[index] == alone.average_bits[0]


def test_average_bits_and_bytes_follow_the_shares(hardware: Hardware) -> None:
    largest = hardware.genome.space.largest()
    rows = hardware.genome.rows([largest.with_share(share) for share in (0.0, 0.5, 1.0)])
    costs = hardware.costs(rows)
    assert costs.average_bits[[0, 2]].tolist() == [4.0, 8.0]
    assert costs.average_bits[1] == pytest.approx(6.0, abs=0.2)
    assert (np.diff(costs.stream_bytes) > 0).all() and (np.diff(costs.cycles) > 0).all()


def test_each_network_takes_the_accelerator_that_is_fastest_for_it(
    explored: tuple[Accelerator, ...],
) -> None:
    genome = Genome(small_space())
    rows = genome.sample(20, np.random.default_rng(4))
    costs = Hardware(genome, explored, TINY, 200).costs(rows)
    for index, accelerator in enumerate(explored):
        alone = Hardware(genome, (accelerator,), TINY, 200).costs(rows)
        assert (costs.all_cycles[:, index] == alone.cycles).all()
        assert (costs.cycles <= alone.cycles).all()


def test_an_image_that_is_not_loaded_ahead_costs_its_cycles(hardware: Hardware) -> None:
    (ahead,) = hardware.accelerators
    later = replace(ahead, config=ahead.config.model_copy(update={"image_ahead": False}))
    rows = hardware.genome.sample(5, np.random.default_rng(0))
    costs = Hardware(hardware.genome, (ahead, later), hardware.board, 200).costs(rows)
    pixels = 8 * 8 // ahead.config.image_pixels
    assert (np.diff(costs.all_cycles, axis=1) == pixels).all()


def test_an_accelerator_that_is_too_small_is_refused_with_all_it_lacks() -> None:
    made_for = small_space(depth=[1], embed_dim=[8], heads=[1], head_dim=[4], mlp_ratio=[1.5])
    (small,) = tile_accelerator(made_for, (4, 8, 4), ZCU102)
    with pytest.raises(QvitError) as refused:
        fixed_accelerator(small_space(), small.config, ZCU102)
    start = "The accelerator does not hold the largest network of the space small: the model needs "
    assert all(problem.startswith(start) for problem in refused.value.problems)
    assert start + "16 channels of the residual stream; the accelerator has 8" in refused.value.problems
    assert fixed_accelerator(made_for, small.config, ZCU102) == (replace(small, is_built=True),)


def test_the_cpp_engine_is_refused() -> None:
    (accelerator,) = tile_accelerator(small_space(), (4, 8, 4), ZCU102)
    config = accelerator.config.model_copy(update={"mac": "hls"})
    with pytest.raises(QvitError) as refused:
        fixed_accelerator(small_space(), config, ZCU102)
    assert refused.value.problems == (
        "The accelerator is of the hls engine; the search times networks on the rtl engine.",
    )
