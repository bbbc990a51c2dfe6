"""Faults in SystemVerilog: changed expressions and statements, and how they must show."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from qvit_hls.errors import QvitError
from qvit_hls.verify.faults.fault import NotInProjectError
from qvit_hls.verify.faults.subject import Subject
from qvit_hls.verify.faults.where import Where


class Shows(Enum):
    """How a simulation shows a fault; the value is what reports call it."""

    LAYER = "a layer"
    """With the trace on, a layer's values differ, and all earlier ones are right."""
    UNTRACED = "untraced logits"
    """Only frames without the trace differ: layers overlap there as they do not with it."""
    STREAMS = "streams"
    """Values are right, but not the count or the handshake of the words, or the end of a frame."""
    HANG = "hang"
    """The frame does not end."""
    FAILURE = "failure"
    """The simulation stops: an assertion."""


@dataclass(frozen=True)
class Edit:
    """One change of a source.

    Attributes:
        before: an expression, or one or more statements (which end in a semicolon or ``end``).
        after: what takes its place, of the same kind; of statements perhaps nothing.
        inside: text around ``before`` that tells its place; it occurs in the source exactly once, and holds
            ``before`` exactly once. By default ``before`` alone.
    """

    before: str
    after: str
    inside: str = ""

    @property
    def is_statement(self) -> bool:
        """Whether ``before`` is statements."""
        return re.search(r"(;|\bend)$", self.before) is not None


@dataclass(frozen=True)
class PlacedEdit:
    """An edit, found in a source: characters ``start`` to ``end`` of the file."""

    file: str
    start: int
    end: int
    edit: Edit


@dataclass(frozen=True)
class RtlPlanting:
    """A fault in one project.

    Attributes:
        edits: places of its changes.
        place: the source, for people.
        expected: layers where the first difference may be, and names of the other ways to show
            (:class:`Shows`).
    """

    edits: tuple[PlacedEdit, ...]
    place: str
    expected: frozenset[str]


@dataclass(frozen=True)
class RtlFault:
    """A fault in the RTL.

    Attributes:
        name: unique in the catalogue.
        group: what part of the design it is in.
        what: what is wrong, in words.
        file: the source, relative to the project folder.
        edits: the changes of it.
        where: whether a layer uses the changed hardware and its result depends on it.
        needs: what the project must have for that, in words.
        shows: how it must show.
        stalls: hold the streams back; without that it would not show.
    """

    name: str
    group: str
    what: str
    file: str
    edits: tuple[Edit, ...]
    where: Where
    needs: str
    shows: frozenset[Shows] = frozenset({Shows.LAYER})
    stalls: bool = False

    @property
    def variant(self) -> str:
        """How it is simulated, for people."""
        return "RTL, streams stalled" if self.stalls else "RTL"

    def plant(self, subject: Subject) -> RtlPlanting:
        """The fault in this project.

        Raises:
            NotInProjectError: no layer uses the changed hardware.
            QvitError: the text to change is not in the source exactly once.
        """
        path = subject.folder / self.file
        if not path.is_file():
            raise QvitError(
                f"The project lacks the source {path}. Make it again with qvit-hls gen --mac rtl."
            )
        text = path.read_text(encoding="utf-8")
        problems, edits = [], []
        for edit in self.edits:
            around = edit.inside or edit.before
            if text.count(around) != 1:
                problems.append(
                    f"The fault {self.name} no longer applies: {path} holds the text {around!r} "
                    f"{text.count(around)} times; it must be there exactly once. Make the project again with "
                    "this version of qvit-hls, or bring the catalogue of faults up to date."
                )
            elif around.count(edit.before) != 1:
                problems.append(
                    f"The fault {self.name} is not clear: its text {around!r} holds {edit.before!r} "
                    f"{around.count(edit.before)} times; it must be there exactly once."
                )
            else:
                start = text.index(around) + around.index(edit.before)
                edits.append(PlacedEdit(self.file, start, start + len(edit.before), edit))
        if problems:
            raise QvitError(problems)
        layers = {subject.shown(layer) for layer in subject.layers if self.where(layer, subject)}
        if not layers:
            raise NotInProjectError(f"needs {self.needs}")
        others = {shows.value for shows in self.shows if shows is not Shows.LAYER}
        expected = others | layers if Shows.LAYER in self.shows else others
        return RtlPlanting(tuple(edits), self.file, frozenset(expected))
