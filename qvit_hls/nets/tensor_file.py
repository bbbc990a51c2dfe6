"""Files of named tensors and plain values: written in one step, and their entries checked."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qvit_hls.errors import QvitError


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
