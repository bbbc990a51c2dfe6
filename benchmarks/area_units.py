"""The units whose area is measured: for each its RTL and the parameters to try.

To add one, append a :class:`Unit` to ``UNITS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import qvit_hls

RTL = Path(qvit_hls.__file__).parent / "hls_kernels" / "rtl"
#: Simulation only; synthesis brings its own primitives.
_SIMULATION = ("primitives", "mac_functional.sv")

Parameters = Mapping[str, int]


@dataclass(frozen=True)
class Trial:
    """One synthesis.

    Attributes:
        parameters: of the unit's top module.
        flatten: whether modules are optimized together, and the longest path is looked for. Otherwise each
            module is synthesized once however often it is used: the way for large arrays.
        what: a word on what the trial is for, if it is not just a point of the grid.
    """

    parameters: Parameters
    flatten: bool = False
    what: str = ""


@dataclass(frozen=True)
class Unit:
    """RTL whose area is measured.

    Attributes:
        name: the name of its records' file.
        top: its top module.
        sources: patterns below the RTL folder, packages first; a file counts once.
        trials: what is synthesized.
        slang: whether its sources need Yosys's slang frontend.
        apart: modules in the top that keep their borders, each counted for itself.
    """

    name: str
    top: str
    sources: tuple[str, ...]
    trials: tuple[Trial, ...]
    slang: bool = True
    apart: tuple[str, ...] = ()

    def files(self) -> list[Path]:
        """The files that the patterns name, in their order."""
        found: dict[Path, None] = {}
        for pattern in self.sources:
            for path in sorted(RTL.glob(pattern)):
                if not any(part in path.parts for part in _SIMULATION):
                    found[path] = None
        return list(found)

    def primitives(self) -> list[Path]:
        """Models of device primitives, from which slang takes their ports."""
        return sorted((RTL / "primitives").glob("*.sv")) if self.slang else []


#: Accumulators hold the sums of this many products of the largest operands.
MAC_CHANNELS = 1536


def mac(tokens: int, rows: int, depth: int, bits: int, dsp_rows: int) -> dict[str, int]:
    """Parameters of a MAC tile whose accumulators hold ``MAC_CHANNELS`` products."""
    largest = MAC_CHANNELS * 8 * (2 ** (bits - 1) - 1)
    return {
        "T_N": tokens,
        "T_M": rows,
        "T_K": depth,
        "A": bits,
        "DSP_ROWS": dsp_rows,
        "SUM_BITS": largest.bit_length() + 1,
    }


def _mac_grid() -> Iterator[Trial]:
    for bits in (4, 5, 6, 7, 8):
        triple = bits == 8
        for depth in (8, 16):
            rows = 18 if triple else 16
            yield Trial(mac(16, rows, depth, bits, rows))
            yield Trial(mac(16, 8, depth, bits, 0))
        rows = 3 if triple else 2
        yield Trial(mac(2, rows + 1, 8, bits, rows), flatten=True, what="longest path")


#: A ZCU102's worth of lanes, and slices of it that predict its area.
WHOLE = (mac(40, 30, 8, 7, 30), mac(40, 6, 8, 7, 0), mac(40, 36, 8, 7, 30))
SLICES = {
    "dsp": tuple(mac(tokens, rows, 8, 7, rows) for tokens in (4, 8) for rows in (4, 8)),
    "lut": tuple(mac(tokens, rows, 8, 7, 0) for tokens in (2, 4) for rows in (2, 4)),
}


def _mac_whole() -> Iterator[Trial]:
    for slices in SLICES.values():
        yield from (Trial(parameters, flatten=True, what="slice") for parameters in slices)
    yield from (Trial(parameters, what="ZCU102") for parameters in WHOLE)
    yield Trial(mac(40, 48, 8, 7, 30), what="ZCU102, LUTs filled")


PACKAGES = ("qvit_pkg.sv", "mac/mac_pkg.sv")
ARITHMETIC = ("requantize.sv", "round_shift.sv", "multiply_add.sv", "reciprocal.sv", "square_root.sv")
#: DeiT-Tiny on 40 tokens by 40 atom rows by 8: 192 channels, 197 tokens.
TOKENS, ROWS, DEPTH = 40, 40, 8
#: What an engine is made of; each part keeps its border and is counted for itself.
ENGINE_PARTS = (
    "program_reader", "controller", "gemm_loader", "queue", "weight_buffer", "row_parameter_buffer",
    "gemm_sequencer", "mac_tile", "gemm_drain", "layer_norm", "softmax", "mean_tokens", "load_image",
    "store_result", "store_trace", "code_memory", "wide_memory",
)  # fmt: skip
HELD_OUT = "held out"
_ENGINE_PARAMETERS = (
    "T_N", "T_M", "T_K", "A", "DSP_ROWS", "DRAIN_ROWS", "PORTS", "ACTIVATION_DEPTH", "DIGIT_DEPTH",
    "WIDE_DEPTH", "WEIGHT_DEPTH", "ACCUMULATOR_BITS", "TABLE_BITS", "MAX_TOKENS", "MAX_CHANNELS",
    "IMAGE_PIXELS",
)  # fmt: skip
_FITTED = (
    (4, 8, 4, 7, 4, 2, 1, 1024, 512, 300, 40, 22, 7, 33, 48, 4),
    (8, 8, 4, 7, 8, 2, 2, 2048, 128, 700, 96, 26, 8, 65, 192, 4),
    (4, 16, 2, 5, 8, 1, 1, 256, 64, 100, 24, 20, 6, 17, 64, 2),
    (8, 12, 8, 4, 8, 1, 4, 640, 320, 1500, 64, 24, 8, 197, 384, 8),
    (16, 8, 8, 7, 8, 2, 2, 4096, 1536, 2100, 48, 25, 8, 197, 192, 8),
    (12, 16, 4, 6, 16, 1, 1, 300, 200, 600, 32, 23, 7, 50, 96, 4),
)
_HELD_OUT = (
    (6, 10, 2, 6, 6, 1, 4, 1100, 90, 220, 20, 19, 6, 80, 160, 1),
    (10, 20, 2, 8, 12, 2, 1, 512, 400, 1100, 36, 21, 5, 101, 128, 2),
    (24, 12, 8, 7, 12, 2, 2, 5000, 2600, 3000, 80, 27, 8, 150, 256, 8),
)


def _engines() -> Iterator[Trial]:
    for what, sizes in (("", _FITTED), (HELD_OUT, _HELD_OUT)):
        for values in sizes:
            parameters = dict(zip(_ENGINE_PARAMETERS, values, strict=True))
            yield Trial(parameters, flatten=True, what=what)


def _unit(name: str, *trials: Mapping[str, int], sources: tuple[str, ...] = ()) -> Unit:
    """A unit with a file of its own name at the top of the RTL folder, and its arithmetic."""
    files = (*PACKAGES, *ARITHMETIC, "lane_select.sv", "response_fifo.sv", f"{name}*.sv", *sources)
    return Unit(name, name, files, tuple(Trial(parameters) for parameters in trials))


def _drain(tokens: int, rows: int) -> dict[str, int]:
    return {
        "T_N": tokens,
        "T_M": ROWS,
        "T_K": DEPTH,
        "SUM_BITS": 20,
        "ACCUMULATOR_BITS": 25,
        "DRAIN_ROWS": rows,
        "MAX_TOKENS": 197,
    }


UNITS: tuple[Unit, ...] = (
    Unit("mac_tile", "mac_tile", ("mac/mac_pkg.sv", "mac/*.sv"), (*_mac_grid(), *_mac_whole()), slang=False),
    Unit(
        "requantize",
        "requantize",
        (*PACKAGES, *ARITHMETIC),
        tuple(Trial({"WIDTH": width}, flatten=True) for width in (21, 25, 27)),
    ),
    Unit("reciprocal", "reciprocal", (*PACKAGES, *ARITHMETIC), (Trial({"WIDTH": 24}, flatten=True),)),
    Unit("square_root", "square_root", (*PACKAGES, *ARITHMETIC), (Trial({"WIDTH": 48}, flatten=True),)),
    _unit(
        "layer_norm",
        *(
            {"T_N": tokens, "MAX_TOKENS": 197, "MAX_CHANNELS": 192, "CHANNELS": channels}
            for tokens, channels in ((8, 1), (8, 2), (TOKENS, 2))
        ),
    ),
    *(
        replace(
            _unit(
                "layer_norm",
                *(
                    {
                        "T_N": tokens,
                        "MAX_TOKENS": 197,
                        "MAX_CHANNELS": 192,
                        "CHANNELS": channels,
                        parameter: there,
                    }
                    for tokens, channels in ((8, 1), (8, 2), (16, 2))
                    for there in (0, 1)
                ),
            ),
            name=f"layer_norm_{parameter.lower()}",
        )
        for parameter in ("SHIFTS", "PASSES")
    ),
    _unit("softmax", *({"T_N": lanes, "MAX_TOKENS": 197, "KEYS": 2} for lanes in (8, TOKENS))),
    _unit("mean_tokens", {"T_N": TOKENS, "MAX_TOKENS": 197}),
    _unit("load_image", {"T_N": TOKENS, "T_K": DEPTH, "IMAGE_PIXELS": 8}),
    _unit("store_result", {"T_N": TOKENS}),
    _unit("store_trace", {"T_N": TOKENS, "T_K": DEPTH}),
    Unit(
        "gemm_loader",
        "gemm_loader",
        (*PACKAGES, "gemm/gemm_loader.sv"),
        (Trial({"T_N": TOKENS, "T_M": ROWS, "T_K": DEPTH, "PORTS": 4, "WEIGHT_DEPTH": 96}),),
    ),
    Unit(
        "gemm_sequencer",
        "gemm_sequencer",
        (*PACKAGES, "gemm/gemm_sequencer.sv"),
        (Trial({"T_N": TOKENS, "T_K": DEPTH, "WEIGHT_DEPTH": 96}, flatten=True),),
    ),
    Unit(
        "gemm_drain",
        "gemm_drain",
        (
            *PACKAGES,
            *ARITHMETIC,
            "gemm/gemm_drain.sv",
            "gemm/gemm_transposer.sv",
            "gemm/elementwise_table.sv",
        ),
        (Trial(_drain(8, 1)), Trial(_drain(8, 2)), Trial(_drain(TOKENS, 2))),
    ),
    Unit(
        "weight_buffer",
        "weight_buffer",
        (*PACKAGES, "memory/ram.sv", "memory/weight_buffer.sv"),
        (Trial({"T_M": ROWS, "T_K": DEPTH, "WEIGHT_DEPTH": 96}),),
    ),
    Unit(
        "code_memory",
        "code_memory",
        (*PACKAGES, "memory/ram.sv", "memory/code_memory.sv"),
        (Trial({"T_N": TOKENS, "T_K": DEPTH, "BANKS": 4, "WORDS": 600}),),
    ),
    Unit(
        "wide_memory",
        "wide_memory",
        (*PACKAGES, "memory/ram.sv", "memory/wide_memory.sv"),
        (Trial({"T_N": TOKENS, "DEPTH": 1960}),),
    ),
    Unit(
        "qvit_engine",
        "qvit_engine",
        (*PACKAGES, "mac/*.sv", "memory/*.sv", "gemm/*.sv", "*.sv"),
        tuple(_engines()),
        apart=ENGINE_PARTS,
    ),
)
