"""Where the cycles of DeiT-Small go on the RTL engine: a timeline of one frame, and a table.

Random 4-bit weights; the accelerator is the one that ``qvit-hls explore`` chooses for ZCU102. The timeline is
the schedule simulation's, the table the cycle model's.

    python benchmarks/timeline.py [--image docs/images/deit_small_timeline.png]
                                  [--json benchmarks/results/timeline.json]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from qvit_hls.flow.estimate import ModelEstimate, estimate_model
from qvit_hls.flow.generate import Target
from qvit_hls.flow.output import write_json
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.hw.timing.analytic import CAUSES, FrameTiming
from qvit_hls.hw.timing.timeline import Cause, Lane, Timeline
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.presets import deit_small
from qvit_hls.nets.random import random_model
from qvit_hls.report.causes import cause_rows, cause_table
from qvit_hls.report.timeline import layer_kind, write_timeline

FOLDER = Path(__file__).parent
#: Lanes whose work is counted.
_LANES = (Lane.LOADER, Lane.ARRAY, Lane.DRAIN, Lane.VECTOR)


@one_torch_thread()
def deit_small_estimate() -> ModelEstimate:
    """DeiT-Small with 4-bit rows on the accelerator that explore chooses for ZCU102."""
    config = deit_small()
    config = config.model_validate({**config.model_dump(), "eight_bit_share": 0.0})
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "deit_small.pt"
        save_model(random_model(config, seed=1), model)
        return estimate_model(model, Target.on_board("zcu102", mac="rtl"))


def causes_by_kind(timing: FrameTiming, names: list[str]) -> dict[str, dict[str, float]]:
    """Cycles that the MAC tile loses to each cause, and those of products, by the kind of layer."""
    result: dict[str, dict[str, float]] = {}
    for index, name in enumerate(names):
        row = result.setdefault(layer_kind(name), dict.fromkeys(("array", *timing.waits), 0.0))
        row["array"] += float(timing.array[index])
        for cause, values in timing.waits.items():
            row[cause] += float(values[index])
    return {kind: row for kind, row in result.items() if any(row.values())}


def lane_table(timeline: Timeline) -> Table:
    """How long each lane works."""
    table = Table(title="Lanes, by the schedule simulation", box=None, pad_edge=False)
    for heading in ("lane", "cycles of work", "share"):
        table.add_column(heading, justify="left" if heading == "lane" else "right")
    for lane in _LANES:
        cycles = timeline.cycles_of(lane, Cause.WORK)
        table.add_row(lane.value, f"{cycles:,}", f"{cycles / timeline.cycles:.1%}")
    return table


def kind_table(by_kind: dict[str, dict[str, float]]) -> Table:
    """What the MAC tile does in each kind of layer."""
    table = Table(title="MAC tile, by the kind of layer", box=None, pad_edge=False)
    causes = [cause for cause in CAUSES if cause in next(iter(by_kind.values()))]
    for heading in ("layers", *causes):
        table.add_column(heading, justify="left" if heading == "layers" else "right")
    for kind, row in by_kind.items():
        table.add_row(kind, *(f"{row[cause]:,.0f}" for cause in causes))
    return table


def result_json(result: ModelEstimate, timing: FrameTiming, timeline: Timeline) -> dict[str, Any]:
    """Everything that is shown."""
    return {
        "benchmark": "timeline",
        "model": "deit_small",
        "eight_bit_share": 0.0,
        "board": result.board.name,
        "accelerator": result.config.model_dump(),
        "cycles": float(timing.cycles),
        "simulated_schedule_cycles": timeline.cycles,
        "utilisation": result.frame.share_of_ideal,
        "causes": {name: float(value) for name, value in timing.causes.items()},
        "causes_by_kind": causes_by_kind(timing, [layer.name for layer in result.program.layers]),
        "lane_cycles": {lane.value: timeline.cycles_of(lane, Cause.WORK) for lane in _LANES},
    }


def main() -> None:
    """Estimate, draw, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    image = FOLDER.parent / "docs" / "images" / "deit_small_timeline.png"
    parser.add_argument("--image", type=Path, default=image)
    parser.add_argument("--json", type=Path, default=FOLDER / "results" / "timeline.json")
    arguments = parser.parse_args()
    result = deit_small_estimate()
    timing, timeline = result.frame.timing, result.timeline()
    assert timing is not None  # the engine is the RTL engine
    names = [layer.name for layer in result.program.layers]
    config = result.config
    tile = f"{config.tile_tokens} x {config.tile_rows} x {config.tile_depth}"
    title = f"DeiT-Small, 4-bit rows, tile {tile}: one frame, {timeline.cycles:,} cycles"
    arguments.image.parent.mkdir(parents=True, exist_ok=True)
    write_timeline(timeline, names, cause_rows(timing), title, arguments.image)
    console = Console()
    console.print(title)
    console.print(cause_table(timing))
    console.print(kind_table(causes_by_kind(timing, names)))
    console.print(lane_table(timeline))
    write_json(arguments.json, result_json(result, timing, timeline))


if __name__ == "__main__":
    main()
