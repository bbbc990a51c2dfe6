"""Resources of an accelerator: LUTs, registers, DSP slices and block RAMs, in total and by unit.

For the RTL engine, DSP slices and block RAMs are counted, and so is the MAC tile; LUTs and registers of the
other units are terms (``terms.py``) with coefficients from synthesis (``coefficients.json``, which
``benchmarks/fit_resources.py`` writes). For the C++ engine there are coarser estimates (``hls_engine.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from qvit_hls.hw.accelerator import AcceleratorConfig, Mac
from qvit_hls.hw.resources import hls_engine
from qvit_hls.hw.resources.geometry import Memory, memory
from qvit_hls.hw.resources.mac_tile import mac_tile
from qvit_hls.hw.resources.terms import KNOWN_FF_TERMS, KNOWN_LUT_TERMS, OPTIONAL, value, with_derived

KINDS = ("lut", "ff", "dsp", "bram36")
#: Fields of the configuration that resources depend on.
FIELDS = (
    "tile_tokens", "tile_rows", "tile_depth", "activation_bits", "dsp_rows", "weight_ports", "drain_rows",
    "activation_depth", "digit_depth", "wide_depth", "weight_depth", "table_bits", "max_tokens",
    "max_channels", "image_pixels", "accumulator_bits", "softmax", "layer_norm", "mean_tokens",
    "norm_shifts",
)  # fmt: skip
#: DSP slices of ``layer_norm_scale.sv``, by the bits that count the channels.
_SCALE_DSPS = np.array([2, 2, 5, *[6] * 9, 10])


@dataclass(frozen=True)
class Usage:
    """LUTs (logic, shift registers and memories), registers, DSP48E2 slices and block RAMs of 36 Kbit."""

    lut: int
    ff: int
    dsp: int
    bram36: float


@dataclass(frozen=True)
class Resources(Usage):
    """What an accelerator takes.

    Attributes:
        units: the same of each module of the engine; ``qvit_engine`` is what lies between the others.
    """

    units: dict[str, Usage]


def resources(config: AcceleratorConfig) -> Resources:
    """Resources of one accelerator, without its memory ports."""
    columns = {name: np.array([getattr(config, name)], np.int64) for name in FIELDS}
    units = unit_arrays(columns, config.mac)
    by_unit = {name: _usage({kind: counts[kind][0] for kind in KINDS}) for name, counts in units.items()}
    total = _usage({kind: sum(counts[kind][0] for counts in units.values()) for kind in KINDS})
    return Resources(total.lut, total.ff, total.dsp, total.bram36, by_unit)


def _usage(counts: Mapping[str, Any]) -> Usage:
    return Usage(int(counts["lut"]), int(counts["ff"]), int(counts["dsp"]), float(counts["bram36"]))


def resource_arrays(columns: Mapping[str, Any], mac: Mac = "rtl") -> dict[str, np.ndarray]:
    """Resources of many accelerators.

    Args:
        columns: arrays ``[N]``, or numbers, by the names of :data:`FIELDS`; others are not looked at.
        mac: what the engines are made of.

    Returns:
        ``lut``, ``ff``, ``dsp`` (int64) and ``bram36`` (float64), each ``[N]``.

    Raises:
        KeyError: a column is missing.
    """
    units = unit_arrays(columns, mac)
    return {kind: sum((counts[kind] for counts in units.values()), start=np.int64(0)) for kind in KINDS}


def unit_arrays(columns: Mapping[str, Any], mac: Mac = "rtl") -> dict[str, dict[str, np.ndarray]]:
    """The same for each module of the engine; ``qvit_engine`` is what lies between the others."""
    arrays = _arrays(columns)
    if mac == "hls":
        return hls_engine.unit_arrays(arrays)
    c = with_derived(arrays)
    memories = _memories(c)
    _describe_memories(c, memories)
    dsp = _dsps(c)
    units = {}
    for name, fitted in coefficients().items():
        there = c[OPTIONAL[name]] if name in OPTIONAL else c["1"]
        lut, ff = (
            sum((k * value(term, c) for term, k in parts), start=np.zeros(c["1"].shape))
            for parts in (
                [*fitted["lut"].items(), *KNOWN_LUT_TERMS.get(name, {}).items()],
                [*fitted["ff"].items(), *KNOWN_FF_TERMS.get(name, {}).items()],
            )
        )
        units[name] = {
            "lut": _whole(lut * there),
            "ff": _whole(ff * there),
            "dsp": dsp.get(name, 0 * c["1"]) * there,
            "bram36": sum((m.bram18 for n, m in memories if n == name), start=0 * c["1"]) / 2,
        }
    shape = ("tile_tokens", "tile_rows", "tile_depth", "activation_bits", "dsp_rows", "sum_bits")
    tile = mac_tile(*(c[name] for name in shape))
    units["mac_tile"] = {kind: _whole(tile[kind]) for kind in ("lut", "ff", "dsp")}
    units["mac_tile"]["bram36"] = 0.0 * c["1"]
    return units


@cache
def coefficients() -> dict[str, dict[str, dict[str, float]]]:
    """LUT and FF coefficients of every term, by module."""
    text = (files("qvit_hls.hw.resources") / "coefficients.json").read_text(encoding="utf-8")
    units: dict[str, dict[str, dict[str, float]]] = json.loads(text)["units"]
    return units


def term_columns(columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """All columns that terms are made of, for the fit."""
    c = with_derived(_arrays(columns))
    _describe_memories(c, _memories(c))
    return c


def _arrays(columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
    arrays = np.broadcast_arrays(*(np.asarray(columns[name], np.int64) for name in FIELDS))
    return dict(zip(FIELDS, arrays, strict=True))


def _memories(c: Mapping[str, np.ndarray]) -> list[tuple[str, Memory]]:
    """The engine's clocked memories, all equal ones together, by module."""
    tokens, depth, banks = c["tile_tokens"], c["tile_depth"], c["drain_rows"]
    code_banks = np.minimum(2 * banks, depth)
    lanes = tokens * depth // code_banks
    return [
        ("code_memory", _times(memory(c["activation_depth"] // depth, lanes, 8), code_banks)),
        ("code_memory", _times(memory(c["digit_depth"] // depth, lanes, 8), code_banks)),
        ("wide_memory", _times(memory(-(-c["wide_depth"] // banks), tokens, 16), banks)),
        ("weight_buffer", _times(memory(2 * c["weight_depth"], 1, 4 * depth), c["tile_rows"])),
    ]


def _times(one: Memory, count: np.ndarray) -> Memory:
    return Memory(one.bram18 * count, one.lutram * count, one.multiplexed * count)


def _describe_memories(c: dict[str, np.ndarray], memories: list[tuple[str, Memory]]) -> None:
    word = c["tile_tokens"] * c["tile_depth"]
    bits = [word, word, c["tile_tokens"] * c["drain_rows"], c["tile_rows"] * c["tile_depth"]]
    for short, name in (("code", "code_memory"), ("wide", "wide_memory"), ("weight", "weight_buffer")):
        mine = [(m, b) for (of, m), b in zip(memories, bits, strict=True) if of == name]
        c[f"{short}_sites"] = np.sum([m.lutram for m, _ in mine], axis=0)
        c[f"{short}_multiplexed"] = np.sum([m.multiplexed for m, _ in mine], axis=0)
        c[f"{short}_in_luts"] = np.sum([(m.lutram > 0) * b for m, b in mine], axis=0)


def _dsps(c: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Multipliers outside the MAC tile: one for each lane, and row that drains or channel of LayerNorm."""
    each = c["tile_tokens"] * c["drain_rows"]
    block_cycles = c["tile_tokens"] // c["tile_depth"]
    return {
        # Steps of a group of row tiles; and cycles of transposed blocks, where that is more than a shift.
        "gemm_loader": 1 + ((block_cycles & (block_cycles - 1)) != 0),
        "gemm_drain": each,
        "layer_norm": each + _SCALE_DSPS[c["channel_bits"]],
        "mean_tokens": c["1"],
    }


def _whole(values: np.ndarray) -> np.ndarray:
    return np.rint(values).astype(np.int64)
