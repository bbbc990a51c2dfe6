"""Coefficients of the resource model, from recorded synthesis (`make area`), and their errors.

Every module of the engines synthesized in ``benchmarks/area/qvit_engine.json`` is a row; those marked as held
out take no part in the fit and say how far the model is off. Coefficients are not negative and make relative
errors small, so a larger engine never takes less.

    python benchmarks/fit_resources.py [--records benchmarks/area/qvit_engine.json] [--check]

``--check`` writes nothing and fails where the coefficients are not those of the records.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from area_units import HELD_OUT
from rich.console import Console
from rich.table import Table
from scipy.optimize import nnls

import qvit_hls
from qvit_hls.flow.output import write_json
from qvit_hls.hw.resources.model import FIELDS, term_columns, unit_arrays
from qvit_hls.hw.resources.terms import FF_TERMS, LUT_TERMS, value

Record = dict[str, Any]
COEFFICIENTS = Path(qvit_hls.__file__).parent / "hw" / "resources" / "coefficients.json"
#: Parameters of qvit_engine.sv by the configuration's fields.
PARAMETERS = {
    "tile_tokens": "T_N", "tile_rows": "T_M", "tile_depth": "T_K", "activation_bits": "A",
    "dsp_rows": "DSP_ROWS", "weight_ports": "PORTS", "drain_rows": "DRAIN_ROWS",
    "activation_depth": "ACTIVATION_DEPTH", "digit_depth": "DIGIT_DEPTH", "wide_depth": "WIDE_DEPTH",
    "weight_depth": "WEIGHT_DEPTH", "table_bits": "TABLE_BITS", "max_tokens": "MAX_TOKENS",
    "max_channels": "MAX_CHANNELS", "image_pixels": "IMAGE_PIXELS", "accumulator_bits": "ACCUMULATOR_BITS",
}  # fmt: skip


def columns_of(records: list[Record]) -> dict[str, np.ndarray]:
    """Configuration columns of recorded engines; they have every optional unit."""
    return {
        name: np.array([r["parameters"][PARAMETERS[name]] if name in PARAMETERS else 1 for r in records])
        for name in FIELDS
    }


def counted(cells: Mapping[str, float], kind: str) -> float:
    """One kind of resource of recorded cells; LUT sites, whatever they are used as."""
    return sum(cells[name] for name in ("lut", "srl", "lutram")) if kind == "lut" else cells[kind]


def fit(records: list[Record]) -> dict[str, dict[str, dict[str, float]]]:
    columns = term_columns(columns_of(records))
    units = {}
    for unit, lut_terms in LUT_TERMS.items():
        units[unit] = {
            kind: _fit_one(
                terms, columns, np.array([counted(r["parts"][unit], kind) for r in records], float)
            )
            for kind, terms in (("lut", lut_terms), ("ff", FF_TERMS.get(unit, lut_terms)))
        }
    return units


def _fit_one(
    terms: tuple[str, ...], columns: Mapping[str, np.ndarray], counts: np.ndarray
) -> dict[str, float]:
    if not terms or not counts.any():
        return {}
    matrix = np.stack([value(term, columns) for term in terms], axis=1)
    scale = np.maximum(matrix.max(axis=0), 1)
    weight = 1 / np.maximum(counts, 1)
    found, _ = nnls(matrix / scale * weight[:, None], counts * weight)
    found = found / scale
    return {term: float(f"{k:.6g}") for term, k in zip(terms, found, strict=True) if k > 0}


def errors(records: list[Record]) -> list[Record]:
    """Counted and modelled resources of each engine and each of its units, by the package's coefficients."""
    modelled = unit_arrays(columns_of(records))
    rows = []
    for i, record in enumerate(records):
        for unit in (*sorted(modelled), "total"):
            cells = record if unit == "total" else record["parts"][unit]
            row: Record = {"engine": i, "what": record["what"], "unit": unit}
            for kind in ("lut", "ff", "dsp", "bram36"):
                names = sorted(modelled) if unit == "total" else [unit]
                row[kind] = {
                    "counted": counted(cells, kind),
                    "modelled": float(sum(modelled[name][kind][i] for name in names)),
                }
            rows.append(row)
    return rows


def table(records: list[Record], rows: list[Record]) -> Table:
    title = "Engines: counted by Yosys, and modelled (held out: not in the fit)"
    result = Table(title=title, title_justify="left")
    for name in ("T_N", "T_M", "T_K", "A", "R", "", "LUT", "", "FF", "", "DSP", "BRAM36"):
        result.add_column(name, justify="right")
    for row in rows:
        if row["unit"] != "total":
            continue
        p = records[row["engine"]]["parameters"]
        cells = []
        for kind in ("lut", "ff"):
            pair = row[kind]
            cells += [f"{pair['counted']:,}", f"{pair['modelled'] / pair['counted'] - 1:+.1%}"]
        for kind in ("dsp", "bram36"):
            pair = row[kind]
            same = pair["counted"] == pair["modelled"]
            cells.append(f"{pair['counted']:g}" + ("" if same else f" (modelled {pair['modelled']:g})"))
        result.add_row(*(str(p[n]) for n in ("T_N", "T_M", "T_K", "A", "DRAIN_ROWS")), row["what"], *cells)
    return result


def unit_table(rows: list[Record]) -> Table:
    result = Table(
        title="LUTs by unit: largest error of the fit, and of engines held out", title_justify="left"
    )
    for name in ("unit", "LUT, largest engine", "fit", "held out", "FF: fit", "held out"):
        result.add_column(name, justify="left" if name == "unit" else "right")
    for unit in sorted({row["unit"] for row in rows}):
        mine = [row for row in rows if row["unit"] == unit]
        cells = [f"{max(row['lut']['counted'] for row in mine):,}"]
        for kind in ("lut", "ff"):
            for what in ("", HELD_OUT):
                off = [
                    abs(row[kind]["modelled"] / row[kind]["counted"] - 1)
                    for row in mine
                    if row["what"] == what and row[kind]["counted"]
                ]
                cells.append(f"{max(off):.1%}" if off else "")
        result.add_row(unit, *cells)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, default=Path("benchmarks/area/qvit_engine.json"))
    parser.add_argument(
        "--check", action="store_true", help="only compare with the coefficients in the package"
    )
    arguments = parser.parse_args()
    records = json.loads(arguments.records.read_text())["records"]
    fitted = [r for r in records if r["what"] != HELD_OUT]
    units = fit(fitted)
    if arguments.check:
        if json.loads(COEFFICIENTS.read_text())["units"] != units:
            sys.exit(
                f"{COEFFICIENTS} is not what {arguments.records} gives; run {Path(__file__).name} again."
            )
    else:
        source = f"{len(fitted)} engines of {arguments.records.name}, {records[0]['tool']}"
        write_json(COEFFICIENTS, {"source": source, "units": units})
    rows = errors(records)
    console = Console()
    console.width = max(console.width, 130)
    console.print(table(records, rows))
    console.print(unit_table(rows))


if __name__ == "__main__":
    main()
