"""The harness finds equal layers equal, and locates a fault at its first layer, tensor and index."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_project import write_project

from qvit_hls.errors import QvitError
from qvit_hls.report.csim import csim_verdict, first_mismatch
from qvit_hls.verify.csim import run_csim


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_equal_layers_pass_and_are_reported(project: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    report = run_csim(
        project, jobs=2, progress=lambda stage, done, total: stages.append((stage, done, total))
    )

    assert report.passed
    assert [(layer.layer, layer.values, layer.mismatches) for layer in report.layers] == [
        ("fc", 3 * 12, 0),
        ("head", 3 * 3, 0),
    ]
    assert report.untraced == ("patches",)
    assert stages[0] == ("compile", 0, 1)
    assert stages[-1] == ("compare", 3, 3)
    assert ("simulate", 3, 3) in stages
    stored = json.loads((project / "reports" / "csim-functional.json").read_text())
    assert stored["passed"] is True
    assert (stored["values"], stored["mismatches"]) == (45, 0)
    assert "equal: 0 mismatches in 45 values of 2 layers, 3 images" in csim_verdict(report).plain


def test_more_images_than_stored_continue_the_same_random_sequence(project: Path) -> None:
    report = run_csim(project, count=40)
    assert (report.images, report.origin, report.passed) == (40, "random images of seed 7", True)


def test_a_fault_is_located_and_its_vector_saved(tmp_path: Path) -> None:
    # Row 2 is wrong for one input code only, which image 1 has at pixel 3.
    project = write_project(tmp_path / "project", "#define FAULTY(x, r) ((r) == 2 && (x) == 17 ? 16 : (x))")
    images = np.zeros((3, 1, 2, 2), np.float32)
    images[1:, 0, 1, 1] = 8.5
    report = run_csim(project, data=save(tmp_path / "images.npz", images=images))

    assert not report.passed
    assert [(layer.layer, layer.mismatches) for layer in report.layers] == [("fc", 2), ("head", 0)]
    vector = project / "reports" / "csim-functional-mismatch.npz"
    assert first_mismatch(report) == (
        "first differing layer: fc (gemm), tensor fc, image 1, token 3, channel 2: "
        f"expected 51, got 48; failing vector in {vector}"
    )
    with np.load(vector) as saved:
        assert saved["image"].tolist() == [[[0, 0], [0, 17]]]
        assert saved["expected"].tolist() == [[0], [0], [0], [51]]
        assert saved["got"].tolist() == [[0], [0], [0], [48]]
    stored = json.loads((project / "reports" / "csim-functional.json").read_text())
    assert stored["first_mismatch"] == {
        "layer": "fc",
        "unit": "gemm",
        "tensor": "fc",
        "image": 1,
        "head": None,
        "token": 3,
        "channel": 2,
        "expected": 51,
        "got": 48,
        "vector": "csim-functional-mismatch.npz",
    }


def test_the_first_layer_counts_and_not_the_first_image(tmp_path: Path) -> None:
    # Image 0 differs in row 2 (second tensor of fc), image 1 in row 0 (first tensor).
    project = write_project(
        tmp_path / "project",
        "#define FAULTY(x, r) (((r) == 2 && (x) == 1) || ((r) == 0 && (x) == 2) ? 0 : (x))",
    )
    images = np.zeros((2, 1, 2, 2), np.float32)
    images[0, 0, 0, 0], images[1, 0, 0, 0] = 0.5, 1.0
    report = run_csim(project, data=save(tmp_path / "images.npz", images=images))
    assert report.first is not None
    assert (report.first.image, report.first.channel) == (1, 0)


def test_the_vector_of_an_earlier_run_does_not_stay(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", "#define FAULTY(x, r) ((x) + 1)")
    assert not run_csim(project).passed
    (project / "src" / "fault.h").write_text("#define FAULTY(x, r) (x)\n")
    assert run_csim(project).passed
    assert not (project / "reports" / "csim-functional-mismatch.npz").exists()


def test_top1_is_counted_from_the_trace(project: Path, tmp_path: Path) -> None:
    images = np.zeros((4, 1, 2, 2), np.float32)
    images[:2, 0, 0, 1] = 3.0  # token 1 positive: the last row is the largest
    images[2:, 0, 0, 1] = -3.0  # negative: the first
    report = run_csim(project, data=save(tmp_path / "d.npz", images=images, labels=np.array([2, 2, 0, 1])))
    assert report.top1 is not None
    assert (report.top1.simulated, report.top1.golden) == (0.75, 0.75)
    assert "top-1: 75.00% by the C-simulation, 75.00% by the golden graph" in csim_verdict(report).plain


def test_packed_is_another_program(project: Path) -> None:
    (project / "src" / "fault.h").write_text(
        "#ifdef QVIT_PACKED\n#define FAULTY(x, r) ((x) + 1)\n#else\n#define FAULTY(x, r) (x)\n#endif\n"
    )
    assert run_csim(project).passed
    assert not run_csim(project, packed=True).passed
    assert run_csim(project).passed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"node": "fc9"}, "names fc9, which is not a node of the graph"),
        ({"tokens": 5}, "is 5 tokens of channels 0 to 1, but fc has shape [4, 3]"),
        ({"start": 2}, "is 4 tokens of channels 2 to 3, but fc has shape [4, 3]"),
        ({"offset": 12}, "lies at words 12 to 22 of a trace of 15"),
        ({"head": 0}, "names head 0 of fc, whose shape is [4, 3]"),
    ],
)
def test_a_wrong_trace_entry_is_named(project: Path, change: dict[str, object], message: str) -> None:
    path = project / "program.json"
    program = json.loads(path.read_text())
    program["trace"]["entries"][0].update(change)
    path.write_text(json.dumps(program))
    with pytest.raises(QvitError) as error:
        run_csim(project)
    assert error.value.problems == (
        f"{path}: trace entry 0 (fc) {message}. Make the project again with qvit-hls gen.",
    )


def test_a_trace_without_the_output_is_refused(project: Path) -> None:
    path = project / "program.json"
    program = json.loads(path.read_text())
    program["trace"]["entries"].pop()
    path.write_text(json.dumps(program))
    with pytest.raises(QvitError) as error:
        run_csim(project)
    assert error.value.problems == (
        f"{path}: the trace does not hold all of the network's output head. "
        "Make the project again with qvit-hls gen.",
    )


def test_a_trace_of_infinite_length_is_refused(project: Path) -> None:
    path = project / "program.json"
    program = json.loads(path.read_text())
    program["trace"]["words"] = float("inf")
    path.write_text(json.dumps(program))
    with pytest.raises(QvitError) as error:
        run_csim(project)
    assert error.value.problems == (
        f"{path} does not describe the trace as this version does. Make the project again with qvit-hls gen.",
    )


def test_a_negative_seed_is_refused(project: Path) -> None:
    path = project / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seed": -1}))
    with pytest.raises(QvitError, match="has no integer 'seed'"):
        run_csim(project, count=100)
