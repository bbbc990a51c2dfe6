"""How many networks per second the cycle model times on one core, for a fixed accelerator.

The networks are drawn from a supernet around DeiT-Small: 8 to 12 blocks, 3 to 6 heads, MLPs of 768 to 1536
channels, shares of 8-bit rows per layer. The accelerator is the one of ``timeline.py``. Counted is the time
of one core for both steps: from architectures to layers, and from layers to cycles. A sample is timed network
by network too; the cycles must be the same.

    python benchmarks/search_rate.py [--json benchmarks/results/search_rate.json]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from qvit_hls.flow.output import write_json
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.timing.analytic import frame_cycles
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.vit import VitArchitectures, vit_shape

RESULTS = Path(__file__).parent / "results"
BATCHES = (1, 16, 256, 4096)
REPEATS = 5
SAMPLE = 16
_BLOCKS = 12
#: Relative; a network alone has no absent layers, whose descriptors are read ahead.
_SAME = 1e-12


def draw(count: int, seed: int) -> VitArchitectures:
    """Random networks of the supernet."""
    rng = np.random.default_rng(seed)
    depth = rng.integers(8, _BLOCKS + 1, count)
    exists = np.arange(_BLOCKS) < depth[:, None]
    return VitArchitectures(
        image_size=224,
        patch_size=16,
        channels=3,
        classes=1000,
        embed_dim=np.full(count, 384),
        heads=rng.integers(3, 7, (count, _BLOCKS)) * exists,
        head_dim=np.full((count, _BLOCKS), 64),
        mlp_hidden=rng.choice([768, 1152, 1536], (count, _BLOCKS)),
        shares=rng.choice([0.0, 0.25, 0.5], (count, _BLOCKS, 6)),
    )


def check_sample(tiles: Tiles) -> None:
    """Networks that are timed together take what each takes alone."""
    shape = vit_shape(draw(SAMPLE, seed=2))
    together = frame_cycles(shape, tiles)
    for index in range(SAMPLE):
        alone = float(frame_cycles(shape.select(index).compact(), tiles))
        if abs(alone - together[index]) > _SAME * alone:
            raise SystemExit(f"network {index} takes {together[index]} cycles among others, {alone} alone")


def measure(tiles: Tiles, batch: int) -> dict[str, Any]:
    """Networks per second of one core, the best of REPEATS."""
    best = float("inf")
    for _ in range(REPEATS):
        nets = draw(batch, seed=1)
        begin = time.process_time()
        frame_cycles(vit_shape(nets), tiles)
        best = min(best, time.process_time() - begin)
    return {"batch": batch, "seconds": best, "networks_per_second": batch / best}


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accelerator", type=Path, default=RESULTS / "timeline.json")
    parser.add_argument("--json", type=Path, default=RESULTS / "search_rate.json")
    arguments = parser.parse_args()
    accelerator = json.loads(arguments.accelerator.read_text())["accelerator"]
    tiles = Tiles.of_config(AcceleratorConfig.model_validate(accelerator))
    check_sample(tiles)
    results = [measure(tiles, batch) for batch in BATCHES]
    table = Table(title="Networks per second on one core")
    for heading in ("networks at once", "seconds", "networks per second"):
        table.add_column(heading, justify="right")
    for result in results:
        rate = f"{result['networks_per_second']:,.0f}"
        table.add_row(f"{result['batch']:,}", f"{result['seconds']:.4f}", rate)
    Console().print(table)
    write_json(arguments.json, {"benchmark": "search_rate", "accelerator": accelerator, "results": results})


if __name__ == "__main__":
    main()
