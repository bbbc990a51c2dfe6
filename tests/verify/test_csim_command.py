"""``qvit-hls csim`` from the outside: table, verdict, exit codes, copies of the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from small_project import write_project

from qvit_hls.cli.main import main
from qvit_hls.report.csim import csim_table
from qvit_hls.verify.compare import LayerResult


def csim(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["csim", *map(str, arguments)])


def test_equal_layers_exit_with_0_and_show_every_layer(project: Path, tmp_path: Path) -> None:
    result = csim(project, "--json", tmp_path / "copy.json")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["Layer", "Unit", "Values", "compared", "Mismatches"],
        ["fc", "gemm", "36", "0"],
        ["head", "gemm", "9", "0"],
    ]
    assert lines[3] == (
        "equal: 0 mismatches in 45 values of 2 layers, 3 images (the project's own vectors), "
        "functional C-simulation"
    )
    report = json.loads((project / "reports" / "csim-functional.json").read_text())
    assert json.loads((tmp_path / "copy.json").read_text()) == report


def test_a_mismatch_exits_with_1(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", "#define FAULTY(x, r) ((x) / 2)")
    result = csim(project, "--quiet", "--packed")
    assert result.exit_code == 1
    assert result.stdout.startswith("NOT EQUAL: ")
    assert "\nfirst differing layer: fc (gemm), tensor fc, image 0, token 0, channel 0: " in result.stdout
    assert (project / "reports" / "csim-packed-mismatch.npz").is_file()


def test_no_compiler_is_one_error(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv("CXX", raising=False)
    result = csim(project, "--quiet")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: No C++ compiler was found: neither g++ nor clang++ is on PATH. Install one "
        "(Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++), or set CXX to one.\n"
    )


def test_equal_layers_of_a_deep_network_share_a_row_per_block() -> None:
    units = {"norm1": "layer_norm", "attn.q": "gemm", "attn.k": "gemm", "fc1": "gemm"}
    layers = [
        LayerResult(f"blocks.{block}.{name}", unit, (), 10, int(block == 19 and name == "attn.k"))
        for block in range(20)
        for name, unit in units.items()
    ]
    layers.append(LayerResult("head", "gemm", (), 5, 0))
    names, shown_units, values, mismatches = (list(column.cells) for column in csim_table(layers).columns)
    assert names[:2] == ["blocks.0 (4 layers)", "blocks.1 (4 layers)"]
    assert names[19:] == ["blocks.19 (3 layers)", "blocks.19.attn.k", "head"]
    assert (shown_units[0], values[0]) == ("layer_norm, gemm", "40")
    assert [str(cell) for cell in mismatches[19:]] == ["0", "1", "0"]
