"""The search in stages: budgets, what each stage may change, and the same end whatever interrupts it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from search_spaces import small_space
from study_worker import synthetic_accuracy

from qvit_hls.errors import QvitError
from qvit_hls.nets.subnet import Subnet
from qvit_hls.search.accelerators import network_graph
from qvit_hls.search.coarse_to_fine import Search
from qvit_hls.search.evolution import Evolution
from qvit_hls.search.hardware import Hardware
from qvit_hls.search.picks import picks
from qvit_hls.search.settings import Method, SearchSettings
from qvit_hls.search.study import Record, SearchStudy

TARGETS = (60_000.0, 90_000.0)


class SmoothAccuracy:
    """More of everything is better, and more 8-bit rows; it can stop after some networks."""

    digest = "smooth"

    def __init__(self, stop_after: int = -1) -> None:
        self.left = stop_after

    def __call__(self, subnet: Subnet) -> float:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        size = sum(b.heads * b.head_dim * b.mlp_ratio * (1 + sum(b.shares)) for b in subnet.blocks)
        return 1 - 1 / (1 + subnet.embed_dim * size / 500) + 1e-6 * synthetic_accuracy(subnet)


def _search(
    hardware: Hardware,
    path: Path,
    trials: int,
    method: Method = "coarse-to-fine",
    seed: int = 0,
    **more: bool,
) -> Search:
    settings = SearchSettings.of(
        hardware, "smooth", targets=TARGETS, trials=trials, method=method, seed=seed, **more
    )
    return Search(SearchStudy(str(path), settings), Evolution(hardware, TARGETS), trials)


def _what(records: list[Record]) -> set[tuple[str, int, int, int, float]]:
    return {(r.key, r.stage, r.generation, r.cycles, r.accuracy) for r in records}


def test_the_stages_share_the_trials_and_change_what_they_may(hardware: Hardware, tmp_path: Path) -> None:
    search = _search(hardware, tmp_path / "study.db", 41)
    records = search.run(SmoothAccuracy())
    coarse = [Subnet.of_key(r.key) for r in records if r.stage == 0]
    fine = [Subnet.of_key(r.key) for r in records if r.stage == 1]
    assert (len(coarse), len(fine)) == (21, 20)
    assert all(subnet == subnet.with_share(subnet.patch_share) for subnet in coarse)
    assert {subnet.with_share(0.0) for subnet in fine} <= {subnet.with_share(0.0) for subnet in coarse}
    assert any(subnet != subnet.with_share(subnet.patch_share) for subnet in fine)
    assert len({r.key for r in records}) == 41
    limit = hardware.most_cycles(min(TARGETS))
    assert all(r.cycles <= limit for r in records)


def test_a_search_that_was_stopped_ends_as_if_it_had_not_been(hardware: Hardware, tmp_path: Path) -> None:
    whole = _search(hardware, tmp_path / "whole.db", 24).run(SmoothAccuracy())
    path = tmp_path / "stopped.db"
    for stop_after in (1, 7, 9):
        with pytest.raises(KeyboardInterrupt):
            _search(hardware, path, 24).run(SmoothAccuracy(stop_after))
    assert _what(_search(hardware, path, 24).run(SmoothAccuracy())) == _what(whole)


def test_the_same_seed_gives_the_same_trials_and_another_seed_others(
    hardware: Hardware, tmp_path: Path
) -> None:
    first, same, other = (
        _search(hardware, tmp_path / f"{index}.db", 16, seed=seed).run(SmoothAccuracy())
        for index, seed in enumerate((3, 3, 4))
    )
    assert first == same
    assert _what(first) != _what(other)


def test_more_trials_go_on_where_fewer_ended(hardware: Hardware, tmp_path: Path) -> None:
    """As the longer search would have done it from the start."""
    path = tmp_path / "study.db"
    short = _search(hardware, path, 22, "one-stage").run(SmoothAccuracy())
    longer = _search(hardware, path, 40, "one-stage").run(SmoothAccuracy())
    whole = _search(hardware, tmp_path / "whole.db", 40, "one-stage").run(SmoothAccuracy())
    assert (len(short), len(longer)) == (22, 40)
    assert _what(short) < _what(longer)
    assert _what(longer) == _what(whole)


def test_the_first_stage_stays_when_a_search_gets_more_trials(hardware: Hardware, tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    short = _search(hardware, path, 10).run(SmoothAccuracy())
    longer = _search(hardware, path, 18).run(SmoothAccuracy())
    assert [sum(record.stage == stage for record in short) for stage in (0, 1)] == [5, 5]
    assert [sum(record.stage == stage for record in longer) for stage in (0, 1)] == [5, 13]
    assert longer[:10] == short


@pytest.mark.parametrize("method", ["one-stage", "random"])
def test_other_methods_take_as_many_trials(method: Method, hardware: Hardware, tmp_path: Path) -> None:
    records = _search(hardware, tmp_path / "study.db", 20, method).run(SmoothAccuracy())
    assert len(records) == 20 and {r.stage for r in records} == {0}


def test_evolution_beats_random_search_at_equal_trials(hardware: Hardware, tmp_path: Path) -> None:
    methods: tuple[Method, ...] = ("coarse-to-fine", "one-stage", "random")
    area = {}
    for method in methods:
        search = _search(hardware, tmp_path / f"{method}.db", 120, method)
        search.run(SmoothAccuracy())
        history = search.history()
        assert [g.trials for g in history] == sorted({g.trials for g in history})
        areas = [g.hypervolume for g in history]
        assert areas == sorted(areas) and history[-1].trials == 120
        area[method] = areas[-1]
    assert min(area["coarse-to-fine"], area["one-stage"]) > area["random"]


def test_the_history_ends_with_the_accuracies_of_the_picks(hardware: Hardware, tmp_path: Path) -> None:
    search = _search(hardware, tmp_path / "study.db", 24)
    records = search.run(SmoothAccuracy())
    found = picks(records, hardware, TARGETS, partial(network_graph, hardware.genome.space))
    for pick, target, best in zip(found, TARGETS, search.history()[-1].best, strict=True):
        assert pick is not None
        assert pick.target_fps == target
        assert pick.accuracy == best == max(
            r.accuracy for r in records if hardware.frames_per_second(r.cycles) >= target
        )  # fmt: skip
        assert pick.frames_per_second >= target
        assert pick.cycles == hardware.costs(hardware.genome.rows([pick.subnet])).cycles[0]


def test_a_target_that_no_trial_reached_has_no_pick(hardware: Hardware) -> None:
    graph_of = partial(network_graph, hardware.genome.space)
    slow = Record(0, small_space().largest().key, 0, 0, 10**6, 0.9)
    assert picks([slow], hardware, [1000.0], graph_of) == [None]
    assert picks([], hardware, [1000.0], graph_of) == [None]


def test_resources_can_be_an_objective(hardware: Hardware, tmp_path: Path) -> None:
    search = _search(hardware, tmp_path / "study.db", 12, minimise_resources=True)
    records = search.run(SmoothAccuracy())
    points = search._population(records).points
    assert points.shape == (12, 3)
    assert (points[:, 2] == hardware.accelerators[0].share).all()


def test_a_small_space_ends_the_search_early(hardware: Hardware, tmp_path: Path) -> None:
    one = small_space(
        depth=[1], heads=[1], head_dim=[4], mlp_ratio=[1.5], eight_bit_share=[0], activation_bits=[7]
    )
    tiny = Hardware(type(hardware.genome)(one), hardware.accelerators, hardware.board, 200)
    records = _search(tiny, tmp_path / "study.db", 30, "one-stage").run(SmoothAccuracy())
    assert len(records) == one.size == 3


def test_a_small_space_that_is_searched_again_ends_too(hardware: Hardware, tmp_path: Path) -> None:
    """Its first stage ran out of networks before it had its trials."""
    few = small_space(
        depth=[1], embed_dim=[8], heads=[1], head_dim=[4], mlp_ratio=[2], eight_bit_share=[0, 1],
        activation_bits=[7],
    )  # fmt: skip
    tiny = Hardware(type(hardware.genome)(few), hardware.accelerators, hardware.board, 200)
    first = _search(tiny, tmp_path / "study.db", 12).run(SmoothAccuracy())
    assert [sum(record.stage == stage for record in first) for stage in (0, 1)] == [2, 6]
    assert _search(tiny, tmp_path / "study.db", 12).run(SmoothAccuracy()) == first
    assert len(_search(tiny, tmp_path / "study.db", 15).run(SmoothAccuracy())) == 11


def test_settings_that_make_no_search_are_all_named(hardware: Hardware) -> None:
    with pytest.raises(QvitError) as refused:
        SearchSettings.of(hardware, "", targets=(0.0,), trials=0, mutation_rate=2.0)
    assert refused.value.problems == (
        "A target is 0 frames per second; it should be a number greater than 0.",
        "The search has 0 trials; it should have at least 1.",
        "The mutation rate is 2; it should be greater than 0 and at most 1.",
    )
    with pytest.raises(QvitError) as refused:
        SearchSettings.of(hardware, "", targets=(), trials=1)
    assert refused.value.problems == ("No target is named; give at least one number of frames per second.",)
