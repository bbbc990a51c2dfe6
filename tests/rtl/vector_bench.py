"""Verilating the benches of the vector units, and running them on binary input."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from qvit_hls.flow import toolchain
from qvit_hls.flow.toolchain import find_verilator

RTL = Path(toolchain.__file__).parents[1] / "hls_kernels" / "rtl"
HERE = Path(__file__).parent

#: Design files that the units are made of, packages first.
SOURCES = (
    "qvit_pkg.sv",
    "lane_select.sv",
    "response_fifo.sv",
    "round_shift.sv",
    "primitives/DSP48E2.sv",
    "multiply_add.sv",
    "requantize.sv",
    "reciprocal.sv",
    "square_root.sv",
    "layer_norm_lane.sv",
    "layer_norm_moments.sv",
    "layer_norm_scale.sv",
    "layer_norm.sv",
    "softmax.sv",
    "mean_tokens.sv",
    "load_image.sv",
    "store_result.sv",
    "store_trace.sv",
)


def sources(names: Sequence[str] = SOURCES) -> list[str]:
    """Paths of design files, those of all units unless named."""
    return [str(RTL / name) for name in names]


def verilator(
    folder: Path, arguments: Sequence[str], optimization: str = "-O1"
) -> subprocess.CompletedProcess[str]:
    """Run Verilator in ``folder``; the test is skipped where there is none.

    Args:
        optimization: of the compiler, for a model that is built.
    """
    tool = find_verilator()
    if tool is None:
        pytest.skip("Verilator is not installed")
    environment = dict(os.environ)
    package = toolchain.package_folder("verilator")
    if package is not None and Path(tool.path).is_relative_to(package):
        environment["VERILATOR_ROOT"] = str(package)
    # The Python package's makefile does not know how a compiler takes a precompiled header.
    environment["MAKEFLAGS"] = (
        f" -- CFG_CXXFLAGS_PCH_I=-include OPT_FAST={optimization} OPT_SLOW=-O0 OPT_GLOBAL=-O0"
    )
    return subprocess.run(
        [*tool.command, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


class Bench:
    """One verilated bench: a top module ``vector_<name>.sv`` and its main program ``vector_<name>.cpp``.

    Args:
        folder: where it is built.
        parameters: of the top module, and constants of the program.
        optimization: of the compiler.
        design: the design files that it needs, packages first.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        parameters: Mapping[str, int],
        optimization: str,
        design: Sequence[str] = SOURCES,
    ) -> None:
        defines = [
            argument for key, value in parameters.items() for argument in ("-CFLAGS", f"-D{key}={value}")
        ]
        arguments = [
            *("--cc", "--exe", "--build", "-j", "1", "-O3", "--assert", "--x-initial", "unique"),
            *("-Wno-fatal", "--Mdir", str(folder / "build"), *defines),
            *(f"-G{key}={value}" for key, value in parameters.items()),
            *("--top-module", f"vector_{name}", "-o", "bench"),
            *sources(design),
            *(str(HERE / f"vector_{name}{suffix}") for suffix in (".sv", ".cpp")),
        ]
        result = verilator(folder, arguments, optimization)
        assert result.returncode == 0, result.stdout + result.stderr
        self._program = folder / "build" / "bench"

    def run(self, data: bytes) -> bytes:
        """The program's output for this input."""
        result = subprocess.run([str(self._program)], input=data, capture_output=True, timeout=600)
        assert result.returncode == 0, result.stderr.decode()
        return result.stdout
