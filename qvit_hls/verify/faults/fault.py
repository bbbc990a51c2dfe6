"""What a planted fault is: changed files of a project, and the layers where the change must show first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from qvit_hls.errors import QvitError
from qvit_hls.verify.faults.subject import ProgramLayer, Subject

Variant = Literal["functional", "packed"]


class NotInProjectError(Exception):
    """The project has nothing that the fault could touch, or nothing that would show it; says what."""


@dataclass(frozen=True)
class Planting:
    """A fault in one project.

    Attributes:
        files: new contents by path relative to the project folder.
        place: where the fault is, for people.
        layers: the first difference must be in one of these. Of a fault in the data it is one layer; of a
            fault in a kernel, the layers that run the changed code.
    """

    files: dict[str, bytes]
    place: str
    layers: frozenset[str]


@dataclass(frozen=True)
class SourceFault:
    """A fault in a C++ source.

    Attributes:
        name: unique in the catalogue.
        group: what part of the project it is in.
        what: what is wrong, in words.
        file: the source, relative to the project folder.
        edits: pairs of text before and after; each text before must occur exactly once.
        where: whether a layer runs the changed code and its result depends on it.
        needs: what the project must have for that, in words.
        variant: the C-simulation that runs the changed code.
    """

    name: str
    group: str
    what: str
    file: str
    edits: tuple[tuple[str, str], ...]
    where: Callable[[ProgramLayer, Subject], bool]
    needs: str
    variant: Variant = "functional"

    def plant(self, subject: Subject) -> Planting:
        """The fault in this project.

        Raises:
            NotInProjectError: no layer runs the changed code.
            QvitError: the text to change is not in the source exactly once.
        """
        path = subject.folder / self.file
        if not path.is_file():
            raise QvitError(f"The project lacks the source {path}. Make it again with qvit-hls gen.")
        text = path.read_text(encoding="utf-8")
        problems = [
            f"The fault {self.name} no longer applies: {path} holds the text {before!r} {text.count(before)} "
            "times; it must be there exactly once. Make the project again with this version of qvit-hls, or "
            "bring the catalogue of faults up to date."
            for before, _ in self.edits
            if text.count(before) != 1
        ]
        if problems:
            raise QvitError(problems)
        layers = frozenset(subject.shown(layer) for layer in subject.layers if self.where(layer, subject))
        if not layers:
            raise NotInProjectError(f"needs {self.needs}")
        for before, after in self.edits:
            text = text.replace(before, after)
        return Planting({self.file: text.encode()}, self.file, layers)


@dataclass(frozen=True)
class DataFault:
    """A fault in packed weights, row parameters, tables, constants or descriptors.

    Attributes:
        name, group, what, variant: as in :class:`SourceFault`.
        choose: picks the target in a project and returns the changed files.
    """

    name: str
    group: str
    what: str
    choose: Callable[[Subject], Planting]
    variant: Variant = "functional"

    def plant(self, subject: Subject) -> Planting:
        """The fault in this project.

        Raises:
            NotInProjectError: the project lacks the target, or nothing would show the change.
        """
        return self.choose(subject)


Fault = SourceFault | DataFault
