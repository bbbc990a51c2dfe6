"""Coefficients of the resource model, from recorded synthesis (`make area`), and their errors.

Every module of the engines synthesized in ``benchmarks/area/qvit_engine.json`` is a row; those marked as held
out take no part in the fit and say how far the model is off. Units that were synthesized alone are rows too,
some of the size that an accelerator for ZCU102 has, where a whole engine is too large. Coefficients are not
negative and make relative errors small, so a larger engine never takes less.

    python benchmarks/fit_resources.py [--records benchmarks/area] [--check]

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
from qvit_hls.hw.resources.terms import FF_TERMS, KNOWN_LUT_TERMS, LUT_TERMS, value

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
#: Units that are synthesized alone, and their parameters by column.
ALONE = {
    "gemm_drain": {
        "tile_tokens": "T_N", "tile_rows": "T_M", "tile_depth": "T_K", "drain_rows": "DRAIN_ROWS",
        "accumulator_bits": "ACCUMULATOR_BITS", "sum_bits": "SUM_BITS", "max_tokens": "MAX_TOKENS",
    },
    "gemm_loader": {
        "tile_tokens": "T_N", "tile_rows": "T_M", "tile_depth": "T_K", "weight_ports": "PORTS",
    },
    "layer_norm": {
        "tile_tokens": "T_N", "drain_rows": "CHANNELS", "max_tokens": "MAX_TOKENS",
        "max_channels": "MAX_CHANNELS",
    },
    "mean_tokens": {"tile_tokens": "T_N", "max_tokens": "MAX_TOKENS"},
    "softmax": {"tile_tokens": "T_N", "drain_rows": "KEYS", "max_tokens": "MAX_TOKENS"},
    "store_trace": {"tile_tokens": "T_N", "tile_depth": "T_K"},
}  # fmt: skip
#: Columns that the others do not tell for a unit alone, as its parameters' defaults have them.
DEFAULTS = {"table_bits": 8, "norm_shifts": 0}
#: What the recorded engines are without.
LEFT_OUT = ("norm_shifts",)


def columns_of(records: list[Record]) -> dict[str, np.ndarray]:
    """Configuration columns of recorded engines; they have every optional unit."""
    return {
        name: np.array(
            [
                r["parameters"][PARAMETERS[name]] if name in PARAMETERS else name not in LEFT_OUT
                for r in records
            ]
        ).astype(np.int64)
        for name in FIELDS
    }


def counted(cells: Mapping[str, float], kind: str) -> float:
    """One kind of resource of recorded cells; LUT sites, whatever they are used as."""
    return sum(cells[name] for name in ("lut", "srl", "lutram")) if kind == "lut" else cells[kind]


def alone(folder: Path, unit: str) -> list[Record]:
    """Records of a unit that was synthesized alone."""
    if unit not in ALONE:
        return []
    records: list[Record] = json.loads((folder / f"{unit}.json").read_text())["records"]
    return records


def columns_alone(unit: str, record: Record, others: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Term columns of a unit alone; what it does not depend on is as in one of the engines."""
    given = {name: record["parameters"][parameter] for name, parameter in ALONE[unit].items()} | DEFAULTS
    fields = {name: np.array([given.get(name, others[name][0])]) for name in FIELDS}
    columns = term_columns(fields)
    return columns | {name: np.array([value]) for name, value in given.items() if name not in FIELDS}


def fit(records: list[Record], folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    configurations = columns_of(records)
    engines = term_columns(configurations)
    units = {}
    for unit, lut_terms in LUT_TERMS.items():
        singles = alone(folder, unit)
        rows = [engines, *(columns_alone(unit, record, configurations) for record in singles)]
        columns = {name: np.concatenate([row[name] for row in rows]) for name in engines}
        cells = [*(record["parts"][unit] for record in records), *singles]
        known = sum(k * value(term, columns) for term, k in KNOWN_LUT_TERMS.get(unit, {}).items())
        luts, registers = (np.array([counted(c, kind) for c in cells], float) for kind in ("lut", "ff"))
        units[unit] = {
            "lut": _fit_one(lut_terms, columns, luts, known),
            "ff": _fit_one(FF_TERMS.get(unit, lut_terms), columns, registers),
        }
    return units


def _fit_one(
    terms: tuple[str, ...],
    columns: Mapping[str, np.ndarray],
    counts: np.ndarray,
    known: np.ndarray | float = 0.0,
) -> dict[str, float]:
    if not terms or not counts.any():
        return {}
    matrix = np.stack([value(term, columns) for term in terms], axis=1)
    scale = np.maximum(matrix.max(axis=0), 1)
    weight = 1 / np.maximum(counts, 1)
    found, _ = nnls(matrix / scale * weight[:, None], (counts - known) * weight)
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
    parser.add_argument("--records", type=Path, default=Path("benchmarks/area"), help="folder of records")
    parser.add_argument(
        "--check", action="store_true", help="only compare with the coefficients in the package"
    )
    arguments = parser.parse_args()
    records = json.loads((arguments.records / "qvit_engine.json").read_text())["records"]
    fitted = [r for r in records if r["what"] != HELD_OUT]
    units = fit(fitted, arguments.records)
    if arguments.check:
        if json.loads(COEFFICIENTS.read_text())["units"] != units:
            sys.exit(
                f"{COEFFICIENTS} is not what {arguments.records} gives; run {Path(__file__).name} again."
            )
    else:
        source = f"{len(fitted)} engines; alone: {', '.join(ALONE)}; {records[0]['tool']}"
        write_json(COEFFICIENTS, {"source": source, "units": units})
    rows = errors(records)
    console = Console()
    console.width = max(console.width, 130)
    console.print(table(records, rows))
    console.print(unit_table(rows))


if __name__ == "__main__":
    main()
