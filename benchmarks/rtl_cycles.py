"""Cycles of the RTL engine, by simulation, at DeiT shapes: measured beside predicted.

Random networks are generated for the RTL engine, on the accelerator that ``qvit-hls explore`` chooses for
ZCU102 (or on a given tile), and simulated by Verilator for two whole frames, trace off as in use. Their
logits must equal the golden integer graph's. The second frame, whose image the first one took ahead, is what
is reported, beside what the cycle model predicted. Utilisation is ideal array cycles (products without
padding, by lanes) by the cycles in which layers of the kind run.

    python benchmarks/rtl_cycles.py [--shapes deit_tiny deit_small] [--shares 0 0.25] [--tile 40 40 8]
                                    [--bits 7] [--json FILE]
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
def measure(
    shape: str, share: float, bits: int, tile: tuple[int, int, int] | None, folder: Path
) -> dict[str, Any]:
    """Generate and simulate one network; ``share`` of its rows has 8 bits."""
    model, build = folder / f"{shape}_{share:g}.pt", folder / f"{shape}_{share:g}"
    config = getattr(presets, shape)(activation_bits=bits)
    mixed = config.model_validate({**config.model_dump(), "eight_bit_share": share})
    save_model(random_model(mixed, seed=1), model)
    target = Target.on_board(tile=tile, mac="rtl")
    generated = generate(model, build, target)
    accelerator = generated.program.config
    report = run_cosim(build, count=1, traced=False)
    if not report.passed or report.cycles is None:
        raise SystemExit(f"{shape}: the RTL simulation differs from the golden graph: {report.first}")
    predicted = estimate(generated.program, target.board, target.clock_mhz).cycles
    atom_macs = sum(layer.atom_macs for layer in generated.program.layers)
    return {
        "shape": shape,
        "eight_bit_share": share,
        "accelerator": accelerator.model_dump(),
        "lanes": accelerator.lanes,
        "dsp_lanes": accelerator.tile_tokens * accelerator.tile_depth * accelerator.dsp_rows,
        "frame_cycles": report.cycles.total,
        "predicted_cycles": predicted,
        "utilisation": atom_macs / accelerator.lanes / report.cycles.total,
        "groups": report.cycles.to_json()["groups"],
        "build_seconds": report.model.seconds,
        "simulation_seconds": report.simulation_seconds,
        "simulated_cycles": report.simulated_cycles,
    }


def table_of(results: list[dict[str, Any]]) -> Table:
    """A row for each kind of layers, and one for the frame."""
    table = Table(title="RTL engine by simulation")
    for heading in ("shape", "8-bit rows", "tile", "layers", "cycles", "predicted", "ideal", "utilisation"):
        table.add_column(heading, justify="left" if heading in ("shape", "tile", "layers") else "right")
    for result in results:
        accelerator = result["accelerator"]
        tile = "x".join(str(accelerator[f"tile_{name}"]) for name in ("tokens", "rows", "depth"))
        name = (result["shape"], f"{result['eight_bit_share']:.0%}", tile)
        for group in result["groups"]:
            ideal = group["ideal_cycles"]
            cells = (f"{ideal:,.0f}", f"{group['utilisation']:.1%}") if ideal else ("", "")
            table.add_row(*name, group["kind"], f"{group['cycles']:,}", "", *cells)
        cycles, predicted = result["frame_cycles"], result["predicted_cycles"]
        error = f"{predicted:,} ({predicted / cycles - 1:+.1%})"
        ideal_frame = f"{result['utilisation'] * cycles:,.0f}"
        table.add_row(*name, "whole frame", f"{cycles:,}", error, ideal_frame, f"{result['utilisation']:.1%}")
        table.add_section()
    return table


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["deit_tiny", "deit_small"])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.25], help="of rows with 8 bits")
    parser.add_argument("--tile", nargs=3, type=int, metavar=("T_N", "T_M", "T_K"))
    parser.add_argument("--bits", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    tile = tuple(arguments.tile) if arguments.tile else None
    results = []
    for shape in arguments.shapes:
        for share in arguments.shares:
            with tempfile.TemporaryDirectory() as folder:
                results.append(measure(shape, share, arguments.bits, tile, Path(folder)))
    console = Console(width=130)
    console.print(table_of(results))
    for result in results:
        speed = result["simulated_cycles"] / result["simulation_seconds"]
        console.print(
            f"{result['shape']}, {result['eight_bit_share']:.0%} 8-bit rows: logits equal; built in "
            f"{result['build_seconds']:.0f} s, simulated in {result['simulation_seconds']:.0f} s "
            f"({speed:,.0f} cycles per second)"
        )
    if arguments.json:
        write_json(arguments.json, {"benchmark": "rtl_cycles", "results": results})


if __name__ == "__main__":
    main()
