"""The RTL part of a project: the engine's SystemVerilog, its tops, and its description for Vitis HLS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from qvit_hls.codegen.render import Renderer
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.resources.model import resources

if TYPE_CHECKING:
    from importlib.abc import Traversable

#: The engine's module, the same as an RTL black box of Vitis HLS, and the whole accelerator without HLS.
ENGINE_TOP, BLACK_BOX, AXI_TOP = "qvit_engine_top", "qvit_engine_rtl", "qvit_top"
#: Simulators want a time scale in all modules or in none, and Vitis HLS has one in its own.
_TIMESCALE = b"`timescale 1ns / 1ps\n"
_AXI, _PRIMITIVES = "axi", "primitives"


@dataclass(frozen=True)
class RtlFiles:
    """RTL of a project.

    Attributes:
        files: all of them with their contents, by path in the project.
        sources: of the engine, in compile order.
        axi_sources: what the whole accelerator has beside them, likewise.
        simulation_sources: models of device primitives, which synthesis has itself.
    """

    files: dict[str, bytes]
    sources: tuple[str, ...]
    axi_sources: tuple[str, ...]
    simulation_sources: tuple[str, ...]

    def manifest(self) -> dict[str, Any]:
        """The manifest's entry ``rtl``."""
        return {
            "top": ENGINE_TOP,
            "sources": list(self.sources),
            "simulation_sources": list(self.simulation_sources),
            "axi": {"top": AXI_TOP, "sources": list(self.axi_sources)},
            "black_box": f"rtl/{BLACK_BOX}.v",
        }


def rtl_files(config: AcceleratorConfig, render: Renderer) -> RtlFiles:
    """The RTL of an accelerator."""
    root = files("qvit_hls") / "hls_kernels" / "rtl"
    found = {f"rtl/{name}": _TIMESCALE + entry.read_bytes() for name, entry in _walk(root, "")}
    primitives = [path for path in found if path.startswith(f"rtl/{_PRIMITIVES}/")]
    axi = [path for path in found if path.startswith(f"rtl/{_AXI}/")]
    engine = [path for path in found if path not in {*primitives, *axi}]
    inputs, outputs = black_box_streams(config)
    tops = {
        f"rtl/{ENGINE_TOP}.sv": render(f"{ENGINE_TOP}.sv.j2"),
        f"rtl/{_AXI}/{AXI_TOP}.sv": render(f"{AXI_TOP}.sv.j2"),
        f"rtl/{BLACK_BOX}.v": render(f"{BLACK_BOX}.v.j2", inputs=inputs, outputs=outputs),
    }
    return RtlFiles(
        files=found | {path: _TIMESCALE + content for path, content in tops.items()},
        sources=(*sorted(engine, key=_packages_first), f"rtl/{ENGINE_TOP}.sv"),
        axi_sources=(*axi, f"rtl/{_AXI}/{AXI_TOP}.sv"),
        simulation_sources=tuple(primitives),
    )


def black_box_streams(config: AcceleratorConfig) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Name and bits of the streams into and out of the black box, in the order of its C++ function."""
    weights = [(f"weights{port}", 128) for port in range(config.weight_ports)]
    return [("frame", 64), ("program", 32), *weights, ("image", 128)], [("result", 16), ("trace", 16)]


def black_box(config: AcceleratorConfig, rtl: RtlFiles, cflags: str) -> bytes:
    """``blackbox.json``: how Vitis HLS uses the engine's RTL in the place of a C++ function (UG1399).

    Paths count from the project folder, which is where the tools are started. A frame takes at least as many
    cycles as each port's weights have words. The resources are estimates, for the report of HLS.
    """
    inputs, outputs = black_box_streams(config)
    cycles = str(config.stream_words)
    takes = resources(config)
    description = {
        "c_function_name": BLACK_BOX,
        "rtl_top_module_name": BLACK_BOX,
        "c_files": [{"c_file": "src/engine_rtl.cpp", "cflag": cflags}],
        "rtl_files": [f"rtl/{BLACK_BOX}.v", *rtl.sources],
        "c_parameters": [_fifo(name, "in") for name, _ in inputs]
        + [_fifo(name, "out") for name, _ in outputs],
        "rtl_common_signal": {
            "module_clock": "ap_clk",
            "module_reset": "ap_rst",
            "module_clock_enable": "ap_ce",
            **{
                f"ap_ctrl_chain_protocol_{name}": f"ap_{name}"
                for name in ("idle", "start", "ready", "done", "continue")
            },
        },
        "rtl_performance": {"latency": cycles, "II": cycles},
        "rtl_resource_usage": {
            "FF": str(takes.ff),
            "LUT": str(takes.lut),
            "BRAM": str(int(2 * takes.bram36)),
            "URAM": "0",
            "DSP": str(takes.dsp),
        },
    }
    return (json.dumps(description, indent=2) + "\n").encode()


def _fifo(name: str, direction: str) -> dict[str, Any]:
    ports = (
        {"FIFO_data_read_in": "dout", "FIFO_empty_flag": "empty_n", "FIFO_read_enable": "read"}
        if direction == "in"
        else {"FIFO_data_write_out": "din", "FIFO_full_flag": "full_n", "FIFO_write_enable": "write"}
    )
    return {
        "c_name": name,
        "c_port_direction": direction,
        "rtl_ports": {signal: f"{name}_{port}" for signal, port in ports.items()},
    }


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".sv"):
            yield f"{prefix}{entry.name}", entry


def _packages_first(path: str) -> tuple[bool, bool, str]:
    """Packages before modules, and before them the one that the others may import."""
    return path != "rtl/qvit_pkg.sv", not path.endswith("_pkg.sv"), path
