"""What the size of each unit of the RTL engine depends on: terms whose coefficients synthesis tells.

A term is a product of columns, written ``a * b``. Columns are the parameters of ``qvit_engine.sv`` as
:class:`~qvit_hls.hw.accelerator.AcceleratorConfig` calls them, and what :func:`with_derived` makes of them.
LUTs, shift registers and LUT memories count together. What is counted exactly is in ``model.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qvit_hls.hw.resources.geometry import lut_memory

Columns = Mapping[str, np.ndarray]

_SCALING_BITS = 23  # multiplier and shift of a deferred normalisation
_SHIFT_BITS = 3  # of a LayerNorm's channel
_ROW_TILE_BITS = 3  # row tiles whose row parameters are kept, as a power of two

#: LUT terms of each module of the engine; ``qvit_engine`` is what lies between them.
LUT_TERMS: dict[str, tuple[str, ...]] = {
    "program_reader": ("1",),
    "controller": ("1",),
    "queue": ("1",),
    "gemm_sequencer": ("1",),
    "store_result": ("1", "tile_tokens"),
    "gemm_loader": (
        "1",
        "weight_ports",
        "tile_rows * tile_depth",
        "tile_tokens * tile_depth",
        "tile_tokens",
        "tile_rows",
    ),
    "row_parameter_buffer": ("drain_rows", "weight_ports * drain_rows", "row_parameter_sites"),
    "weight_buffer": ("weight_sites", "weight_multiplexed"),
    "gemm_drain": (
        "1",
        "tile_tokens",
        "tile_tokens * drain_rows",
        "tile_tokens * drain_rows * accumulator_bits",
        "tile_tokens * tile_rows * sum_bits",
    ),
    "layer_norm": (
        "1",
        "channel_bits * channel_bits",
        "tile_tokens",
        "tile_tokens * channel_bits",
        "tile_tokens * drain_rows",
        "tile_tokens * drain_rows * channel_bits",
        "moment_sites",
    ),
    "softmax": ("1", "token_bits", "tile_tokens", "tile_tokens * drain_rows", "tile_tokens * token_bits"),
    "mean_tokens": ("1", "tile_tokens", "token_bits"),
    "load_image": ("1", "tile_tokens"),
    "store_trace": ("1", "tile_tokens", "tile_tokens * tile_depth"),
    "code_memory": ("tile_tokens * tile_depth", "code_sites", "code_multiplexed"),
    "wide_memory": ("tile_tokens * drain_rows", "wide_sites", "wide_multiplexed"),
    "qvit_engine": (
        "1",
        "tile_tokens",
        "tile_tokens * tile_depth",
        "tile_tokens * drain_rows",
        "tile_tokens * tile_depth * activation_bits",
    ),
}
#: Terms whose coefficients are known: memories made of LUTs, and the transposer and what LayerNorm's shifts
#: add, synthesized alone.
KNOWN_LUT_TERMS: dict[str, dict[str, float]] = {
    "gemm_drain": {
        "tile_tokens * drain_rows * table_luts": 1.0,
        "drain_rows * normalizer_luts": 1.0,
        "tile_tokens * maximum_luts": 1.0,
        "tile_tokens * block_rows": 6.7,
    },
    "layer_norm": {"tile_tokens * drain_rows * norm_shifts": 6.6, "shift_luts": 1.0},
}
#: The same of registers.
KNOWN_FF_TERMS: dict[str, dict[str, float]] = {
    "layer_norm": {"tile_tokens * drain_rows * norm_shifts": 6.0, "drain_rows * norm_shifts": 3.0},
}
#: Register terms where they differ from the LUT terms.
FF_TERMS: dict[str, tuple[str, ...]] = {
    "row_parameter_buffer": (),
    "weight_buffer": ("tile_rows * tile_depth", "weight_in_luts"),
    "gemm_drain": (
        "1",
        "tile_tokens",
        "tile_tokens * tile_depth",
        "tile_tokens * drain_rows",
        "tile_tokens * drain_rows * accumulator_bits",
        "tile_tokens * drain_rows * sum_bits",
        "tile_tokens * block_rows",
        "tile_tokens * tile_rows * sum_bits",
    ),
    "code_memory": ("tile_tokens * tile_depth", "code_in_luts", "code_multiplexed"),
    "wide_memory": ("tile_tokens * drain_rows", "wide_in_luts", "wide_multiplexed"),
}
#: Modules that an accelerator may be without, by the configuration's field.
OPTIONAL = {"softmax": "softmax", "layer_norm": "layer_norm", "mean_tokens": "mean_tokens"}


def ceil_log2(values: np.ndarray) -> np.ndarray:
    """Bits that count ``values`` things: the least b with 2**b >= values; exact for all below 2**52."""
    return np.ceil(np.log2(np.maximum(values, 1))).astype(np.int64)


def with_derived(columns: Columns) -> dict[str, np.ndarray]:
    """Configuration columns with those that the terms are made of; see ``qvit_engine.sv`` for widths."""
    c = {name: np.asarray(values, np.int64) for name, values in columns.items()}
    tokens, rows, depth = (c[name] for name in ("tile_tokens", "tile_rows", "tile_depth"))
    largest = 8 * ((1 << (c["activation_bits"] - 1)) - 1) * c["weight_depth"] * depth
    links = np.minimum(np.array([0, 0, 0, 0, 16, 8, 4, 2, 1])[c["activation_bits"]], depth)
    c["1"] = np.ones_like(tokens)
    c["block_rows"] = c["drain_rows"] * tokens // depth  # of a transposed block
    c["sum_bits"] = np.maximum(ceil_log2(largest + 1) + 1, 11 + ceil_log2(depth // links))
    c["channel_bits"] = ceil_log2(c["max_channels"] + 1)
    c["token_bits"] = ceil_log2(c["max_tokens"] + 1)
    c["last_token_bits"] = ceil_log2(c["max_tokens"])
    c["table_luts"] = (c["table_bits"] > 0) * _luts(1 << c["table_bits"], 8)
    # Two banks of normalisers, and of each lane's maxima, which are read at two places.
    c["normalizer_luts"] = c["softmax"] * _luts(2 << c["last_token_bits"], _SCALING_BITS)
    tiles = -(-c["max_tokens"] // tokens)
    c["maximum_luts"] = c["softmax"] * 16 * -(-(2 << ceil_log2(tiles)) // 32)
    moments = 16 + c["channel_bits"]
    c["moment_sites"] = (
        lut_memory(tiles, 1, tokens * moments).lutram + lut_memory(tiles, 1, tokens * (moments + 16)).lutram
    )
    c["shift_luts"] = (
        c["norm_shifts"] * c["drain_rows"] * _luts(-(-c["max_channels"] // c["drain_rows"]), _SHIFT_BITS)
    )
    groups = ceil_log2(-(-rows // (2 * c["weight_ports"])) + 1)
    c["row_parameter_sites"] = (
        2 * c["weight_ports"] * lut_memory(1 << (_ROW_TILE_BITS + groups), 1, 64).lutram
    )
    return c


def _luts(depth: np.ndarray, width: int) -> np.ndarray:
    """LUTs of a memory that is read without a clock, with its multiplexers of two bits each."""
    memory = lut_memory(depth, 1, width)
    return memory.lutram + memory.multiplexed // 2


def value(term: str, columns: Columns) -> np.ndarray:
    """A term's value for every configuration."""
    result = np.ones_like(columns["1"], np.float64)
    for name in term.split(" * "):
        result = result * columns[name]
    return result
