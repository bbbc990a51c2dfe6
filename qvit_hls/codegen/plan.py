"""A build plan: the files of a project, in memory. Making one is pure; writing it is ``flow``'s work."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class BuildPlan:
    """Relative path -> contents.

    Raises:
        ValueError: a path is absolute or leads out of the project.
    """

    files: dict[str, bytes]

    def __post_init__(self) -> None:
        for path in self.files:
            pure = PurePosixPath(path)
            if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\\" in path:
                raise ValueError(f"{path!r} is not a path inside the project")

    def digest(self) -> str:
        """SHA-256 over all paths and contents, in path order."""
        total = hashlib.sha256()
        for path in sorted(self.files):
            total.update(f"{path}\0{len(self.files[path])}\0".encode())
            total.update(self.files[path])
        return total.hexdigest()
