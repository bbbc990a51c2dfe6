"""Area of the RTL by synthesis: LUTs, registers, DSP slices, block RAMs and logic depth of each unit.

Records go to one JSON file for each unit, for cost models to read; tables to the terminal, beside the costs
that FINN's publications report.

    python benchmarks/area.py [--unit mac_tile ...] [--jobs 2] [--out benchmarks/area] [--cache build/area]

Lanes are products per cycle. A LUT lane's or DSP lane's LUTs include everything in the tile: packing, delays,
decoding, adder trees, accumulators, control; shift registers made of LUTs too.
"""

from __future__ import annotations

import argparse
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from area_units import SLICES, UNITS, Parameters, Trial, Unit
from rich.console import Console
from rich.table import Table

from qvit_hls.flow.output import write_json
from qvit_hls.flow.synthesis import synthesize

Record = dict[str, Any]
#: What is available on ZCU102 (XCZU9EG).
ZCU102 = {"LUT": 274_080, "DSP": 2_520}
_WIDTH = 130  # of the tables


def measure(unit: Unit, trial: Trial, cache: Path) -> Record:
    result = synthesize(
        unit.files(),
        unit.top,
        trial.parameters,
        flatten=trial.flatten,
        slang=unit.slang,
        primitives=unit.primitives(),
        apart=unit.apart,
        cache=cache,
    )
    record: Record = {"parameters": dict(trial.parameters), "what": trial.what, "flatten": trial.flatten}
    if unit.name == "mac_tile":
        record["lanes"] = dict(zip(("dsp", "lut"), lanes(trial.parameters), strict=True))
    record |= asdict(result.cells)
    record["path"] = None if result.path is None else asdict(result.path)
    if result.parts:
        record["parts"] = {name: asdict(cells) for name, cells in sorted(result.parts.items())}
    return record | {"tool": result.tool, "command": result.command}


def lanes(parameters: Parameters) -> tuple[int, int]:
    """Products per cycle of a MAC tile, on DSP slices and in LUTs."""
    each = parameters["T_N"] * parameters["T_K"]
    dsp_rows = parameters["DSP_ROWS"]
    return each * dsp_rows, each * (parameters["T_M"] - dsp_rows)


def fabric(record: Record) -> int:
    """LUT sites: logic, shift registers and memories."""
    return int(record["lut"] + record["srl"] + record["lutram"])


def unit_table(unit: Unit, records: list[Record]) -> Table:
    table = Table(title=f"{unit.name}, by {records[0]['tool']}", title_justify="left")
    names = list(records[0]["parameters"])
    for name in (*names, "LUT", "SRL", "RAM", "FF", "DSP", "BRAM", "levels", "LUT/lane", ""):
        table.add_column(name, justify="left" if name == "" else "right")
    for record in records:
        counts = sum(record.get("lanes", {}).values())
        table.add_row(
            *(str(record["parameters"][name]) for name in names),
            *(f"{record[key]:,}" for key in ("lut", "srl", "lutram", "ff", "dsp")),
            f"{record['bram36']:g}",
            "" if record["path"] is None else str(record["path"]["luts"]),
            f"{fabric(record) / counts:.2f}" if counts else "",
            record["what"],
        )
    return table


def lane_table(records: list[Record]) -> Table:
    """LUTs of a lane beside what others report, by activation bits at weights of 4 bits."""
    bits = (4, 5, 6, 7, 8)
    table = Table(title="LUTs per 4-bit x A-bit lane, everything included", title_justify="left")
    for name in ("", *(f"A = {a}" for a in bits), "source"):
        table.add_column(name, justify="left" if name in ("", "source") else "right")
    for kind in ("dsp", "lut"):
        for depth in (8, 16):
            cells = []
            for a in bits:
                record = next(
                    r
                    for r in records
                    if not r["what"]
                    and (r["parameters"]["A"], r["parameters"]["T_K"]) == (a, depth)
                    and r["lanes"][kind]
                )
                cells.append(f"{fabric(record) / record['lanes'][kind]:.2f}")
            table.add_row(f"{kind.upper()} lane, T_K = {depth}", *cells, "measured")
    table.add_row("FINN's RTL MVU (DSP)", "11 to 13", "", "", "", "11 to 13", "reported")
    table.add_row("FINN-R's LUT MAC", *(f"{finn_r(4, a):.0f}" for a in bits), "reported (formula)")
    table.add_row("HG-PIPE's LUT MAC", *([""] * 5), "reported: 16 to 38 at W3A3")
    return table


def finn_r(weight: int, activation: int) -> float:
    """LUTs of a multiply-accumulate in LUTs by FINN-R's published model."""
    both = weight + activation
    return 1.1 * ((2 * math.ceil(both / 6) - 1) * both + 2 * both)


def scaling_table(records: list[Record]) -> Table:
    """Whole tiles beside what slices predict: c0 + c1 T_N + c2 T_M + c3 T_N T_M, from four slices."""
    table = Table(title="Whole tiles of a ZCU102, and their prediction from slices", title_justify="left")
    for name in ("T_N", "T_M", "DSP rows", "DSP lanes", "LUT lanes", "DSP", "LUT", "predicted", "of ZCU102"):
        table.add_column(name, justify="right")
    for record in records:
        p = record["parameters"]
        if not record["what"].startswith("ZCU102"):
            continue
        luts = fabric(record)
        predicted = sum(
            _extrapolate(records, SLICES[kind], p["T_N"], rows)
            for kind, rows in (("dsp", p["DSP_ROWS"]), ("lut", p["T_M"] - p["DSP_ROWS"]))
            if rows
        )
        table.add_row(
            *(str(p[name]) for name in ("T_N", "T_M", "DSP_ROWS")),
            *(f"{record['lanes'][kind]:,}" for kind in ("dsp", "lut")),
            f"{record['dsp']:,}",
            f"{luts:,}",
            f"{predicted:,.0f} ({predicted / luts - 1:+.1%})",
            f"{luts / ZCU102['LUT']:.0%} LUT, {record['dsp'] / ZCU102['DSP']:.0%} DSP",
        )
    return table


def _extrapolate(records: list[Record], slices: tuple[Parameters, ...], tokens: int, rows: int) -> float:
    sizes = [(p["T_N"], p["T_M"]) for p in slices]
    luts = [fabric(next(r for r in records if r["parameters"] == dict(p))) for p in slices]
    terms = np.array([[1, n, m, n * m] for n, m in sizes], float)
    return float(np.array([1, tokens, rows, tokens * rows]) @ np.linalg.solve(terms, np.array(luts, float)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--unit", action="append", choices=[unit.name for unit in UNITS], help="only these")
    parser.add_argument("--jobs", type=int, default=2, help="syntheses at a time (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/area"), help="folder of the records")
    parser.add_argument("--cache", type=Path, default=Path("build/area"), help="folder of kept results")
    arguments = parser.parse_args()
    console = Console()
    console.width = max(console.width, _WIDTH)
    for unit in UNITS:
        if arguments.unit and unit.name not in arguments.unit:
            continue
        with ThreadPoolExecutor(arguments.jobs) as pool:
            records = list(
                pool.map(lambda trial, unit=unit: measure(unit, trial, arguments.cache), unit.trials)  # type: ignore[misc]
            )
        console.print(unit_table(unit, records))
        if unit.name == "mac_tile":
            console.print(lane_table(records))
            console.print(scaling_table(records))
        path = arguments.out / f"{unit.name}.json"
        write_json(path, {"unit": unit.name, "top": unit.top, "records": records})


if __name__ == "__main__":
    main()
