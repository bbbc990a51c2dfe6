"""What is proposed is new, within the limits, better than chance; and what cannot be reached is said."""

from __future__ import annotations

import numpy as np
import pytest

from qvit_hls.errors import QvitError
from qvit_hls.search.evolution import Breeding, Evolution, Population
from qvit_hls.search.hardware import Hardware


def _breeding(hardware: Hardware, **changes: object) -> Breeding:
    fields = {"mutation_rate": 0.1, "uniform_share": False, "free": np.ones(hardware.genome.length, bool)}
    return Breeding(**{**fields, **changes})  # type: ignore[arg-type]


def _empty(hardware: Hardware) -> Population:
    return Population(np.zeros((0, hardware.genome.length), np.int64), np.zeros((0, 2)))


def _population(hardware: Hardware, count: int = 30) -> Population:
    rows = hardware.genome.sample(count, np.random.default_rng(7))
    return Population(rows, np.stack([-rows.sum(axis=1), hardware.costs(rows).cycles], axis=1).astype(float))


def _rates(hardware: Hardware) -> np.ndarray:
    """Frames per second of random networks, ascending."""
    rows = hardware.genome.sample(200, np.random.default_rng(0))
    return np.sort(hardware.frames_per_second(hardware.costs(rows).cycles))


def test_proposals_are_new_and_within_the_limits(hardware: Hardware) -> None:
    slow, fast = _rates(hardware)[[20, 190]].tolist()
    evolution, population = Evolution(hardware, [fast, slow]), _population(hardware)
    known = {row.tobytes() for row in population.rows}
    rows, costs = evolution.propose(population, known, 20, _breeding(hardware), np.random.default_rng(1))
    keys = {row.tobytes() for row in rows}
    assert len(keys) == 20 and not keys & known
    assert (costs.cycles == hardware.costs(rows).cycles).all()
    fps = hardware.frames_per_second(costs.cycles)
    assert (fps >= slow).all()
    assert (fps >= fast).sum() >= 10


def test_a_target_that_few_networks_reach_is_found(hardware: Hardware) -> None:
    fastest = hardware.costs(hardware.fastest()[None]).cycles
    target = float(hardware.frames_per_second(fastest)[0]) / 1.001
    assert (_rates(hardware) < target).all()
    evolution = Evolution(hardware, [target])
    rows, costs = evolution.propose(_empty(hardware), (), 4, _breeding(hardware), np.random.default_rng(0))
    assert len(rows) >= 1
    assert (hardware.frames_per_second(costs.cycles) >= target).all()


def test_unreachable_targets_are_named_with_the_most_that_is_reached(hardware: Hardware) -> None:
    most = 200e6 / int(hardware.costs(hardware.fastest()[None]).cycles[0])
    with pytest.raises(QvitError) as refused:
        Evolution(hardware, [2 * most, 1.0, 3 * most])
    assert refused.value.problems == tuple(
        f"The target of {factor * most:g} frames per second is out of reach: the fastest network of the "
        f"space small reaches {most:,.1f} on zcu102 at 200 MHz."
        for factor in (2, 3)
    )


@pytest.mark.parametrize("fps", [1e-12, 1e-305])
def test_any_network_reaches_next_to_nothing(hardware: Hardware, fps: float) -> None:
    limit = int(Evolution(hardware, [fps]).limits[0])
    assert (hardware.costs(hardware.genome.sample(50, np.random.default_rng(0))).cycles <= limit).all()


def test_no_network_is_faster_than_the_fastest(hardware: Hardware) -> None:
    rows = hardware.genome.sample(2000, np.random.default_rng(3))
    assert hardware.costs(rows).cycles.min() >= hardware.costs(hardware.fastest()[None]).cycles[0]


def test_a_uniform_share_stays_uniform_and_fixed_genes_stay(hardware: Hardware) -> None:
    evolution, population = Evolution(hardware, [1.0]), _population(hardware)
    generator = np.random.default_rng(2)
    uniform = _breeding(hardware, uniform_share=True)
    rows, _ = evolution.propose(population, (), 12, uniform, generator)
    assert (rows == hardware.genome.with_uniform_share(rows)).all()
    fine = _breeding(hardware, free=hardware.genome.is_share)
    rows, _ = evolution.propose(population, (), 12, fine, generator)
    fixed = ~hardware.genome.is_share
    architectures = {row[fixed].tobytes() for row in population.rows}
    assert {row[fixed].tobytes() for row in rows} <= architectures


def test_evolution_gets_further_than_chance(hardware: Hardware) -> None:
    """The sum of all genes is to be large within a limit of cycles."""
    target = float(_rates(hardware)[100])
    best = {}
    for evolve in (True, False):
        evolution, population = Evolution(hardware, [target]), _empty(hardware)
        breeding = _breeding(hardware, evolve=evolve)
        for generation in range(8):
            known = {row.tobytes() for row in population.rows}
            rows, costs = evolution.propose(
                population, known, 16, breeding, np.random.default_rng([0, generation])
            )
            points = np.stack([-rows.sum(axis=1), costs.cycles], axis=1)
            population = Population(
                np.concatenate([population.rows, rows]), np.concatenate([population.points, points])
            )
        best[evolve] = -population.points[:, 0].min()
    assert best[True] > best[False] + 3


def test_a_space_that_is_used_up_gives_what_is_left(hardware: Hardware) -> None:
    evolution, population = Evolution(hardware, [1.0]), _population(hardware, 1)
    # Only the first gene is free: as many networks as there are depths.
    free = np.arange(hardware.genome.length) == 1
    known = {row.tobytes() for row in population.rows}
    rows, _ = evolution.propose(
        population, known, 10, _breeding(hardware, free=free, mutation_rate=1.0), np.random.default_rng(0)
    )
    assert len(rows) == len(hardware.genome.space.embed_dim) - 1
