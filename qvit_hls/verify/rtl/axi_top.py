"""RTL of the whole top as Vitis HLS writes it: its files, its ports, and where its registers lie.

Vitis HLS puts one module per file into ``<work>/hls/syn/verilog``: ``qvit_top.v``,
``qvit_top_control_s_axi.v`` with the registers, and memory files (``*.dat``) that ``$readmemh`` looks for in
the folder of the simulation. Where a register lies is Vitis's choice and stands only in comments of the
second file::

    // 0x10 : Data signal of program
    //        bit 31~0 - program[31:0] (Read/Write)
    // 0x14 : Data signal of program
    //        bit 31~0 - program[63:32] (Read/Write)
    // 0x18 : reserved

An argument whose name is a keyword of Verilog or VHDL has ``_r`` appended. Control register 0x00 has
ap_start, ap_done and, where the core was made for the Vitis flow, ``bit 4  - ap_continue``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from qvit_hls.errors import QvitError
from qvit_hls.verify.rtl.design import Design

TOP = "qvit_top"
#: Arguments of the top that are no pointers.
NUMBERS = ("layers", "beats", "image_words", "next_image_words", "result_words", "trace_words")
_CONTROL = f"{TOP}_control_s_axi"
_EXAMPLE = "Name the folder with the Verilog that Vitis HLS wrote, such as WORK/hls/syn/verilog."
_SUFFIXES = (".v", ".sv")
_MEMORY_SUFFIXES = (".dat", ".mem", ".hex")
_READ = tuple(
    [
        "ARVALID",
        "ARREADY",
        "ARADDR",
        "ARID",
        "ARLEN",
        "ARSIZE",
        "ARBURST",
        "RVALID",
        "RREADY",
        "RDATA",
        "RLAST",
        "RID",
        "RRESP",
    ]
)
_WRITE = tuple(
    [
        "AWVALID",
        "AWREADY",
        "AWADDR",
        "AWID",
        "AWLEN",
        "AWSIZE",
        "AWBURST",
        "WVALID",
        "WREADY",
        "WDATA",
        "WSTRB",
        "WLAST",
        "BVALID",
        "BREADY",
        "BRESP",
        "BID",
    ]
)
_LITE = tuple(
    [
        "AWVALID",
        "AWREADY",
        "AWADDR",
        "WVALID",
        "WREADY",
        "WDATA",
        "WSTRB",
        "BVALID",
        "BREADY",
        "BRESP",
        "ARVALID",
        "ARREADY",
        "ARADDR",
        "RVALID",
        "RREADY",
        "RDATA",
        "RRESP",
    ]
)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_KEYWORDS = "input|output|inout|wire|reg|logic|signed|var"
_PORT = re.compile(
    rf"\b(?:input|output|inout)\b(?:\s+(?:wire|reg|logic|signed|var)\b)*\s*(?:\[[^\]]*\]\s*)*"
    rf"((?!(?:{_KEYWORDS})\b)\w+(?:\s*,\s*(?!(?:{_KEYWORDS})\b)\w+)*)"
)
_MODULE = re.compile(r"^\s*(?:\(\*.*?\*\)\s*)?module\s+(\w+)", re.MULTILINE)
_PACKAGE = re.compile(r"^\s*package\s+\w+", re.MULTILINE)
_REGISTER = re.compile(r"^\s*//\s*0x([0-9a-fA-F]+)\s*:\s*Data signal of (\w+)\s*$", re.MULTILINE)
_CONTINUE = re.compile(r"^\s*//\s*bit 4\s*-\s*ap_continue\b", re.MULTILINE)


@dataclass(frozen=True)
class AxiTop:
    """RTL of the whole top.

    Attributes:
        design: its sources, simulation models of primitives included.
        memories: files that ``$readmemh`` needs in the folder of the simulation.
        registers: addresses of each argument's 32-bit words, the lowest first.
        continues: whether the end of a frame is acknowledged by ap_continue.
    """

    design: Design
    memories: tuple[Path, ...]
    registers: dict[str, tuple[int, ...]]
    continues: bool

    @property
    def bundles(self) -> tuple[str, ...]:
        """Its memory ports, ``m_axi_<name>``."""
        return _bundles(self.design.ports)


def read_axi_top(folder: Path, ports: int) -> AxiTop:
    """Find out how the RTL in ``folder``, and the folders in it, is simulated.

    Args:
        folder: Verilog or SystemVerilog of ``qvit_top``.
        ports: weight ports of the accelerator.

    Raises:
        QvitError: there is no such folder or no ``qvit_top`` in it; or, all at once, ports of the top and
            registers that are missing.
    """
    if not folder.is_dir():
        raise QvitError(f"There is no folder {folder}. {_EXAMPLE}")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    texts = {
        path: path.read_text(encoding="utf-8", errors="replace") for path in files if path.suffix in _SUFFIXES
    }
    top, control = _only(folder, texts, TOP), _only(folder, texts, _CONTROL)
    problems: list[str] = []
    if top is None:
        raise QvitError(f"The folder {folder} holds no {TOP}.v or {TOP}.sv. {_EXAMPLE}")
    problems += _port_problems(top, texts[top], ports)
    registers: dict[str, tuple[int, ...]] = {}
    if control is None:
        problems.append(
            f"The folder {folder} holds no {_CONTROL}.v or {_CONTROL}.sv, whose comments say where the "
            f"registers of {TOP} lie. Vitis HLS writes it beside {top.name}."
        )
    else:
        registers = _registers(texts[control])
        problems += _register_problems(control, registers, ports)
    if problems:
        raise QvitError(problems)
    assert control is not None
    packages_first = sorted(texts, key=lambda path: _PACKAGE.search(texts[path]) is None)
    return AxiTop(
        design=Design(TOP, (*packages_first, *_primitives(texts)), ports, functional=False),
        memories=tuple(path for path in files if path.suffix in _MEMORY_SUFFIXES),
        registers=registers,
        continues=_CONTINUE.search(texts[control]) is not None,
    )


def _only(folder: Path, texts: dict[Path, str], name: str) -> Path | None:
    """The file with the module ``name``.

    Raises:
        QvitError: several have it.
    """
    found = [path for path in texts if path.stem == name]
    if len(found) > 1:
        listed = ", ".join(str(path.relative_to(folder)) for path in found)
        raise QvitError(
            f"The folder {folder} holds {name} more than once ({listed}). Name the folder of one of them."
        )
    return found[0] if found else None


def _bundles(ports: int) -> tuple[str, ...]:
    return "gmem_program", *(f"gmem_weights{port}" for port in range(ports)), "gmem_image", "gmem_result"


def _port_problems(path: Path, text: str, ports: int) -> Iterator[str]:
    body = re.search(rf"\bmodule\s+{TOP}\b.*?\bendmodule\b", _COMMENT.sub(" ", text), re.DOTALL)
    if body is None:
        yield f"{path} does not define the module {TOP}. {_EXAMPLE}"
        return
    found = {name.strip() for match in _PORT.finditer(body[0]) for name in match[1].split(",")}
    expected = ["ap_clk", "ap_rst_n", "interrupt", *(f"s_axi_control_{name}" for name in _LITE)]
    for bundle in _bundles(ports):
        expected += [f"m_axi_{bundle}_{name}" for name in (_WRITE if bundle == "gmem_result" else _READ)]
    missing = [name for name in expected if name not in found]
    if missing:
        yield (
            f"{path}: the module {TOP} lacks the ports {', '.join(missing)}, which the top of an accelerator "
            f"with {ports} weight port{'s' * (ports != 1)} has. Synthesize src/top.cpp of this project."
        )


def _registers(text: str) -> dict[str, tuple[int, ...]]:
    registers: dict[str, tuple[int, ...]] = {}
    for offset, name in _REGISTER.findall(text):
        registers[name] = (*registers.get(name, ()), int(offset, 16))
    return {name.removesuffix("_r"): offsets for name, offsets in registers.items()}


def _register_problems(path: Path, registers: dict[str, tuple[int, ...]], ports: int) -> Iterator[str]:
    if not registers:
        yield (
            f"{path} does not say where the registers lie: it has no comments such as "
            "'// 0x10 : Data signal of program', which Vitis HLS writes. Use the file as Vitis HLS wrote it."
        )
        return
    pointers = ["program", *(f"weights{port}" for port in range(ports)), "image", "next_image"]
    words = dict.fromkeys((*pointers, "result", "trace"), 2) | dict.fromkeys(NUMBERS, 1)
    missing = [name for name, count in words.items() if len(registers.get(name, ())) != count]
    if missing:
        yield (
            f"{path}: the comments do not say where the registers of {', '.join(missing)} lie (two words for "
            "a pointer, one for a number). Synthesize src/top.cpp of this project."
        )


def _primitives(texts: dict[Path, str]) -> Iterator[Path]:
    """Simulation models of device primitives that the RTL uses without defining them."""
    defined = {name for text in texts.values() for name in _MODULE.findall(text)}
    folder = Path(str(resources.files("qvit_hls") / "hls_kernels" / "rtl" / "primitives"))
    for model in sorted(folder.glob("*.sv")):
        used = re.compile(rf"^\s*{model.stem}\b", re.MULTILINE)
        if model.stem not in defined and any(used.search(text) for text in texts.values()):
            yield model
