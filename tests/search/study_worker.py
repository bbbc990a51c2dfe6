"""A worker of a study, as a process: ``python study_worker.py STUDY EVALUATED SECONDS [HANG_AT]``.

It makes the file EVALUATED once it is ready, and begins when there is a file ``go`` beside it.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

import numpy as np
from search_spaces import small_space

from qvit_hls.nets.subnet import Subnet
from qvit_hls.search.settings import SearchSettings
from qvit_hls.search.study import Proposal, SearchStudy

#: Settings of a study whose proposals are made here, not by a search.
SETTINGS = SearchSettings(
    method="random", targets=(1.0,), seed=0, population=4, coarse_trials=40, mutation_rate=0.1,
    minimise_resources=False, space="space", hardware="hardware", accuracy="accuracy",
)  # fmt: skip


def proposals(count: int = 24) -> list[Proposal]:
    """The same different networks for everyone."""
    generator = np.random.default_rng(5)
    subnets: dict[str, Subnet] = {}
    while len(subnets) < count:
        subnet = small_space().sample(generator)
        subnets[subnet.key] = subnet
    return [Proposal(subnet, 0, 0, 1000 + index) for index, subnet in enumerate(subnets.values())]


def synthetic_accuracy(subnet: Subnet) -> float:
    """Between 0 and 1, the same for the same network in every process."""
    return int.from_bytes(hashlib.sha256(subnet.key.encode()).digest()[:4], "big") / 2**32


def main() -> None:
    study, evaluated, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    hang_at = int(sys.argv[4]) if len(sys.argv) > 4 else -1
    count = 0

    def accuracy(subnet: Subnet) -> float:
        nonlocal count
        time.sleep(3600 if count == hang_at else seconds)
        count += 1
        with evaluated.open("a") as file:
            file.write(subnet.key + "\n")
        return synthetic_accuracy(subnet)

    opened = SearchStudy(study, SETTINGS)
    evaluated.touch()
    while not (evaluated.parent / "go").exists():
        time.sleep(0.01)
    opened.evaluate(proposals(), accuracy)


if __name__ == "__main__":
    main()
