"""Graphs as files: ``graph.json`` for structure and scalars, ``graph.safetensors`` for arrays.

Nothing per operation is written here: attributes are the fields of the operation's dataclass, and what
they may be is in ``ir/signatures.py``. The format is specified in ``docs/ir.md``.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from qvit_hls.ir import signatures
from qvit_hls.ir.graph import SPEC_VERSION, Graph, Node
from qvit_hls.ir.graph_reader import read_graph

STRUCTURE_FILE = "graph.json"
ARRAYS_FILE = "graph.safetensors"


def graph_files(graph: Graph) -> dict[str, bytes]:
    """The files of ``graph``: file name to contents; equal graphs give equal bytes.

    Raises:
        ValueError: as ``graph_structure`` says.
    """
    text = json.dumps(graph_structure(graph), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    return {STRUCTURE_FILE: text.encode(), ARRAYS_FILE: safetensors.numpy.save(graph_arrays(graph))}


def graph_structure(graph: Graph) -> dict[str, Any]:
    """What ``graph.json`` holds: plain values.

    Raises:
        ValueError: an operation does not meet its signature, so the file could not be read again.
    """
    wrong = [
        f"node {node.name} ({node.op.kind}): {problem}"
        for node in graph
        for problem in signatures.problems(node.op, len(node.inputs))
    ]
    if wrong:
        raise ValueError("; ".join(wrong))
    return {
        "spec_version": SPEC_VERSION,
        "name": graph.name,
        "outputs": list(graph.outputs),
        "nodes": [_node_record(node) for node in graph],
    }


def graph_arrays(graph: Graph) -> dict[str, np.ndarray]:
    """What ``graph.safetensors`` holds: every array by ``<node>/<attribute>``."""
    return {
        f"{node.name}/{item.name}": np.asarray(value, dtype=value.dtype.newbyteorder("="), order="C")
        for node in graph
        for item in fields(node.op)
        if isinstance(value := getattr(node.op, item.name), np.ndarray)
    }


def save_graph(graph: Graph, folder: Path) -> None:
    """Write ``graph.json`` and ``graph.safetensors`` into ``folder``, which is created if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in graph_files(graph).items():
        write_file(folder / name, data)


def load_graph(folder: Path) -> Graph:
    """Read a graph that :func:`save_graph` wrote.

    Raises:
        QvitError: files are missing, are not a graph of this version, or hold a graph that the
            operations do not allow; every problem found is listed.
    """
    return read_graph(folder / STRUCTURE_FILE, folder / ARRAYS_FILE)


def write_file(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it, so that a reader never sees half a file."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _node_record(node: Node) -> dict[str, Any]:
    quant = node.quant
    return {
        "name": node.name,
        "kind": node.op.kind,
        "attributes": {item.name: _attribute_record(getattr(node.op, item.name)) for item in fields(node.op)},
        "inputs": list(node.inputs),
        "shape": list(node.shape),
        "quant": None if quant is None else {"scale": quant.scale, "qmax": quant.qmax},
        "source": node.source,
    }


def _attribute_record(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.name, "shape": list(value.shape)}
    return list(value) if isinstance(value, tuple) else value
