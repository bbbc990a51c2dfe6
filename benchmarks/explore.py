"""The best accelerator of a board for DeiT shapes, beside published accelerators.

Each shape (197 tokens, random weights) is explored at 7 and 8 activation bits, once with 4-bit weights only
and once with a quarter of the rows 8-bit. Cycles come from the cycle model, resources from the resource
model; neither is a place-and-route result, and a clock is an assumption. The cycles at each clock differ only
by the memory's bandwidth. Figures of other works are as reported by their authors.

    python benchmarks/explore.py [--shapes deit_tiny] [--bits 7 8] [--shares 0 0.25] [--board zcu102]
                                 [--mac rtl] [--json FILE]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from published_accelerators import REPORTED
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from qvit_hls.flow.explore import preset_graph
from qvit_hls.flow.output import write_json
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.hw.accelerator import Mac
from qvit_hls.hw.board import Board, load_board
from qvit_hls.hw.cycles import item_bytes
from qvit_hls.hw.explore.cycles import cycles_per_frame
from qvit_hls.hw.explore.explore import Exploration, explore
from qvit_hls.hw.explore.space import bytes_per_cycle
from qvit_hls.hw.explore.workload import Workload
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.nets.presets import PRESETS
from qvit_hls.report.explore import design_json

CLOCKS_MHZ = (150.0, 200.0, 300.0)


def cycles_at(result: Exploration, workload: Workload, clock_mhz: float) -> int:
    """Cycles per frame of the chosen design; at a higher clock the memory delivers less per cycle."""
    tiles = Tiles.of_configs([result.config], bytes_per_cycle(result.board, clock_mhz))
    ahead = result.config.image_ahead or result.mac == "hls"
    late = 0 if ahead else workload.image_cycles(result.config.tile_depth)
    return int(cycles_per_frame(workload, tiles)[0]) + late


@one_torch_thread()
def measure(shape: str, bits: int, share: float, board: Board, mac: Mac) -> dict[str, Any]:
    """Explore one shape; ``share`` of its rows has 8 bits."""
    graph = preset_graph(shape, bits, share)
    start = time.perf_counter()
    result = explore([graph], board, board.clock_mhz, mac, fastest_only=True)
    seconds = time.perf_counter() - start
    (program,) = result.programs
    config = result.config
    workload = Workload(graph, mac)
    atom_macs = sum(layer.atom_macs for layer in program.layers)
    cycles = {clock: cycles_at(result, workload, clock) for clock in CLOCKS_MHZ}
    traffic = sum(item_bytes(item, config) for layer in program.layers for item in layer.stream)
    traffic += int(np.prod(program.image_shape)) + 2 * program.classes
    return {
        "shape": shape,
        "activation_bits": bits,
        "eight_bit_share": share,
        "mac": mac,
        "board": board.name,
        **design_json(result.chosen, board.clock_mhz),
        "fastest_cycles": result.designs[0].cycles[0],
        "utilisation": atom_macs / config.lanes / result.chosen.cycles[0],
        "macs": sum(layer.macs for layer in program.layers),
        "atom_macs": atom_macs,
        "ddr_bytes_per_frame": traffic,
        "share_of": {
            name: getattr(result.chosen, name) / getattr(board, name)
            for name in ("lut", "ff", "dsp", "bram36")
        },
        "at_clock": {
            f"{clock:g}": {
                "cycles": cycles[clock],
                "frames_per_second": clock * 1e6 / cycles[clock],
                "ddr_gbytes_per_s": traffic * clock * 1e-3 / cycles[clock],
                "ddr_share": traffic * clock * 1e-3 / cycles[clock] / board.ddr_gbytes_per_s,
            }
            for clock in CLOCKS_MHZ
        },
        "binding_constraint": {"kind": result.binding.kind, "sentence": result.binding.sentence},
        "candidates": result.looked_at,
        "seconds": seconds,
    }


def tables(results: list[dict[str, Any]]) -> list[Table]:
    """What was found: designs, rates, and both beside what others report."""
    return [_designs(results), _rates(results), _beside_others(results)]


def _designs(results: list[dict[str, Any]]) -> Table:
    table = _table(
        f"Best design on {results[0]['board']} (modelled, not placed and routed)",
        ("shape", "weights", "A", "T_n x T_m x T_k", "cycles", "busy", "LUT", "FF", "DSP", "BRAM36", "binds"),
    )
    for r in results:
        table.add_row(
            *_name(r),
            f"{r['tile_tokens']} x {r['tile_rows']} x {r['tile_depth']}",
            f"{r['cycles'][0]:,}",
            f"{r['utilisation']:.1%}",
            *(f"{r[key]:,} ({r['share_of'][key]:.0%})" for key in ("lut", "ff", "dsp", "bram36")),
            r["binding_constraint"]["kind"],
        )
    return table


def _rates(results: list[dict[str, Any]]) -> Table:
    clocks = [heading for clock in CLOCKS_MHZ for heading in (f"FPS at {clock:g}", "of DDR")]
    table = _table(
        "Frames per second by clock in MHz, and share of the memory's bandwidth (modelled)",
        ("shape", "weights", "A", "DDR MB/frame", *clocks, "explored", "s"),
    )
    for r in results:
        cells = [r["at_clock"][f"{clock:g}"] for clock in CLOCKS_MHZ]
        rates = [
            text
            for cell in cells
            for text in (f"{cell['frames_per_second']:,.0f}", f"{cell['ddr_share']:.1%}")
        ]
        traffic = f"{r['ddr_bytes_per_frame'] / 1e6:.2f}"
        table.add_row(*_name(r), traffic, *rates, f"{r['candidates']:,}", f"{r['seconds']:.1f}")
    return table


def _beside_others(results: list[dict[str, Any]]) -> Table:
    """Sorted by shape; ours at the clocks that others report too."""
    table = _table(
        "Beside accelerators on the ZCU102 as reported by their authors (their cycles: clock by FPS)",
        ("model", "work", "precision", "MHz", "cycles", "FPS", "LUT", "DSP", "origin"),
    )
    shapes = list(dict.fromkeys(r["shape"] for r in results))
    for shape in shapes:
        for r in (r for r in results if r["shape"] == shape):
            for clock, at in r["at_clock"].items():
                name, weights, bits = _name(r)
                counts = [f"{value:,}" for value in (at["cycles"], round(at["frames_per_second"]))]
                counts += [f"{r['lut']:,}", f"{r['dsp']:,}"]
                table.add_row(name, "this", f"W{weights} A{bits}", clock, *counts, "modelled")
        _add_reported(table, shape)
        table.add_section()
    _add_reported(table, None)
    return table


def _add_reported(table: Table, shape: str | None) -> None:
    for work in REPORTED:
        if work.shape == shape:
            counts = [
                work.clock_mhz,
                work.to_json()["derived_cycles_per_frame"],
                work.fps,
                work.lut,
                work.dsp,
            ]
            cells = ["" if count is None else f"{count:,.10g}" for count in counts]
            origin = f"reported; {work.note}" if work.note else "reported"
            table.add_row(work.model, work.work, work.precision, *cells, origin)


def _name(result: dict[str, Any]) -> tuple[str, str, str]:
    share = result["eight_bit_share"]
    weights = {0: "4", 1: "8"}.get(share, f"4/8 ({share:.0%})")
    return result["shape"], weights, str(result["activation_bits"])


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    words = ("shape", "weights", "model", "work", "precision", "binds", "origin")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in words else "right")
    return table


def main() -> None:
    """Explore, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=list(PRESETS))
    parser.add_argument("--bits", nargs="+", type=int, default=[7, 8])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.25], help="of rows with 8 bits")
    parser.add_argument("--board", default="zcu102")
    parser.add_argument("--mac", choices=["hls", "rtl"], default="rtl")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    board = load_board(arguments.board)
    results = [
        measure(shape, bits, share, board, arguments.mac)
        for shape in arguments.shapes
        for bits in arguments.bits
        for share in arguments.shares
    ]
    console = Console(width=130)
    for table in tables(results):
        console.print(table)
    if arguments.json:
        reported = [work.to_json() for work in REPORTED]
        write_json(arguments.json, {"benchmark": "explore", "results": results, "reported": reported})


if __name__ == "__main__":
    main()
