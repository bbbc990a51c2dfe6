"""Cycles of the RTL engine, by simulation, at DeiT shapes on a ZCU102-sized tile.

A random network with mixed rows (a quarter of them 8-bit) is generated for the RTL engine and simulated by
Verilator for two whole frames, trace off as in use; their logits must equal the golden integer graph's. The
second one, whose image the first one took ahead, is what is reported. The tile
holds 12,800 lanes by default. Utilisation is ideal array cycles (atom products without padding, by lanes) by
the cycles from the begin of the first to the completion of the last layer of every run of layers of the kind.

    python benchmarks/rtl_cycles.py [--shapes deit_tiny deit_small] [--tile 40 40 8] [--bits 7] [--json FILE]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from qvit_hls.flow.generate import Target, generate
from qvit_hls.flow.output import write_json
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.hw.cycles import estimate
from qvit_hls.nets import presets
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.random import random_model
from qvit_hls.verify.cosim import run_cosim


@one_torch_thread()
def measure(shape: str, bits: int, tile: tuple[int, int, int], folder: Path) -> dict[str, Any]:
    """Generate and simulate one network."""
    model, build = folder / f"{shape}.pt", folder / shape
    save_model(random_model(getattr(presets, shape)(activation_bits=bits), seed=1), model)
    target = Target.on_board(tile=tile, mac="rtl")
    generated = generate(model, build, target)
    config = generated.program.config
    report = run_cosim(build, count=1, traced=False)
    if not report.passed or report.cycles is None:
        raise SystemExit(f"{shape}: the RTL simulation differs from the golden graph: {report.first}")
    of_loops = estimate(generated.program, target.board, target.clock_mhz)
    return {
        "shape": shape,
        "accelerator": config.model_dump(),
        "lanes": config.lanes,
        "dsp_lanes": config.tile_tokens * config.tile_depth * config.dsp_rows,
        "frame_cycles": report.cycles.total,
        "groups": report.cycles.to_json()["groups"],
        "loop_count_estimate": of_loops.cycles,
        "build_seconds": report.model.seconds,
        "simulation_seconds": report.simulation_seconds,
        "simulated_cycles": report.simulated_cycles,
    }


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["deit_tiny", "deit_small"])
    parser.add_argument("--tile", nargs=3, type=int, default=(40, 40, 8), metavar=("T_N", "T_M", "T_K"))
    parser.add_argument("--bits", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = [
            measure(shape, arguments.bits, tuple(arguments.tile), Path(folder)) for shape in arguments.shapes
        ]
    table = Table(title=f"RTL engine by simulation, tile {'x'.join(map(str, arguments.tile))}")
    for heading in ("shape", "layers", "cycles", "ideal", "utilisation"):
        table.add_column(heading, justify="left" if heading in ("shape", "layers") else "right")
    for result in results:
        for group in result["groups"]:
            ideal = group["ideal_cycles"]
            table.add_row(
                result["shape"],
                group["kind"],
                f"{group['cycles']:,}",
                f"{ideal:,.0f}" if ideal else "",
                f"{group['utilisation']:.1%}" if ideal else "",
            )
        table.add_row(result["shape"], "whole frame", f"{result['frame_cycles']:,}", "", "")
        table.add_section()
    console = Console()
    console.print(table)
    for result in results:
        speed = result["simulated_cycles"] / result["simulation_seconds"]
        console.print(
            f"{result['shape']}: logits equal; built in {result['build_seconds']:.0f} s, simulated in "
            f"{result['simulation_seconds']:.0f} s ({speed:,.0f} cycles per second)"
        )
    if arguments.json:
        write_json(arguments.json, {"benchmark": "rtl_cycles", "results": results})


if __name__ == "__main__":
    main()
