"""What a search costs beside evaluating accuracies, and how fast networks are timed.

A search of 1,000 trials whose accuracies cost nothing, with its study in a file, from its begin to the last
trial; and networks of a published space timed on one accelerator. Of both, seconds on the clock, and of one
core by what the system counts for the process.

    python benchmarks/search_overhead.py [--trials 1000] [--json benchmarks/results/search_overhead.json]
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from qvit_hls.flow.output import write_json
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.hw.board import load_board
from qvit_hls.nets.space import load_space
from qvit_hls.nets.subnet import Subnet
from qvit_hls.search.accelerators import tile_accelerator
from qvit_hls.search.coarse_to_fine import Search
from qvit_hls.search.evolution import Evolution
from qvit_hls.search.genome import Genome
from qvit_hls.search.hardware import Hardware
from qvit_hls.search.settings import SearchSettings
from qvit_hls.search.study import SearchStudy

RESULT = Path(__file__).parent / "results" / "search_overhead.json"
BOARD, CLOCK_MHZ = "zcu102", 200.0
TILE = (16, 32, 8)
#: Networks that are timed, and how often; the fastest time counts.
TIMED, TIMES = 6144, 3
#: Seconds that 1,000 trials may take beside their accuracies; networks that are timed per second of a core.
MOST_SECONDS, LEAST_RATE = 60.0, 5000.0


class FreeAccuracy:
    """Between 0 and 1, from the network's key."""

    digest = "free"

    def __call__(self, subnet: Subnet) -> float:
        return int.from_bytes(hashlib.sha256(subnet.key.encode()).digest()[:4], "big") / 2**32


def hardware_of(space_name: str) -> Hardware:
    space, board = load_space(space_name), load_board(BOARD)
    with one_torch_thread():
        return Hardware(Genome(space), tile_accelerator(space, TILE, board), board, CLOCK_MHZ)


def timing_rate(hardware: Hardware) -> dict[str, float]:
    """Networks per second."""
    rows = hardware.genome.sample(TIMED, np.random.default_rng(0))
    seconds, core = [], []
    for _ in range(TIMES):
        clock, process = time.perf_counter(), time.process_time()
        hardware.costs(rows)
        seconds.append(time.perf_counter() - clock)
        core.append(time.process_time() - process)
    return {"per_second": TIMED / min(seconds), "per_core_second": TIMED / min(core)}


def overhead(hardware: Hardware, trials: int) -> dict[str, float]:
    """Of a search whose accuracies are free."""
    rates = hardware.frames_per_second(
        hardware.costs(hardware.genome.sample(500, np.random.default_rng(1))).cycles
    )
    targets = tuple(float(fps) for fps in np.quantile(rates, (0.2, 0.5, 0.8)))
    with tempfile.TemporaryDirectory() as folder:
        clock, process = time.perf_counter(), time.process_time()
        settings = SearchSettings.of(hardware, "free", targets=targets, trials=trials)
        evolution = Evolution(hardware, targets)
        study = SearchStudy(str(Path(folder) / "study.db"), settings)
        records = Search(study, evolution, trials).run(FreeAccuracy())
        seconds, core = time.perf_counter() - clock, time.process_time() - process
        clock = time.perf_counter()
        reopened = SearchStudy(str(Path(folder) / "study.db"), settings)
        reopening = time.perf_counter() - clock
    if len(records) != trials or reopened.records() != records:
        raise SystemExit(f"the search has {len(records)} trials instead of {trials}, or lost some")
    return {"trials": trials, "seconds": seconds, "core_seconds": core, "reopen_seconds": reopening}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    result: dict[str, Any] = {"board": BOARD, "clock_mhz": CLOCK_MHZ, "tile": list(TILE), "spaces": {}}
    table = Table(box=None)
    for heading in ("Space", "Networks/s", "per core second", "Trials", "Overhead s", "core s", "Reopen s"):
        table.add_column(heading, justify="right")
    for name in ("digits", "autoformer_t"):
        hardware = hardware_of(name)
        rate, cost = timing_rate(hardware), overhead(hardware, options.trials)
        result["spaces"][name] = {"timing": rate, "search": cost}
        table.add_row(
            name,
            f"{rate['per_second']:,.0f}",
            f"{rate['per_core_second']:,.0f}",
            f"{options.trials:,}",
            f"{cost['seconds']:.1f}",
            f"{cost['core_seconds']:.1f}",
            f"{cost['reopen_seconds']:.2f}",
        )
    limits = {"most_seconds_of_1000_trials": MOST_SECONDS, "least_networks_per_core_second": LEAST_RATE}
    result["limits"] = limits
    write_json(options.json, result)
    Console().print(table)


if __name__ == "__main__":
    main()
