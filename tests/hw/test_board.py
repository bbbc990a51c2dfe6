"""Boards are read by name or from a file; whatever is wrong with a file is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from qvit_hls.errors import QvitError
from qvit_hls.hw.board import Board, board_names, load_board, parse_board

KNOWN = "kv260, zcu102, zcu104"


def test_boards_that_do_not_exist_are_named_with_those_that_do() -> None:
    with pytest.raises(QvitError) as refused:
        load_board("zcu999")
    assert refused.value.problems == (
        f"unknown board 'zcu999'; known boards: {KNOWN}; "
        "any other board is the path of a .yaml file with the same keys",
    )


@pytest.mark.parametrize("name", ["../boards/zcu102", "zcu102/", ""])
def test_board_names_are_no_paths(name: str) -> None:
    with pytest.raises(QvitError, match="unknown board"):
        load_board(name)


@pytest.mark.parametrize("name", board_names())
def test_boards_are_valid(name: str) -> None:
    assert load_board(name).name == name


def test_the_devices_are_those_of_the_data_sheets() -> None:
    """LUTs, flip-flops, DSP slices, block RAMs and UltraRAMs, from AMD's product tables."""
    known = {
        "zcu102": (274_080, 548_160, 2_520, 912, 0),
        "zcu104": (230_400, 460_800, 1_728, 312, 96),
        "kv260": (117_120, 234_240, 1_248, 144, 64),
    }
    boards = {name: load_board(name) for name in known}
    assert {n: (b.lut, b.ff, b.dsp, b.bram36, b.uram) for n, b in boards.items()} == known


def test_a_board_of_ones_own_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\npart: x\nlut: 1000\nff: 2000\ndsp: 10\ndsp_type: DSP48E2\nbram36: 5\nuram: 0\n"
        "usable: 0.5\nweight_ports: 1\nddr_gbytes_per_s: 3\nclock_mhz: 100\n"
    )
    board = load_board(str(path))
    assert (board.name, board.usable_of("lut"), board.usable_of("bram36")) == ("mine", 500, 2)
    assert parse_board(board.model_dump_json().encode(), "board.json") == board


def test_every_problem_of_a_board_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "name: 5\npart: x\nlut: 0\nff: 1.5\ndsp: true\ndsp_type: DSP58\nbram36: '3'\nusable: 1.2\n"
        "weight_ports: 9\nddr_gbytes_per_s: .inf\nclock_mhz: 200\nlutt: 3\n7: 1\n"
    )
    with pytest.raises(QvitError) as refused:
        load_board(str(path))
    keys = ", ".join(Board.model_fields)
    assert refused.value.problems == (
        f"{path}: 7 is not a board's key",
        f"{path}: name is 5; it should be text (the board's name)",
        f"{path}: lut is 0; it should be greater than 0 (LUTs of the device)",
        f"{path}: ff is 1.5; it should be a whole number (flip-flops of the device)",
        f"{path}: dsp is True; it should be a whole number (DSP slices of the device)",
        f"{path}: dsp_type is 'DSP58'; it should be 'DSP48E2' (kind of the DSP slices)",
        f"{path}: bram36 is '3'; it should be a whole number (block RAMs of 36 Kbit)",
        f"{path}: uram is missing (UltraRAMs; 0 where there are none)",
        f"{path}: usable is 1.2; it should be at most 1.0 (share of the device that a design may use)",
        f"{path}: weight_ports is 9; it should be at most 4 (128-bit memory ports)",
        f"{path}: ddr_gbytes_per_s is inf; it should be a finite number (memory bandwidth, 10**9 bytes per "
        "second)",
        f"{path}: lutt is not a board's key; keys are {keys}",
    )


def test_a_key_that_is_there_twice_is_named_with_its_lines() -> None:
    content = load_board("zcu102").model_dump_json(indent=1).replace("{", "{\n  'lut': 5,\n  'dsp': 3,")
    with pytest.raises(QvitError) as refused:
        parse_board(content.encode(), "b.yaml")
    assert refused.value.problems == (
        "b.yaml: lut is there 2 times, in lines 2 and 6",
        "b.yaml: dsp is there 2 times, in lines 3 and 8",
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            b"a: [",
            "b.yaml is not YAML: line 1, column 5: expected the node content, but found '<stream end>'",
        ),
        (b"- 1", "b.yaml should hold one key per line, such as 'lut: 274080'."),
        (b"", "b.yaml should hold one key per line, such as 'lut: 274080'."),
    ],
)
def test_what_is_no_board_file_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(QvitError) as refused:
        parse_board(content, "b.yaml")
    assert refused.value.problems == (problem,)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[" * 5000])
def test_a_board_file_that_is_no_text_is_refused(content: bytes) -> None:
    with pytest.raises(QvitError, match=r"^b\.yaml is not YAML: "):
        parse_board(content, "b.yaml")


def test_a_board_file_that_is_missing_is_named() -> None:
    with pytest.raises(QvitError) as refused:
        load_board("nowhere.yaml")
    assert refused.value.problems == (
        f"The board file nowhere.yaml does not exist; known boards are {KNOWN}.",
    )
