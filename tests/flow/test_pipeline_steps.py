"""Steps that are done once: whatever interrupts them, the next call comes to the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qvit_hls.errors import QvitError
from qvit_hls.flow.pipeline_steps import Step, Steps, Update, locked


class Interrupted(BaseException):
    """Stands for the end of the process."""


@contextmanager
def silent(step: str, reason: str | None) -> Iterator[Update]:
    yield lambda stage, done, total: None


def counting(value: int, begun: list[str]) -> Step:
    """Writes ``value`` files, going on from those that are there."""

    def work(folder: Path, update: Update) -> int:
        folder.mkdir(exist_ok=True)
        begun.append(f"{value} from {len(list(folder.iterdir()))}")
        for index in range(value):
            (folder / f"{index}.txt").write_text(f"{index} of {value}")
        return value

    return Step("group/counted", {"value": value}, work, resumes=True)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize("call", range(60))
def test_stopped_at_any_change_of_the_disk_the_next_call_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """A result of 2 is there, one of 3 takes its place, and the process ends at the n-th change."""
    expected = tmp_path / "expected"
    Steps(expected, silent).run(counting(3, []))
    steps = Steps(tmp_path / "out", silent)
    steps.run(counting(2, []))
    left = call

    def counted(name: str) -> None:
        original = getattr(os, name)

        def changed(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Interrupted
            return original(*arguments, **options)

        monkeypatch.setattr(os, name, changed)

    for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "open"):
        counted(name)
    try:
        steps.run(counting(3, []))
    except Interrupted:
        place = tmp_path / "out" / "group" / "counted"
        # Complete, either one, or not there.
        assert not place.exists() or len(contents(place)) in (3, 4)
    monkeypatch.undo()
    done = steps.run(counting(3, []))
    assert done.result == 3
    assert contents(done.folder) == contents(expected / "group" / "counted")


def test_work_that_failed_goes_on_for_the_same_inputs_only(tmp_path: Path) -> None:
    reasons: list[str | None] = []

    @contextmanager
    def watch(step: str, reason: str | None) -> Iterator[Update]:
        reasons.append(reason)
        yield lambda stage, done, total: None

    steps, begun = Steps(tmp_path, watch), list[str]()
    whole = counting(4, begun)

    def failing(folder: Path, update: Update) -> None:
        folder.mkdir()
        (folder / "0.txt").write_text("0 of 4")
        raise QvitError("The power is off.")

    with pytest.raises(QvitError, match="The power is off"):
        steps.run(Step(whole.name, whole.inputs, failing, resumes=True))
    assert not (tmp_path / "group").exists()
    steps.run(whole)
    steps.run(whole)
    steps.run(counting(1, begun))
    steps.run(counting(1, begun))
    assert begun == ["4 from 1", "1 from 0"]
    assert reasons == [
        "is not there yet", "goes on from where it stopped", None, "value was 4 and is 1", None,
    ]  # fmt: skip


def test_a_result_that_was_touched_is_made_again(tmp_path: Path) -> None:
    begun: list[str] = []
    steps = Steps(tmp_path, silent)
    folder = steps.run(counting(2, begun)).folder
    (folder / "report.txt").write_text("of a later step")
    assert steps.run(counting(2, begun)).files.keys() == {"0.txt", "1.txt"}
    assert len(begun) == 1
    (folder / "1.txt").write_text("damaged")
    steps.run(counting(2, begun))
    (folder / "0.txt").unlink()
    steps.run(counting(2, begun))
    (folder / "step.json").write_text("{")
    steps.run(counting(2, begun))
    assert len(begun) == 4
    assert (folder / "1.txt").read_text() == "1 of 2"


def test_a_folder_is_for_one_process(tmp_path: Path) -> None:
    other = locked(tmp_path / "out")
    with locked(tmp_path / "out"), pytest.raises(QvitError, match="Another process works in"):
        other.__enter__()
    with locked(tmp_path / "out"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(QvitError, match="cannot be written"), locked(tmp_path / "file"):
        pass
