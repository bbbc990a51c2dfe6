"""Steps of a long piece of work that is done once: each one's folder is complete, or not there.

A step has inputs (plain data: settings, and digests of what it reads). It works in a folder of its own
under ``.partial``, writes ``step.json`` there last, and then takes its place by a rename. While its inputs
stay the same and the files that it made are whole, it is not run again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qvit_hls.errors import QvitError
from qvit_hls.flow.output import write_json

#: In a step's folder: inputs, what came out in plain data, and digests of its files. Written last.
RECORD = "step.json"
_PARTIAL, _LOCK = ".partial", ".lock"
#: In a step's place under ``_PARTIAL``: what the work there is for, the work, and what it takes the place of.
_INPUTS, _WORK, _OLD = "inputs.json", "work", "old"
#: Bytes that are read at a time.
_BLOCK = 1 << 20

#: Called with a stage's name, and how many of how many steps are done in it.
Update = Callable[[str, int, int], None]
#: Called with a step's name and why it is run, None where it is kept; in the context, it runs.
Watch = Callable[[str, str | None], AbstractContextManager[Update]]


@dataclass(frozen=True, eq=False)
class Step:
    """A piece of work whose result is a folder.

    Attributes:
        name: of the folder, as a relative path.
        inputs: all that the result depends on, as plain JSON values.
        work: fills the folder, and returns plain JSON values that belong to the result. The folder is not
            there yet; with ``resumes`` it may hold what an earlier call for the same inputs has left.
        files: the files that later steps read, and that must stay as they are; None for all.
        resumes: whether the work goes on from what an earlier call has left.
    """

    name: str
    inputs: Mapping[str, Any]
    work: Callable[[Path, Update], Any]
    files: tuple[str, ...] | None = None
    resumes: bool = False


@dataclass(frozen=True)
class Done:
    """A step that is complete.

    Attributes:
        folder: where its files are.
        result: what its work returned.
        files: sha256 of its files, by relative path.
    """

    folder: Path
    result: Any
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """Of all its files."""
        return digest_of(self.files)


class Steps:
    """The steps of one folder."""

    def __init__(self, folder: Path, watch: Watch) -> None:
        self.folder = folder
        self._watch = watch

    def run(self, step: Step) -> Done:
        """Do a step, unless it is done.

        An older result stays in place until the new one is complete.

        Raises:
            QvitError: what the work says; what it has done so far stays where it resumes.
        """
        place, partial = self.folder / step.name, self.folder / _PARTIAL / step.name.replace("/", ".")
        inputs = json.loads(json.dumps(step.inputs))
        self._finish(place, partial, inputs)
        done, reason = _look(place, inputs)
        if done is not None:
            with self._watch(step.name, None):
                return done
        begun = _read(partial / _INPUTS)
        if partial.exists() and not (step.resumes and begun == inputs):
            if begun is not None and begun != inputs and not place.exists():
                reason = _changes(begun, inputs)
            _discard(partial)
        elif partial.exists():
            reason = "goes on from where it stopped"
        partial.mkdir(parents=True, exist_ok=True)
        write_json(partial / _INPUTS, inputs)
        work = partial / _WORK
        with self._watch(step.name, reason) as update:
            result = step.work(work, update)
        files = {name: digest_file(work / name) for name in step.files or _all_files(work)}
        # Written outside, so that no piece of it can be left among the files.
        write_json(partial / RECORD, {"inputs": inputs, "result": result, "files": files})
        (partial / RECORD).rename(work / RECORD)
        self._finish(place, partial, inputs)
        found, reason = _look(place, inputs)
        if found is None:
            raise QvitError(
                f"{place}: {reason}, just after it was written. Does another program write there?"
            )
        return found

    def _finish(self, place: Path, partial: Path, inputs: Any) -> None:
        """Put work that is complete in its place, whenever it was stopped on the way."""
        work = partial / _WORK
        if _look(work, inputs)[0] is not None:
            if place.exists():
                shutil.rmtree(partial / _OLD, ignore_errors=True)
                place.rename(partial / _OLD)
            place.parent.mkdir(parents=True, exist_ok=True)
            work.rename(place)
            _discard(partial)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a folder to this process; the lock ends with the process, however that ends.

    Raises:
        QvitError: another process has it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK).open("a")
    except OSError as error:
        raise QvitError(f"The folder {folder} cannot be written: {error.strerror}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise QvitError(
                f"Another process works in {folder}; wait for it, or choose another folder with -o."
            ) from None
        yield


def digest_of(data: object) -> str:
    """A text that tells plain data apart."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """The sha256 of a file's content."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


# ---------------------------------------------------------------- what is there


def _look(folder: Path, inputs: Any) -> tuple[Done | None, str]:
    """The result in a folder, if it is of these inputs and whole; else why it is not."""
    if not folder.exists():
        return None, "is not there yet"
    record = _read(folder / RECORD)
    if not isinstance(record, dict) or not record.keys() >= {"inputs", "result", "files"}:
        return None, f"has no readable {RECORD}"
    if record["inputs"] != inputs:
        return None, _changes(record["inputs"], inputs)
    files: dict[str, str] = record["files"]
    for name, digest in files.items():
        if not (folder / name).is_file():
            return None, f"{name} is missing"
        if digest_file(folder / name) != digest:
            return None, f"{name} is not as it was written"
    return Done(folder, record["result"], files), ""


def _changes(before: Any, now: Any) -> str:
    """Which inputs differ, by name; values where they are short."""
    return "; ".join(_differences("", before, now)) or "inputs have changed"


def _differences(name: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(f"{name}.{key}".lstrip("."), before.get(key), now.get(key))
    elif before != now:
        old, new = (json.dumps(value) for value in (before, now))
        short = len(old) + len(new) <= 60
        yield f"{name} was {old} and is {new}" if short else f"{name} has changed"


def _discard(partial: Path) -> None:
    # What it is for goes first, so that nobody goes on with what is half deleted.
    (partial / _INPUTS).unlink(missing_ok=True)
    shutil.rmtree(partial)


def _read(path: Path) -> Any:
    """The content of a JSON file; None where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _all_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
