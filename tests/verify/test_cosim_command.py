"""``qvit-hls cosim`` from the outside: tables, verdict, exit codes, copies of the report."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from small_rtl_project import Fault, write_data

from qvit_hls.cli.main import main


def cosim(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["cosim", *map(str, arguments)])


def test_equal_layers_exit_with_0_and_show_values_and_cycles(rtl_project: Path, tmp_path: Path) -> None:
    result = cosim(rtl_project, "--images", 1, "--json", tmp_path / "copy.json")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1:4] == [
        ["image", "load_image", "0", "0", "33", "35", "2"],
        ["fc", "gemm", "12", "0", "67", "104", "37", "2", "5.4%"],
        ["head", "store_result", "3", "0", "136", "146", "10"],
    ]
    assert lines[6] == ["linear", "layers", "1", "37", "2", "5.4%"]
    assert lines[9] == ["whole", "frame", "3", "148", "2", "1.4%"]
    assert result.stdout.splitlines()[11:13] == [
        "equal: 0 mismatches in 15 values of 2 layers, 1 image (the project's own vectors), "
        "functional RTL simulation",
        "cycles per frame: 148, of the first one 149, with the trace 148",
    ]
    report = json.loads((rtl_project / "reports" / "cosim-functional.json").read_text())
    assert json.loads((tmp_path / "copy.json").read_text()) == report


def test_a_mismatch_exits_with_1_and_names_the_stalls(rtl_project: Path) -> None:
    write_data(rtl_project / "data", Fault.WRONG)
    result = cosim(rtl_project, "--quiet", "--stalls", 0.25, "--seed", 3)
    assert result.exit_code == 1
    first, second = result.stdout.splitlines()[:2]
    assert first.startswith("NOT EQUAL: 3 mismatches in 45 values")
    assert first.endswith("functional RTL simulation, streams stalled in 25% of the cycles (seed 3)")
    assert second.startswith("first differing layer: fc (gemm), tensor fc, image 0, token 0, channel 0: ")


def test_a_hung_design_exits_with_1(rtl_project: Path) -> None:
    write_data(rtl_project / "data", Fault.HANG)
    result = cosim(rtl_project, "--quiet", "--timeout", 500)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "error: The design made no progress for 500 cycles and was stopped in cycle"
    )


def test_only_the_layers_asked_for_are_shown(rtl_project: Path) -> None:
    result = cosim(rtl_project, "--images", 1, "--layers", "*c")
    assert [line.split()[0] for line in result.stdout.splitlines()[:2]] == ["Layer", "fc"]
    assert result.stdout.splitlines()[2] == ""


def test_a_pattern_without_layers_is_refused_before_the_simulation(rtl_project: Path) -> None:
    result = cosim(rtl_project, "--layers", "blocks.*")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: No layer matches 'blocks.*'; there are 3, from image to head. "
        "Name layers with --layers as in 'blocks.0.*'.\n"
    )


def test_packed_is_about_the_projects_own_rtl(rtl_project: Path) -> None:
    result = cosim(rtl_project, "--packed", "--rtl", rtl_project)
    assert result.exit_code == 2
    assert "--packed is about the project's own RTL; leave it out with --rtl." in result.stderr


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    result = cosim(tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: The folder {tmp_path} is not a generated project: it holds no manifest.json. "
        "Name the folder that qvit-hls gen wrote.\n"
    )
