"""Which networks to evaluate next: children of the best so far, within the limits of the hardware."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from qvit_hls.errors import QvitError
from qvit_hls.search.front import best_first
from qvit_hls.search.genome import Genome
from qvit_hls.search.hardware import Costs, Hardware

#: Rounds of candidates for one generation. From round to round they come closer to the fastest network.
_ROUNDS = 16
#: Candidates of a round for each network that is wanted.
_CANDIDATES = 8


@dataclass(frozen=True, eq=False)
class Population:
    """Networks that were evaluated.

    Attributes:
        rows: int64 ``[S, G]``.
        points: what to make small, float64 ``[S, costs]``: minus the accuracy, the cycles, and so on.
    """

    rows: np.ndarray
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class Breeding:
    """How candidates are made.

    Attributes:
        mutation_rate: probability of each gene to be drawn anew.
        uniform_share: one share of 8-bit rows in all layers of a network.
        free: genes that may change, bool ``[G]``.
        evolve: make children of the best; else draw at random.
    """

    mutation_rate: float
    uniform_share: bool
    free: np.ndarray
    evolve: bool = True


class Evolution:
    """Proposes networks that reach the targets.

    Args:
        hardware: costs of networks.
        targets: frames per second; a network must reach at least the slowest. Proposals are for each target
            in turn.

    Raises:
        QvitError: no network of the space reaches a target; every such target is named.
    """

    def __init__(self, hardware: Hardware, targets: Sequence[float]) -> None:
        self.hardware = hardware
        self.genome: Genome = hardware.genome
        self.limits = np.array([hardware.most_cycles(fps) for fps in sorted(targets)], np.int64)
        self._fastest = hardware.fastest()
        least = int(hardware.costs(self._fastest[None]).cycles[0])
        most = hardware.clock_mhz * 1e6 / least
        if problems := [
            f"The target of {fps:g} frames per second is out of reach: the fastest network of the space "
            f"{self.genome.space.name} reaches {most:,.1f} on {hardware.board.name} at "
            f"{hardware.clock_mhz:g} MHz."
            for fps, limit in zip(sorted(targets), self.limits.tolist(), strict=True)
            if limit < least
        ]:
            raise QvitError(problems)

    def propose(
        self,
        population: Population,
        known: Collection[bytes],
        count: int,
        breeding: Breeding,
        generator: np.random.Generator,
    ) -> tuple[np.ndarray, Costs]:
        """Networks to evaluate, and what they cost: different ones, none of them known, all within limits.

        Args:
            population: what was evaluated so far; may be empty.
            known: rows as bytes that are not to be proposed.
            count: how many are wanted. Fewer come back where no more were found.
        """
        slots = self.limits[np.arange(count) % len(self.limits)]
        taken: dict[int, tuple[np.ndarray, Costs]] = {}
        seen = set(known)
        for attempt in range(_ROUNDS):
            rows = self._candidates(population, _CANDIDATES * count, breeding, generator)
            if attempt:
                pull = generator.random(len(rows)) * attempt / (_ROUNDS - 1)
                towards = np.broadcast_to(self._fastest, rows.shape)
                rows = self.genome.cross(rows, towards, generator, breeding.free, pull)
            if breeding.uniform_share:
                rows = self.genome.with_uniform_share(rows)
            rows = _different(rows, seen)
            costs = self.hardware.costs(rows)
            for index, cycles in enumerate(costs.cycles.tolist()):
                # The tightest target that is still open and that the network reaches.
                slot = min(
                    (s for s in range(count) if s not in taken and cycles <= slots[s]),
                    key=lambda s: (slots[s], s),
                    default=None,
                )
                if slot is not None:
                    seen.add(rows[index].tobytes())
                    taken[slot] = rows[index], costs.take([index])
            if len(taken) == count:
                break
        chosen = [taken[slot] for slot in sorted(taken)]
        if not chosen:
            nothing = np.zeros((0, self.genome.length), np.int64)
            return nothing, self.hardware.costs(nothing)
        return np.stack([row for row, _ in chosen]), Costs.joined([costs for _, costs in chosen])

    def _candidates(
        self, population: Population, count: int, breeding: Breeding, generator: np.random.Generator
    ) -> np.ndarray:
        if not len(population.rows) or not breeding.evolve:
            return self.genome.sample(count, generator)
        elites = best_first(population.points)[: max(2, count // _CANDIDATES)]
        # Binary tournaments among the elites, which are in order: the lower index wins.
        pairs = generator.integers(len(elites), size=(2, 2, count)).min(axis=1)
        first, second = population.rows[elites[pairs]]
        crossed = self.genome.cross(first, second, generator, breeding.free)
        # As in Quasar-ViT: a half of the children has two parents, the other half mutates.
        children = np.where(np.arange(count)[:, None] % 2 == 0, crossed, first)
        rates = breeding.mutation_rate
        return self.genome.mutate(children, rates, generator, breeding.free)


def _different(rows: np.ndarray, known: Collection[bytes]) -> np.ndarray:
    """The first of equal rows that are not known, in their order."""
    first = {row.tobytes(): index for index, row in reversed(list(enumerate(rows)))}
    return rows[sorted(index for key, index in first.items() if key not in known)]
