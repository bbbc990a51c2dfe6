"""A quantized network as a model file that holds its graph; reading either kind of model file.

The format is specified in docs/model-format.md. The file of a network that was trained quantized is
``nets/checkpoint.py``'s.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor

from qvit_hls.errors import QvitError
from qvit_hls.ir.file_format import graph_arrays, graph_structure
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.graph_reader import build_graph
from qvit_hls.nets.checkpoint import model_of
from qvit_hls.nets.tensor_file import check_entries, read_tensor_file, write_tensor_file
from qvit_hls.nets.vit import QuantVisionTransformer

FORMAT = "qvit-hls graph"
VERSION = 1

_KEYS = ("format", "version", "graph", "tensors")


def save_graph_model(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write ``graph`` to ``path``; an existing file is replaced in one step, or stays if writing fails.

    Args:
        graph: float, every value and weight on its grid.
        path: of the file.

    Raises:
        OSError: the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "graph": graph_structure(graph),
        "tensors": {name: torch.from_numpy(array.copy()) for name, array in graph_arrays(graph).items()},
    }
    write_tensor_file(content, path)


def load_any_model(path: str | os.PathLike[str]) -> QuantVisionTransformer | Graph:
    """Read a model file of either kind: a network, or a graph that was quantized.

    Raises:
        QvitError: the file is missing, is no model file, holds anything but tensors and plain values, or
            describes a model that is not valid; every problem found.
    """
    content = read_tensor_file(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        return _graph_of(content, path)
    return model_of(content, path)


def _graph_of(content: dict[str, object], path: str | os.PathLike[str]) -> Graph:
    if content.get("version") != VERSION or isinstance(content["version"], bool):
        raise QvitError(
            f"{path} has graph format version {content.get('version')!r:.40}; "
            f"this program reads version {VERSION}."
        )
    check_entries(content, _KEYS, path)
    tensors = content["tensors"]
    assert isinstance(tensors, dict)
    problems = []
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        dense = isinstance(tensor, Tensor) and tensor.layout == torch.strided and tensor.device.type == "cpu"
        try:
            if not dense or not isinstance(name, str):
                raise TypeError
            arrays[name] = tensor.detach().numpy()
        except TypeError:  # also of a dtype that NumPy does not have
            problems.append(f"{path}: tensor {name!s:.60} is not a dense array of plain numbers.")
    if problems:
        raise QvitError(problems)
    return build_graph(content["graph"], arrays, f"{path}: graph", f"{path}: tensors")
