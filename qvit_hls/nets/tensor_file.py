"""Files of named tensors and plain values: written in one step, and their entries checked."""

from __future__ import annotations

import io
import os
import pickle
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qvit_hls.errors import QvitError

#: First byte of a bare pickle, and of what torch.save wrote before version 1.6.
_PICKLE = b"\x80"


def file_tensors(module: nn.Module) -> dict[str, Any]:
    """A module's state as a file holds it: on the CPU, dense, apart from the module."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}


def write_tensor_file(content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write ``content`` to ``path``; an existing file is replaced in one step, or stays if writing fails.

    Raises:
        OSError: the file cannot be written.
    """
    # Through memory: torch.save would otherwise put the temporary file's name into the archive, and the
    # same content would not give the same bytes.
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    target = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(buffer.getvalue())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_tensor_file(path: str | os.PathLike[str], kind: str = "model") -> Any:
    """What a file holds: tensors and plain values, not looked at yet. Nothing in the file runs.

    Args:
        path: of the file.
        kind: what it should be, ``model`` or ``supernet``, for messages.

    Raises:
        QvitError: the file is missing, cannot be read, or holds anything else.
    """
    path = Path(path)
    # The file is read here, not by torch, which reports damaged archives as failures of the file system.
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise QvitError(f"There is no {kind} file {path}.") from None
    except IsADirectoryError:
        raise QvitError(f"{path} is a folder; it should be a {kind} file such as {kind}.pt.") from None
    except OSError as error:
        raise QvitError(f"The {kind} file {path} cannot be read: {error.strerror or error}.") from None
    damaged = (
        f"{path} is not a {kind} file, or it is truncated or damaged; "
        f"it should be a file that save_{kind} wrote."
    )
    if data.startswith(_PICKLE):
        raise QvitError(
            f"{path} is a plain pickle, which may contain code; it was not loaded. "
            f"A {kind} file is an archive of tensors, as save_{kind} writes it."
        )
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch names the first object that is not on its list of harmless ones; it did not run it.
        found = re.search(r"(?:GLOBAL|Unsupported (?:class|global):?) (?:GLOBAL )?(\S+)", str(error))
        if found:
            name = found[1].rstrip(".,")
            raise QvitError(
                f"{path} contains code or Python objects ({name}), which were not loaded; a {kind} file "
                f"holds tensors and plain values only, as save_{kind} writes it."
            ) from None
        raise QvitError(damaged) from None
    except Exception:  # whatever a damaged archive or pickle makes the reader stumble over
        raise QvitError(damaged) from None


def check_entries(content: Mapping[Any, Any], keys: tuple[str, ...], path: str | os.PathLike[str]) -> None:
    """Check which entries a file has, and that its tensors are by name.

    Raises:
        QvitError: entries are missing or unknown, or the tensors are no dictionary; every problem found.
    """
    problems = [f'{path} has no entry "{key}".' for key in keys if key not in content]
    problems += [f'{path} has an unknown entry "{key!s:.60}".' for key in content if key not in keys]
    if not isinstance(content.get("tensors", {}), dict):
        problems.append(f'The entry "tensors" of {path} should be a dictionary of tensors by name.')
    if problems:
        raise QvitError(problems)
