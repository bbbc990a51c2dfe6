"""The exploration finds what trying every candidate finds, and says what stops the next one."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import changed, compiled, network

from qvit_hls.errors import QvitError
from qvit_hls.hw.accelerator import AcceleratorConfig, Mac
from qvit_hls.hw.board import Board, known_boards, load_board
from qvit_hls.hw.cycles import estimate
from qvit_hls.hw.explore.choose import choose_accelerator
from qvit_hls.hw.explore.cost import RESOURCES, costs, limits
from qvit_hls.hw.explore.explore import explore
from qvit_hls.hw.explore.pareto import dominated, pareto_set
from qvit_hls.hw.explore.space import Space, bytes_per_cycle
from qvit_hls.hw.explore.workload import Workload
from qvit_hls.hw.schedule import schedule
from qvit_hls.hw.timing.analytic import frame_timing
from qvit_hls.hw.timing.tiles import Tiles

ZCU102 = load_board("zcu102")
#: Long enough sequences and wide enough layers that more lanes help.
WIDER = {"embed_dim": 48, "image_size": 24, "blocks": [{"heads": 3, "head_dim": 16, "mlp_hidden": 96}]}


def board(**resources: float) -> Board:
    return Board.model_validate({**ZCU102.model_dump(), "name": "small", **resources})


SMALL = board(dsp=300, lut=60_000, bram36=120)


@pytest.mark.parametrize("mac", ["hls", "rtl"])
def test_nothing_that_fits_is_much_faster_than_the_choice(mac: Mac) -> None:
    """Against every candidate timed one by one, without bounds or Pareto sets."""
    graph = network(**WIDER)
    space = Space([Workload(graph, mac)], SMALL, bytes_per_cycle(SMALL, 200))
    fitting = np.flatnonzero((space.needs <= space.limits).all(axis=1))
    fastest = int(space.cycles(fitting).min())
    chosen = explore([graph], SMALL, 200, mac).chosen
    assert chosen.cycles[0] <= 1.03 * fastest
    assert (costs(chosen.config.model_dump()) <= limits(SMALL)).all()


def test_no_candidate_is_faster_than_its_lower_bound() -> None:
    space = Space([Workload(network(**WIDER), "rtl")], SMALL, bytes_per_cycle(SMALL, 200))
    some = np.random.default_rng(2).choice(len(space.candidates), 400, replace=False)
    assert (space.cycles(some) >= space.least_cycles[some]).all()


def test_every_candidate_can_be_built() -> None:
    space = Space([Workload(compiled(), "rtl")], SMALL, bytes_per_cycle(SMALL, 200))
    for index in np.random.default_rng(3).choice(len(space.candidates), 300, replace=False).tolist():
        config = space.config(index)
        assert costs(config.model_dump()).tolist() == space.needs[index].tolist()


@pytest.mark.parametrize("mac", ["hls", "rtl"])
def test_the_chosen_design_is_the_one_that_gen_builds(mac: Mac) -> None:
    graph = network(**WIDER)
    result = explore([graph], SMALL, 200, mac)
    assert choose_accelerator(graph, SMALL, mac=mac, clock_mhz=200).config == result.config
    sizes = {"program_words", "stream_words", "image_words", "result_words"}
    assert result.chosen.config.model_dump(exclude=sizes) == result.config.model_dump(exclude=sizes)
    assert result.chosen in result.designs


def test_the_choice_is_always_the_same() -> None:
    first, second = (explore([network(**WIDER)], SMALL, 200, "rtl") for _ in range(2))
    assert (first.designs, first.chosen, first.binding) == (second.designs, second.chosen, second.binding)


@pytest.mark.parametrize(
    ("changes", "gbytes_per_s"),
    [(WIDER, 19.2), (WIDER, 0.05), ({"pooling": "mean", "activation_bits": 5}, 19.2), ({}, 0.2)],
)
def test_cycles_of_the_cpp_engine_are_those_of_the_estimate(
    changes: dict[str, object], gbytes_per_s: float
) -> None:
    graph = network(**changes, eight_bit_share=0.3)
    scarce = board(dsp=300, lut=60_000, ddr_gbytes_per_s=gbytes_per_s)
    space = Space([Workload(graph, "hls")], scarce, bytes_per_cycle(scarce, 200))
    some = np.random.default_rng(5).choice(len(space.candidates), 60, replace=False)
    counted = space.cycles(some)[:, 0].tolist()
    programs = [schedule(graph, space.config(index)) for index in some.tolist()]
    assert counted == [estimate(program, scarce, 200).cycles for program in programs]


def test_no_design_of_the_pareto_set_beats_another() -> None:
    result = explore([network(**WIDER)], SMALL, 200, "rtl")
    points = np.array([[d.cycles[0], d.lut, d.ff, d.dsp, d.bram36] for d in result.designs])
    for index in range(len(points)):
        assert not dominated(points[index : index + 1], np.delete(points, index, axis=0)).any()


def test_a_target_gets_the_smallest_design_that_reaches_it() -> None:
    graph = network(**WIDER)
    everything = explore([graph], SMALL, 200, "rtl")
    target = 0.3 * everything.chosen.frames_per_second(200)[0]
    result = explore([graph], SMALL, 200, "rtl", target_fps=target)
    assert result.chosen.frames_per_second(200)[0] >= target
    assert result.chosen.share < everything.chosen.share
    reaching = [d for d in result.designs if d.frames_per_second(200)[0] >= target]
    assert result.chosen.share == min(design.share for design in reaching)
    assert result.binding.kind == "target"


@pytest.mark.parametrize("times", [1.5, 40])
def test_an_impossible_target_is_answered_with_what_would_be_enough(times: float) -> None:
    graph = network(**WIDER)
    best = explore([graph], SMALL, 200, "hls")
    most = best.designs[0].frames_per_second(200)[0]
    target = times * int(most)
    with pytest.raises(QvitError) as refused:
        explore([graph], SMALL, 200, "hls", target_fps=target)
    rates = {
        b.name: explore([graph], b, 200, "hls", fastest_only=True).designs[0].frames_per_second(200)[0]
        for b in known_boards()
    }
    reaching = "".join(f" or {name} ({rate:,.1f})" for name, rate in rates.items() if rate >= target)
    largest = max(rates, key=lambda name: rates[name])
    enough = (
        f"Enough would be a clock of 300 MHz{reaching}."
        if times < 10
        else "No clock up to 2,000 MHz is enough, nor is any known board: "
        f"{largest} reaches {rates[largest]:,.1f}."
    )
    assert refused.value.problems == (
        f"{target:,.10g} frames per second are impossible on small: at most {most:,.1f} at 200 MHz, "
        f"{best.designs[0].cycles[0]:,} cycles per frame. {enough} "
        f"What stops faster designs: {best.binding.sentence}.",
    )


def test_where_the_memory_is_the_limit_no_clock_is_enough() -> None:
    slow = board(ddr_gbytes_per_s=0.2)
    graph = network(**WIDER)
    most = explore([graph], slow, 200, "hls", fastest_only=True).designs[0].frames_per_second(200)[0]
    wanted = r"\. Enough would be kv260 \([\d,.]+\) or zcu102 \([\d,.]+\) or zcu104 \([\d,.]+\)\. What stops"
    with pytest.raises(QvitError, match=wanted):
        explore([graph], slow, 200, "hls", target_fps=1.1 * most)


def test_on_a_board_too_small_for_any_design_it_is_said_what_would_be_enough() -> None:
    graph = compiled()
    tiny = board(lut=1_000, dsp=3)
    with pytest.raises(QvitError) as refused:
        explore([graph], tiny, 200, "rtl")
    (message,) = refused.value.problems
    wanted = (
        r"no accelerator for small fits small: the one that comes closest takes ([\d,]+) LUTs of 900 and "
        r"(\d+) DSP slices of 2 that a design may use \(90% of the board\); enough would be a board with "
        r"([\d,]+) LUTs and (\d+) DSP slices, such as kv260 or zcu102 or zcu104"
    )
    found = re.fullmatch(wanted, message)
    assert found
    takes_lut, takes_dsp, lut, dsp = (int(number.replace(",", "")) for number in found.groups())
    assert (lut, dsp) == (math.ceil(takes_lut / 0.9), math.ceil(takes_dsp / 0.9))
    enough = explore([graph], board(lut=lut, dsp=dsp), 200, "rtl", fastest_only=True).chosen
    assert enough.lut <= takes_lut


def test_wider_activations_than_any_accelerator_has_are_refused() -> None:
    graph = compiled()
    norm = graph["blocks.0.norm1"]
    assert norm.quant is not None
    wide = changed(graph, norm.name, quant=dataclasses.replace(norm.quant, qmax=300))
    with pytest.raises(QvitError) as refused:
        explore([wide], SMALL, 200, "rtl")
    assert refused.value.problems == ("small needs 10 activation bits; accelerators have at most 8",)


def test_several_models_get_one_accelerator_that_runs_them_all() -> None:
    graphs = [network(**WIDER), compiled()]
    result = explore(graphs, SMALL, 200, "rtl", fastest_only=True)
    first, second = result.programs
    assert first.config == second.config
    for graph, program in zip(graphs, result.programs, strict=True):
        assert schedule(graph, result.config).depths == program.depths
        assert all(getattr(result.config, name) >= depth for name, depth in program.depths.items())


@pytest.mark.parametrize("mac", ["hls", "rtl"])
def test_models_of_different_activation_bits_share_an_accelerator_of_the_most(mac: Mac) -> None:
    graphs = [network(**WIDER, activation_bits=5), network(activation_bits=8)]
    result = explore(graphs, SMALL, 200, mac, fastest_only=True)
    assert result.config.activation_bits == result.activation_bits == 8
    assert [program.config for program in result.programs] == [result.config] * 2
    assert (costs(result.config.model_dump()) <= limits(SMALL)).all()


@pytest.mark.parametrize("resource", ["lut", "bram36"])
def test_the_binding_resource_is_the_one_that_more_of_would_help(resource: str) -> None:
    graph = network(**{**WIDER, "image_size": 48})
    scarce = board(lut=45_000) if resource == "lut" else board(bram36=64)
    result = explore([graph], scarce, 200, "rtl", fastest_only=True)
    assert result.binding.kind == resource
    more = scarce.model_copy(update={resource: int(1.3 * getattr(scarce, resource))})
    assert explore([graph], more, 200, "rtl", fastest_only=True).chosen.cycles < result.chosen.cycles


def test_a_slow_memory_is_what_binds() -> None:
    slow = board(ddr_gbytes_per_s=0.2, lut=40_000, dsp=100)
    result = explore([network(**WIDER)], slow, 200, "rtl", fastest_only=True)
    assert result.binding.kind == "bandwidth"
    assert "0.2 GB/s" in result.binding.sentence


def test_few_ports_are_what_binds_where_more_of_them_would_help() -> None:
    graph = network(**WIDER)
    result = explore([graph], board(weight_ports=1), 200, "rtl", fastest_only=True)
    assert result.binding.kind == "ports"
    fastest = result.designs[0].cycles[0]
    said = re.fullmatch(
        r"the weight ports, 1 of 128 bits: with 2, the same design would take ([\d,]+) cycles per frame "
        rf"instead of {fastest:,}",
        result.binding.sentence,
    )
    assert said and int(said[1].replace(",", "")) < 0.95 * fastest
    more = explore([graph], board(weight_ports=2), 200, "rtl", fastest_only=True)
    assert more.designs[0].cycles[0] < 0.95 * fastest


def test_where_memories_are_short_the_next_image_may_not_be_loaded_ahead() -> None:
    graph = network(**{**WIDER, "image_size": 96, "patch_size": 8, "channels": 3})
    short = Space([Workload(graph, "rtl")], board(bram36=100), np.inf)
    late = np.flatnonzero(short.candidates.image_ahead == 0)
    config = short.config(int(late[0]))
    assert config.image_ahead is False
    load = short.workloads[0].image_cycles(config.tile_depth)
    assert load == 3 * 96 * 96 // config.image_pixels
    twin = AcceleratorConfig.model_validate({**config.model_dump(), "image_ahead": True})
    assert (
        schedule(graph, config).depths["activation_depth"] < schedule(graph, twin).depths["activation_depth"]
    )
    timed = frame_timing(short.workloads[0].network, Tiles.of_config(twin)).cycles
    assert short.cycles(late[:1])[0, 0] == int(np.ceil(timed)) + load


def test_estimated_memories_become_exact() -> None:
    graph = network(**WIDER)
    space = Space([Workload(graph, "rtl")], SMALL, np.inf)
    some = np.random.default_rng(4).choice(len(space.candidates), 5, replace=False)
    space.make_exact(some)
    for index in some.tolist():
        config = space.config(index)
        need = schedule(graph, config).depths
        assert {name: getattr(config, name) for name in need} == need


def test_fewer_activation_bits_are_faster_on_the_same_board() -> None:
    scarce = board(dsp=150, lut=40_000)
    wide, narrow = (
        explore(
            [network(**{**WIDER, "image_size": 48, "activation_bits": bits})],
            scarce,
            200,
            "rtl",
            fastest_only=True,
        ).chosen
        for bits in (8, 6)
    )
    assert narrow.cycles < wide.cycles


points = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=40).map(np.array)


@settings(max_examples=200)
@given(points)
def test_pareto_sets_are_those_of_the_definition(points: np.ndarray) -> None:
    kept = {tuple(p) for p in points[pareto_set(points)]}
    wanted = {
        tuple(p)
        for p in points
        if not any((q <= p).all() and (q < p).any() for q in points)
    }  # fmt: skip
    assert kept == wanted
    assert len(kept) == len(pareto_set(points))


def test_costs_are_named_as_the_boards_resources() -> None:
    assert set(RESOURCES) <= set(Board.model_fields)
    assert {
        f.name for f in dataclasses.fields(Space([Workload(compiled(), "rtl")], SMALL, 1).candidates)
    } <= set(AcceleratorConfig.model_fields)
