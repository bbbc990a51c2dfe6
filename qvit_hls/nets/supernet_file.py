"""The supernet file ``supernet.pt``: a search space and the tensors that all its networks share.

Written atomically, read without running anything in it, checked completely. The model file of a single
network is ``checkpoint.py``'s.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch
from torch import Tensor

from qvit_hls.errors import QvitError
from qvit_hls.nets.space import space_of
from qvit_hls.nets.supernet import Supernet
from qvit_hls.nets.tensor_file import check_entries, file_tensors, read_tensor_file, write_tensor_file
from qvit_hls.nets.tensor_problems import tensor_problems

FORMAT = "qvit-hls supernet"
VERSION = 1

_KEYS = ("format", "version", "space", "tensors")


def save_supernet(supernet: Supernet, path: str | os.PathLike[str]) -> None:
    """Write ``supernet`` to ``path``; an existing file is replaced in one step, or stays if writing fails.

    Raises:
        OSError: the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "space": supernet.space.model_dump(mode="json"),
        "tensors": file_tensors(supernet),
    }
    write_tensor_file(content, path)


def load_supernet(path: str | os.PathLike[str]) -> Supernet:
    """Read a supernet file; the supernet is on the CPU, in evaluation mode, with quantization on.

    Raises:
        QvitError: the file is missing, is no supernet file, holds anything but tensors and plain values, or
            its space or tensors are not valid; every problem found.
    """
    content = read_tensor_file(path, "supernet")
    _check_header(content, path)
    space = space_of(content["space"], f"{path}: space")
    # Without memory: a file must not make us allocate what it does not itself contain.
    with torch.device("meta"):
        supernet = Supernet(space)
    tensors = content["tensors"]
    problems = list(tensor_problems(tensors, supernet.state_dict())) or list(_value_problems(tensors))
    if problems:
        raise QvitError(f"{path}: {problem}" for problem in problems)
    supernet.load_state_dict(tensors, assign=True)
    return supernet.eval()


def _check_header(content: object, path: str | os.PathLike[str]) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise QvitError(
            f"{path} is a torch checkpoint but not a supernet ({found!r:.40}); "
            f'it should be a dictionary whose "format" is "{FORMAT}".'
        )
    if content.get("version") != VERSION or isinstance(content["version"], bool):
        raise QvitError(
            f"{path} has supernet format version {content.get('version')!r:.40}; "
            f"this program reads version {VERSION}."
        )
    check_entries(content, _KEYS, path)


def _value_problems(tensors: dict[str, Tensor]) -> Iterator[str]:
    """What is wrong with steps, row widths and row errors, once all tensors are there."""
    for name, tensor in tensors.items():
        attribute = name.rpartition(".")[2]
        if attribute == "row_bits":
            if bad := int(((tensor != 4) & (tensor != 8)).sum()):
                yield f"Tensor {name} has {bad} values that are neither 4 nor 8; rows are 4 or 8 bit."
        elif attribute in ("row_scale", "scale") or name.startswith("wide_row_scale."):
            if bad := int((tensor <= 0).sum()):
                yield f"Tensor {name} has {bad} of {tensor.numel()} steps that are not greater than 0."
        elif name.startswith("row_error_") and (bad := int((tensor < 0).sum())):
            yield f"Tensor {name} has {bad} of {tensor.numel()} squared errors that are negative."
