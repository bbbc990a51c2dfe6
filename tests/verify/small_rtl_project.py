"""The project of ``small_project`` with RTL: a stand-in with the engine's ports that computes the same."""

from __future__ import annotations

import json
from enum import IntEnum
from pathlib import Path

import numpy as np
from small_project import trace_entry, write_project

from qvit_hls.hw.accelerator import AcceleratorConfig

STANDIN = Path(__file__).with_name("standin_top.sv")
#: Cycles that the layers wait before they do something.
WAITS = (0, 20, 5)
NAMES = ("image", "fc", "head")


class Fault(IntEnum):
    """What the stand-in can do wrong; the same as in standin_top.sv."""

    NONE = 0
    WRONG = 1
    HANG = 2
    SKIPS_WEIGHTS = 3
    WITHDRAWS = 4
    WRONG_UNTRACED = 5
    ASSERTS = 6
    STAYS_BUSY = 7
    EXTRA_RESULT = 8
    PACKED_WRONG = 9


def write_rtl_project(folder: Path) -> Path:
    """Write the project, without fault."""
    write_project(folder)
    (folder / "rtl").mkdir()
    (folder / "rtl" / "standin_top.sv").write_bytes(STANDIN.read_bytes())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["rtl"] = {"top": "standin_top", "sources": ["rtl/standin_top.sv"], "simulation_sources": []}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    config = AcceleratorConfig(
        tile_tokens=2,
        tile_rows=32,
        tile_depth=2,
        activation_bits=7,
        dsp_rows=0,
        weight_ports=2,
        activation_depth=2,
        digit_depth=2,
        wide_depth=2,
        weight_depth=2,
        max_row_tiles=1,
        table_bits=0,
        max_tokens=4,
        max_channels=4,
        image_pixels=1,
        accumulator_bits=16,
        softmax=False,
        layer_norm=False,
        mean_tokens=False,
    )
    (folder / "accelerator.json").write_text(config.model_dump_json())
    units = ("load_image", "gemm", "store_result")
    layers = [
        {
            "name": name,
            "unit": unit,
            "descriptor": {"digit_source": 0},
            "macs": 12 * (unit == "gemm"),
            "atom_macs": 256 * (unit == "gemm"),
        }
        for name, unit in zip(NAMES, units, strict=True)
    ]
    entries = [
        trace_entry("fc", "fc", 0, 4, 2),
        trace_entry("fc", "fc", 2, 4, 1, start=2),
        {**trace_entry("head", "head", 12, 1, 3), "unit": "store_result"},
    ]
    (folder / "program.json").write_text(
        json.dumps({"layers": layers, "trace": {"words": 15, "entries": entries}})
    )
    write_data(folder / "data")
    return folder


def write_data(data: Path, fault: Fault = Fault.NONE, layer: str = "fc", where: int = 0) -> None:
    """Write what a frame reads. The fault strikes in ``layer``, at its word ``where``."""
    program = np.zeros((3, 32), "<u4")
    program[:, 0] = 0, 2, 6
    program[:, 1] = WAITS
    program[NAMES.index(layer), 29:31] = where, fault
    beats = np.zeros((2, 3, 16), np.uint8)
    beats[0, :, 0] = 1, 2, 3
    beats[1, :, 0] = 63
    beats[:, :, 1:] = 0xA5  # bytes that nobody must use
    np.array([3, 3, 4, 3, 12, 0, 0, 0], "<u4").tofile(data / "frame.bin")
    program.tofile(data / "program.bin")
    for port, words in enumerate(beats):
        words.tofile(data / f"weights{port}.bin")
