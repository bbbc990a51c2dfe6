"""What defines a search: whoever works on the same study must have the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from qvit_hls.errors import QvitError
from qvit_hls.search.hardware import Hardware

Method = Literal["coarse-to-fine", "one-stage", "random"]
METHODS: tuple[Method, ...] = ("coarse-to-fine", "one-stage", "random")
#: Settings that follow from the number of trials when a study is made, and stay when it gets more.
PLAN = ("population", "coarse_trials")
#: Settings that are digests, and what each is of.
DIGESTS = {
    "space": "search space",
    "hardware": "board, clock or accelerator",
    "accuracy": "supernet, or other validation images",
}
#: The most networks of a generation, and the fewest; between them it is a tenth of the trials.
_GENERATION = (4, 32)
#: Probability of each choice to be drawn anew, where nothing else is said.
MUTATION_RATE = 0.08


@dataclass(frozen=True)
class SearchSettings:
    """Settings of a search.

    Attributes:
        method: coarse to fine: half of the trials for architectures with one share of 8-bit rows, the others
            for the share of each layer. Or all choices at once; or at random.
        targets: frames per second, ascending.
        seed: of all random choices.
        population: networks of a generation.
        coarse_trials: trials of the first of two stages.
        mutation_rate: probability of each choice to be drawn anew.
        minimise_resources: the accelerator's share of the board is a third objective.
        space, hardware, accuracy: digests of the search space, of accelerators and clock, and of what
            evaluates accuracies.
    """

    method: Method
    targets: tuple[float, ...]
    seed: int
    population: int
    coarse_trials: int
    mutation_rate: float
    minimise_resources: bool
    space: str
    hardware: str
    accuracy: str

    @classmethod
    def of(
        cls,
        hardware: Hardware,
        accuracy: str,
        *,
        targets: tuple[float, ...],
        trials: int,
        method: Method = "coarse-to-fine",
        seed: int = 0,
        mutation_rate: float = MUTATION_RATE,
        minimise_resources: bool = False,
    ) -> SearchSettings:
        """Settings of a search of some trials.

        Args:
            accuracy: digest of what evaluates accuracies.

        Raises:
            QvitError: a setting is out of range; every problem is named.
        """
        check_settings(targets, trials, method, mutation_rate)
        low, high = _GENERATION
        return cls(
            method=method,
            targets=tuple(sorted({float(fps) for fps in targets})),
            seed=seed,
            population=min(max(trials // 10, low), high),
            coarse_trials=(trials + 1) // 2 if method == "coarse-to-fine" else trials,
            mutation_rate=mutation_rate,
            minimise_resources=minimise_resources,
            space=digest(hardware.genome.space.model_dump(mode="json")),
            hardware=hardware_digest(hardware),
            accuracy=accuracy,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "targets": list(self.targets)}


def check_settings(
    targets: tuple[float, ...], trials: int, method: str, mutation_rate: float = MUTATION_RATE
) -> None:
    """Check what ``SearchSettings.of`` takes, for those who would work for long before they call it.

    Raises:
        QvitError: a setting is out of range; every problem is named.
    """
    if problems := list(_problems(targets, trials, method, mutation_rate)):
        raise QvitError(problems)


def _problems(targets: tuple[float, ...], trials: int, method: str, mutation_rate: float) -> Iterator[str]:
    if not targets:
        yield "No target is named; give at least one number of frames per second."
    for fps in targets:
        if not 0 < fps < float("inf"):
            yield f"A target is {fps:g} frames per second; it should be a number greater than 0."
    if trials < 1:
        yield f"The search has {trials} trials; it should have at least 1."
    if method not in METHODS:
        yield f"The search method is {method!r}; it should be one of {', '.join(METHODS)}."
    if not 0 < mutation_rate <= 1:
        yield f"The mutation rate is {mutation_rate:g}; it should be greater than 0 and at most 1."


def digest(data: object) -> str:
    """A short text that tells plain data apart."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def hardware_digest(hardware: Hardware) -> str:
    """The digest of accelerators, memory bandwidth and clock: all that cycles and rates depend on."""
    configs = [accelerator.config.model_dump() for accelerator in hardware.accelerators]
    return digest([configs, hardware.board.ddr_gbytes_per_s, hardware.clock_mhz])
