"""Reading a generated project: its manifest, and the sources that its C-simulation is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from qvit_hls.errors import QvitError


@dataclass(frozen=True)
class Build:
    """A generated project on disk.

    Attributes:
        folder: the project folder.
        manifest: the contents of ``manifest.json``.
    """

    folder: Path
    manifest: dict[str, Any]

    @property
    def simulation(self) -> Simulation:
        """How the C-simulation is compiled."""
        return Simulation.from_manifest(self.folder / "manifest.json", self.manifest.get("csim"))


@dataclass(frozen=True)
class Simulation:
    """What the C-simulation is compiled from; every path is relative to the project folder.

    Attributes:
        sources: translation units.
        include: include folders; all files below them are dependencies.
        defines: preprocessor definitions of each variant, ``functional`` and ``packed``.
        data: folder that the program reads weights, tables and descriptors from.
    """

    sources: tuple[str, ...]
    include: tuple[str, ...]
    defines: dict[str, tuple[str, ...]]
    data: str

    @classmethod
    def from_manifest(cls, origin: Path, entry: Any) -> Simulation:
        """Read and check the manifest's ``csim`` entry.

        Raises:
            QvitError: the entry is missing or malformed, or one of its paths leads out of the project.
        """
        try:
            simulation = cls(
                sources=_strings(entry["sources"]),
                include=_strings(entry["include"]),
                defines={
                    variant: _strings(entry["defines"][variant]) for variant in ("functional", "packed")
                },
                data=_strings([entry["data"]])[0],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise QvitError(
                f"{origin} does not say how the C-simulation is compiled (entry 'csim'). "
                "It was damaged or written by another version; make the project again with qvit-hls gen."
            ) from error
        problems = [
            f"{origin} names the path {path!r}, which leads out of the project. "
            "Make the project again with qvit-hls gen."
            for path in (*simulation.sources, *simulation.include, simulation.data)
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts
        ]
        if problems:
            raise QvitError(problems)
        return simulation


def read_build(folder: Path) -> Build:
    """Open a generated project.

    Raises:
        QvitError: the folder is missing, holds no project, or its manifest is not a JSON object.
    """
    if not folder.is_dir():
        raise QvitError(
            f"There is no folder {folder}. Make a project with: qvit-hls gen model.pt -o {folder}"
        )
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise QvitError(
            f"The folder {folder} is not a generated project: it holds no manifest.json. "
            "Name the folder that qvit-hls gen wrote."
        )
    return Build(folder, read_json_object(manifest))


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file of the project that must hold an object.

    Raises:
        QvitError: it is missing, not JSON, or not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise QvitError(f"The project lacks {path}. Make it again with qvit-hls gen.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise QvitError(
            f"{path} is not readable JSON ({error}). Make the project again with qvit-hls gen."
        ) from error
    if not isinstance(content, dict):
        raise QvitError(f"{path} must hold a JSON object. Make the project again with qvit-hls gen.")
    return content


def _strings(value: Any) -> tuple[str, ...]:
    # A NUL ends a command's argument, so it is in none.
    if not isinstance(value, list) or not all(isinstance(item, str) and "\0" not in item for item in value):
        raise ValueError("not a list of strings")
    return tuple(value)
