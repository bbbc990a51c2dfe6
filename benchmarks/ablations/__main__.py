"""Ablations of supernet and search on the glyphs, with several seeds.

    python examples/glyphs/render.py -o build/glyphs
    python benchmarks/ablations [--data build/glyphs] [-o build/ablations] [--jobs N] [--seeds 0 1 2]

Trains supernets and networks, searches, tunes, prints what each ablation compares as mean and standard
deviation over the seeds, and saves JSON and a picture. What is trained stays in the folder: a run that was
stopped goes on, and a further seed costs only itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from networks import Budget
from report import pictures, summary, tables
from rich.console import Console
from studies import STUDIES, run_study, train_supernet

from qvit_hls.flow.output import write_file, write_json

_ROOT = Path(__file__).parents[2]


def main() -> None:
    """Train, compare, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("build/glyphs"))
    parser.add_argument("-o", "--out", type=Path, default=Path("build/ablations"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--studies", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--json", type=Path, default=_ROOT / "benchmarks/results/ablations.json")
    parser.add_argument("--plot", type=Path, default=_ROOT / "docs/images/ablations.png")
    arguments = parser.parse_args()
    budget, console = Budget(), Console(width=110)
    seeds, studies = list(dict.fromkeys(arguments.seeds)), list(dict.fromkeys(arguments.studies))
    common = arguments.out, arguments.data, budget
    results: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in studies}
    kinds = (True, False) if "layer_scale" in studies else (True,)
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn")) as pool:
        trained = {
            pool.submit(train_supernet, *common, seed, scaled): (seed, scaled)
            for seed in seeds
            for scaled in kinds
        }
        missing, running = Counter(seed for seed, _ in trained.values()), {}
        for future in as_completed(trained):
            future.result()
            seed, scaled = trained[future]
            console.print(f"supernet, seed {seed}, {'with' if scaled else 'without'} layer scale")
            missing[seed] -= 1
            if not missing[seed]:
                running |= {pool.submit(run_study, *common, name, seed): (name, seed) for name in studies}
        for future in as_completed(running):
            name, seed = running[future]
            results[name][seed] = future.result()
            console.print(f"{name}, seed {seed}")
    by_study = {name: [found[seed] for seed in seeds] for name, found in results.items()}
    summaries = {name: summary(found) for name, found in by_study.items()}
    for table in tables(summaries):
        console.print(table)
    content = {
        "benchmark": "ablations", "torch": torch.__version__, "budget": asdict(budget), "seeds": seeds,
        "summary": summaries, "results": by_study,
    }  # fmt: skip
    write_json(arguments.json, content)
    if set(studies) == set(STUDIES):
        write_file(arguments.plot, pictures(by_study, summaries))


if __name__ == "__main__":
    main()
