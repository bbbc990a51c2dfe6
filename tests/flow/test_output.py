"""Output folders are whole or absent, and nothing is replaced by accident."""

from __future__ import annotations

from pathlib import Path

import pytest

from qvit_hls.codegen.plan import BuildPlan
from qvit_hls.errors import QvitError
from qvit_hls.flow.output import write_file, write_plan

FILES = {"manifest.json": b"{}", "src/top.cpp": b"int top();\n"}


def problems(files: dict[str, bytes], folder: Path, force: bool = False) -> tuple[str, ...]:
    with pytest.raises(QvitError) as error:
        write_plan(BuildPlan(files), folder, force)
    return error.value.problems


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_plan_becomes_a_folder(tmp_path: Path) -> None:
    write_plan(BuildPlan(FILES), tmp_path / "deep" / "build")
    assert contents(tmp_path / "deep" / "build") == FILES
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["build"]


def test_an_existing_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    write_plan(BuildPlan(FILES), tmp_path / "build")
    assert problems({"manifest.json": b"new"}, tmp_path / "build") == (
        f"The output folder {tmp_path / 'build'} exists. Choose another with -o, or give "
        "--force to replace it with everything in it.",
    )
    assert contents(tmp_path / "build") == FILES


def test_force_replaces_an_earlier_build_with_everything_in_it(tmp_path: Path) -> None:
    write_plan(BuildPlan({**FILES, "old.txt": b""}), tmp_path / "build")
    write_plan(BuildPlan(FILES), tmp_path / "build", force=True)
    assert contents(tmp_path / "build") == FILES


def test_force_does_not_delete_what_is_not_a_build(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert problems(FILES, tmp_path, force=True) == (
        f"The output folder {tmp_path} holds no manifest.json, so it is not an earlier build, and --force "
        "will not delete it. Choose another folder with -o, or remove this one yourself.",
    )
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    write_plan(BuildPlan(FILES), tmp_path / "build")
    assert contents(tmp_path / "build") == FILES


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("")
    assert problems(FILES, tmp_path / "build", force=True) == (
        f"The output folder {tmp_path / 'build'} is a file. Choose another name with -o.",
    )


def test_a_failure_while_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    # A file and a folder of the same name cannot both be written.
    message = problems({"a": b"", "a/b": b""}, tmp_path / "build")
    assert message == (f"The output folder {tmp_path / 'build'} cannot be written: File exists.",)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_under_force_keeps_the_earlier_build(tmp_path: Path) -> None:
    write_plan(BuildPlan(FILES), tmp_path / "build")
    problems({"manifest.json": b"new", "a": b"", "a/b": b""}, tmp_path / "build", force=True)
    assert contents(tmp_path / "build") == FILES
    assert [p.name for p in tmp_path.iterdir()] == ["build"]


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    write_file(tmp_path / "reports" / "a.json", b"old")
    write_file(tmp_path / "reports" / "a.json", b"new")
    assert contents(tmp_path) == {"reports/a.json": b"new"}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        QvitError, match=r"^The file .*a\.json cannot be written: (Not a directory|File exists)\.$"
    ):
        write_file(tmp_path / "file" / "a.json", b"")


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "loop"
    link.symlink_to(link)
    (problem,) = problems(FILES, link)
    assert problem.startswith(f"The output folder {link} cannot be ")
    assert [p.name for p in tmp_path.iterdir()] == ["loop"]
