"""The search: stages of generations, each proposed from those before it and evaluated by all workers.

What a generation consists of depends on the finished trials of earlier ones and on the seed only. So a search
that was stopped goes on as if it had not been, and several workers agree without asking one another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qvit_hls.nets.subnet import Subnet
from qvit_hls.search.accuracy import Accuracy
from qvit_hls.search.evolution import Breeding, Evolution, Population
from qvit_hls.search.front import hypervolume
from qvit_hls.search.genome import Genome
from qvit_hls.search.settings import SearchSettings
from qvit_hls.search.study import Proposal, Record, SearchStudy

#: Called with a stage's name, and how many of how many trials are finished in it.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Stage:
    """A part of a search.

    Attributes:
        trials: the most networks that it evaluates.
    """

    index: int
    name: str
    trials: int
    breeding: Breeding


@dataclass(frozen=True)
class Generation:
    """How far the search had come after a generation.

    Attributes:
        trials: finished so far.
        hypervolume: area of accuracy and frames per second, above the slowest target, that the networks so
            far dominate.
        best: the best accuracy so far at each target; None where no network reaches it yet.
    """

    stage: str
    generation: int
    trials: int
    hypervolume: float
    best: tuple[float | None, ...]


def stages(settings: SearchSettings, genome: Genome, trials: int) -> list[Stage]:
    """The stages of a search of so many trials."""
    rate, everything = settings.mutation_rate, np.ones(genome.length, bool)
    if settings.method == "random":
        return [Stage(0, "random", trials, Breeding(rate, False, everything, evolve=False))]
    if settings.method == "one-stage":
        return [Stage(0, "search", trials, Breeding(rate, False, everything))]
    coarse = min(settings.coarse_trials, trials)
    return [
        Stage(0, "coarse", coarse, Breeding(rate, True, everything)),
        Stage(1, "fine", trials - coarse, Breeding(rate, False, genome.is_share)),
    ]


class Search:
    """A search by one worker.

    Args:
        study: where trials are; other workers may share it.
        evolution: proposes networks.
        trials: how many networks all workers together evaluate.
    """

    def __init__(self, study: SearchStudy, evolution: Evolution, trials: int) -> None:
        self.study = study
        self.evolution = evolution
        self.settings = study.settings
        self.trials = trials
        self.stages = stages(study.settings, evolution.genome, trials)
        self._rows: dict[str, np.ndarray] = {}

    def run(self, accuracy: Accuracy, progress: Progress = lambda stage, done, total: None) -> list[Record]:
        """Search until all trials are finished, also those of other workers.

        Returns:
            All trials, in the order of their numbers.

        Raises:
            QvitError: an accuracy is no number, or the study cannot be used any more.
        """
        for stage in self.stages:
            self._run(stage, accuracy, progress)
        return self.study.records()

    def history(self) -> list[Generation]:
        """How the search came on, generation by generation."""
        hardware, targets = self.evolution.hardware, self.settings.targets
        records = sorted(self.study.records(), key=_place)
        names = {stage.index: stage.name for stage in self.stages}
        result = []
        for end, record in enumerate(records, start=1):
            if end < len(records) and _place(records[end]) == _place(record):
                continue
            rates = hardware.frames_per_second(np.array([r.cycles for r in records[:end]]))
            accuracies = np.array([r.accuracy for r in records[:end]])
            best = tuple(float(accuracies[rates >= t].max()) if (rates >= t).any() else None for t in targets)
            points = np.stack([-accuracies, -rates], axis=1)
            area = hypervolume(points, np.array([0.0, -targets[0]]))
            name = names.get(record.stage, str(record.stage))
            result.append(Generation(name, record.generation, end, area, best))
        return result

    def _run(self, stage: Stage, accuracy: Accuracy, progress: Progress) -> None:
        def show(record: Record | None = None) -> None:
            here = sum(r.stage == stage.index for r in self.study.records())
            progress(stage.name, min(here, stage.trials), stage.trials)

        generation = 0
        while True:
            here = (stage.index, generation)
            records = self.study.records()
            before = [record for record in records if _place(record) < here]
            done = sum(record.stage == stage.index for record in before)
            # A later stage has begun, so this one is finished, with fewer trials where networks ran out.
            if done >= stage.trials or any(record.stage > stage.index for record in records):
                break
            # A later generation has begun, so this one is finished.
            if not any(_place(record) > here for record in records):
                proposals = self._propose(stage, generation, before)[: stage.trials - done]
                if not proposals:
                    break
                show()
                self.study.evaluate(proposals, accuracy, show)
            generation += 1
        if stage.trials:
            show()

    def _propose(self, stage: Stage, generation: int, before: list[Record]) -> list[Proposal]:
        population = self._population(before)
        known = {row.tobytes() for row in population.rows}
        generator = np.random.default_rng([self.settings.seed, stage.index, generation])
        rows, costs = self.evolution.propose(
            population, known, self.settings.population, stage.breeding, generator
        )
        subnets = self.evolution.genome.subnets(rows)
        cycles = costs.cycles.tolist()
        return [
            Proposal(subnet, stage.index, generation, taken)
            for subnet, taken in zip(subnets, cycles, strict=True)
        ]

    def _population(self, records: list[Record]) -> Population:
        """Networks in the order of their generations, whatever the numbers of their trials are."""
        genome = self.evolution.genome
        records = sorted(records, key=lambda record: (*_place(record), record.key))
        for record in records:
            if record.key not in self._rows:
                self._rows[record.key] = genome.rows([Subnet.of_key(record.key)])[0]
        rows = [self._rows[record.key] for record in records]
        if not rows:
            return Population(np.zeros((0, genome.length), np.int64), np.zeros((0, 2)))
        stacked = np.stack(rows)
        points = [[-record.accuracy for record in records], [float(record.cycles) for record in records]]
        if self.settings.minimise_resources:
            hardware, slowest = self.evolution.hardware, int(self.evolution.limits.max())
            points.append(hardware.smallest_share(hardware.costs(stacked), slowest).tolist())
        return Population(stacked, np.array(points).T)


def _place(record: Record) -> tuple[int, int]:
    return record.stage, record.generation
