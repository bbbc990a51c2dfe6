"""Putting generated files on disk: all of them or none, and never over something by accident."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from qvit_hls.codegen.plan import BuildPlan
from qvit_hls.errors import QvitError
from qvit_hls.ir.file_format import write_file as replace_file


def write_plan(plan: BuildPlan, folder: Path, force: bool = False) -> None:
    """Write the files of ``plan`` as the new folder ``folder``.

    Everything is written to a temporary folder beside the target, which is then renamed: a failure
    leaves nothing behind, and with ``force`` the old folder stays as it was.

    Args:
        plan: contents by relative path; a plan holds no path that leads out of the folder.
        folder: the folder to create; its parents are created too.
        force: replace an existing folder, with everything in it.

    Raises:
        QvitError: as :func:`check_target` says, or the folder cannot be written.
    """
    check_target(folder, force)
    # A link is followed, so that --force replaces what it points to and not the link.
    folder = Path(os.path.realpath(folder))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise QvitError(f"The output folder {folder} cannot be created: {error.strerror}.") from error
    try:
        new = staging / "new"
        for path, content in plan.files.items():
            target = new / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        new.mkdir(exist_ok=True)
        if folder.exists():
            folder.rename(staging / "old")
            try:
                new.rename(folder)
            except OSError:
                (staging / "old").rename(folder)
                raise
        else:
            new.rename(folder)
    except OSError as error:
        raise QvitError(f"The output folder {folder} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_target(folder: Path, force: bool) -> None:
    """Refuse a target that must not be replaced; worth calling before the work that fills it.

    Raises:
        QvitError: ``folder`` exists and ``force`` is not given; or it is a file; or, with ``force``, it
            holds something else than an earlier build.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise QvitError(f"The output folder {folder} is a file. Choose another name with -o.")
    if not any(folder.iterdir()):
        return
    if not force:
        raise QvitError(
            f"The output folder {folder} exists. Choose another with -o, or give --force to replace it "
            "with everything in it."
        )
    if not (folder / "manifest.json").is_file():
        raise QvitError(
            f"The output folder {folder} holds no manifest.json, so it is not an earlier build, and --force "
            "will not delete it. Choose another folder with -o, or remove this one yourself."
        )


def write_file(path: Path, content: bytes) -> None:
    """Write one file so that it is either the old one or the whole new one.

    Raises:
        QvitError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise QvitError(f"The file {path} cannot be written: {error.strerror}.") from error


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as indented JSON, by :func:`write_file`."""
    write_file(path, (json.dumps(content, indent=2) + "\n").encode())
