"""Read and check the two files of a graph; every problem found goes into one error."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import safetensors
import safetensors.numpy

from qvit_hls.errors import QvitError
from qvit_hls.ir import signatures
from qvit_hls.ir.graph import SPEC_VERSION, Graph, Node, Op, Quantization
from qvit_hls.ir.signatures import MAX_QMAX, OPS_BY_KIND

_NODE_KEYS = {
    "name": "a string",
    "kind": "a string",
    "attributes": "an object",
    "inputs": "a list of strings",
    "shape": "a list of integers",
    "quant": "an object with scale and qmax, or null",
    "source": "a string",
}
_GRAPH_KEYS = {
    "spec_version": "an integer",
    "name": "a string",
    "outputs": "a list of strings",
    "nodes": "a list",
}


def read_graph(structure_path: Path, arrays_path: Path) -> Graph:
    """The graph of ``graph.json`` and ``graph.safetensors``.

    Raises:
        QvitError: with every problem found, as :func:`qvit_hls.ir.file_format.load_graph` says.
    """
    missing = [
        f"{path} does not exist; a graph is a folder with {structure_path.name} and {arrays_path.name}."
        for path in (structure_path, arrays_path)
        if not path.is_file()
    ]
    if missing:
        raise QvitError(missing)
    return build_graph(
        _parse_structure(structure_path), _parse_arrays(arrays_path), str(structure_path), str(arrays_path)
    )


def build_graph(
    structure: object, arrays: Mapping[str, np.ndarray], structure_name: str, arrays_name: str
) -> Graph:
    """The graph that the parsed JSON ``structure`` and the arrays by ``<node>/<attribute>`` describe.

    Args:
        structure: as ``graph.json`` has it.
        arrays: as ``graph.safetensors`` has them.
        structure_name: what messages call the structure.
        arrays_name: what messages call the arrays.

    Raises:
        QvitError: with every problem found, as :func:`qvit_hls.ir.file_format.load_graph` says.
    """
    return _Reader(structure_name, arrays_name, arrays).graph(structure)


def _parse_structure(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise QvitError(f"{path} is not valid JSON: {error}.") from error
    except OSError as error:
        raise QvitError(f"{path} cannot be read: {error.strerror}.") from error


def _parse_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        return dict(safetensors.numpy.load(path.read_bytes()))
    except OSError as error:
        raise QvitError(f"{path} cannot be read: {error.strerror}.") from error
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise QvitError(f"{path} is not a valid safetensors file: {error}.") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")


def _is(value: Any, form: str) -> bool:
    """Whether a JSON value has one of the forms named in the key tables above."""
    if form == "a string":
        return isinstance(value, str)
    if form == "an integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if form == "a number":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if form == "an object":
        return isinstance(value, dict)
    if form == "a list":
        return isinstance(value, list)
    if form == "a list of strings":
        return isinstance(value, list) and all(_is(item, "a string") for item in value)
    if form == "a list of integers":
        return isinstance(value, list) and all(_is(item, "an integer") for item in value)
    return value is None or isinstance(value, dict)


class _Reader:
    """One reading: the arrays, and the problems found so far."""

    def __init__(self, structure_name: str, arrays_name: str, arrays: Mapping[str, np.ndarray]) -> None:
        self.structure_name, self.arrays_name = structure_name, arrays_name
        self.problems: list[str] = []
        self.used_arrays: set[str] = set()
        self.arrays = arrays

    def graph(self, parsed: object) -> Graph:
        structure = self._checked_structure(parsed)
        shapes: dict[str, tuple[int, ...] | None] = {}
        nodes = []
        for position, record in enumerate(structure["nodes"]):
            node = self._node(position, record, shapes)
            if node is not None:
                nodes.append(node)
        for name in structure["outputs"]:
            if name not in shapes:
                self._report(f"Output {name} is produced by no node.")
        if not structure["outputs"]:
            self._report("The graph has no outputs.")
        for key in sorted(self.arrays.keys() - self.used_arrays):
            self.problems.append(f"{self.arrays_name}: tensor {key} belongs to no attribute of any node.")
        if self.problems:
            raise QvitError(self.problems)
        return Graph(structure["name"], tuple(nodes), tuple(structure["outputs"]))

    def _report(self, sentence: str) -> None:
        self.problems.append(f"{self.structure_name}: {sentence}")

    def _checked_structure(self, structure: object) -> dict[str, Any]:
        if not isinstance(structure, dict) or "spec_version" not in structure:
            raise QvitError(f"{self.structure_name} is not a graph: it has no spec_version.")
        version = structure["spec_version"]
        if version != SPEC_VERSION or not _is(version, "an integer"):
            raise QvitError(
                f"{self.structure_name} has spec_version {version!r}, "
                f"but this program reads version {SPEC_VERSION}."
            )
        self._check_keys("The graph", structure, _GRAPH_KEYS)
        if self.problems:
            raise QvitError(self.problems)
        return structure

    def _check_keys(self, what: str, record: dict[str, Any], forms: dict[str, str]) -> bool:
        """Report missing, unknown and wrongly formed keys of ``record``; True when there are none."""
        before = len(self.problems)
        for key, form in forms.items():
            if key not in record:
                self._report(f"{what} has no {key}.")
            elif not _is(record[key], form):
                self._report(f"{key} of {what[0].lower() + what[1:]} is not {form}.")
        for key in record.keys() - forms.keys():
            self._report(f"{what} has the unknown key {key}.")
        return len(self.problems) == before

    def _node(self, position: int, record: Any, shapes: dict[str, tuple[int, ...] | None]) -> Node | None:
        """The node of one record, or None; adds its shape to ``shapes`` (None: not known to be right)."""
        what = f"Node number {position}"
        if not isinstance(record, dict):
            self._report(f"{what} is not an object.")
            return None
        if not self._check_keys(what, record, _NODE_KEYS):
            if _is(record.get("name"), "a string"):  # known by name, so that its readers are not blamed
                shapes[record["name"]] = None
                self._forgive_arrays(record["name"])
            return None
        name, shape = record["name"], tuple(record["shape"])
        what = f"Node {name}"
        if name in shapes:
            self._report(f"Two nodes are named {name}.")
        unknown = [value for value in record["inputs"] if value not in shapes]
        shapes[name] = None
        for value in unknown:
            self._report(f"{what} reads {value}, which no earlier node produces.")
        quant = self._quantization(what, record["quant"])
        op = self._op(what, name, record)
        if op is None:
            return None
        before = len(self.problems)
        for problem in signatures.problems(op, len(record["inputs"])):
            self._report(f"{what} ({op.kind}): {problem}.")
        inputs = tuple(shapes.get(value) for value in record["inputs"])
        known = tuple(value for value in inputs if value is not None)
        if len(self.problems) > before or len(known) < len(inputs):
            return None
        if not self._shape_follows(what, op, known, shape):
            return None
        shapes[name] = shape
        return Node(name, op, tuple(record["inputs"]), shape, quant, record["source"])

    def _forgive_arrays(self, node: str) -> None:
        """Do not report the arrays of a node that could not be understood."""
        self.used_arrays.update(key for key in self.arrays if key.startswith(f"{node}/"))

    def _shape_follows(
        self, what: str, op: Op, inputs: tuple[tuple[int, ...], ...], shape: tuple[int, ...]
    ) -> bool:
        try:
            inferred = op.infer_shape(inputs)
        except (ValueError, IndexError, TypeError) as error:
            shapes = " and ".join(str(list(shape)) for shape in inputs)
            self._report(f"{what} ({op.kind}) cannot take inputs of shape {shapes}: {error}.")
            return False
        if inferred != shape:
            self._report(f"{what} ({op.kind}) has shape {list(shape)}, but its inputs give {list(inferred)}.")
        return inferred == shape

    def _quantization(self, what: str, record: Any) -> Quantization | None:
        if record is None:
            return None
        forms = {"scale": "a number", "qmax": "an integer"}
        if not self._check_keys(f"The quantization of {what[0].lower() + what[1:]}", record, forms):
            return None
        scale, qmax = float(record["scale"]), record["qmax"]
        if scale <= 0:
            self._report(f"{what} has the scale {scale}, but a scale must be positive.")
        if not 1 <= qmax <= MAX_QMAX:
            self._report(f"{what} has values up to qmax {qmax}, but qmax must be within 1..{MAX_QMAX}.")
        return Quantization(scale, qmax)

    def _op(self, what: str, name: str, record: dict[str, Any]) -> Op | None:
        kind, attributes = record["kind"], record["attributes"]
        if kind not in OPS_BY_KIND:
            known_kinds = ", ".join(sorted(OPS_BY_KIND))
            self._report(f"{what} has the unknown operation {kind}; known are {known_kinds}.")
            self._forgive_arrays(name)
            return None
        op_class = OPS_BY_KIND[kind]
        hints = get_type_hints(op_class)
        before = len(self.problems)
        known = {item.name: item for item in fields(op_class)}
        for attribute in sorted(attributes.keys() - known.keys()):
            self._report(f"{what} ({kind}) has the unknown attribute {attribute}.")
        values = {
            item.name: self._attribute(f"{what} ({kind})", name, item, hints[item.name], attributes)
            for item in known.values()
        }
        return op_class(**values) if len(self.problems) == before else None

    def _attribute(
        self, what: str, node: str, item: Field[Any], hint: Any, attributes: dict[str, Any]
    ) -> Any:
        """The Python value of one attribute; None after reporting a problem."""
        if item.name not in attributes:
            if item.default is not MISSING:  # added since the file was written
                return item.default
            self._report(f"{what} has no attribute {item.name}.")
            self.used_arrays.add(f"{node}/{item.name}")
            return None
        value = attributes[item.name]
        choices = get_args(hint) if type(None) in get_args(hint) else (hint,)
        if value is None and type(None) in choices:
            return None
        if np.ndarray in choices:
            return self._array(what, node, item.name, value)
        form, convert = {
            int: ("an integer", int),
            float: ("a number", float),
            str: ("a string", str),
        }.get(hint, ("a list of integers", tuple))
        if not _is(value, form):
            self._report(f"{what}: attribute {item.name} is not {form}.")
            return None
        return convert(value)

    def _array(self, what: str, node: str, attribute: str, record: Any) -> np.ndarray | None:
        key = f"{node}/{attribute}"
        self.used_arrays.add(key)
        if not isinstance(record, dict):
            self._report(f"{what}: attribute {attribute} is not an object with dtype and shape.")
            return None
        if not self._check_keys(
            f"Attribute {attribute} of {what[0].lower() + what[1:]}",
            record,
            {"dtype": "a string", "shape": "a list of integers"},
        ):
            return None
        array = self.arrays.get(key)
        if array is None:
            self.problems.append(f"{self.arrays_name}: tensor {key} is missing.")
            return None
        dtype, shape = array.dtype.name, list(array.shape)
        if dtype != record["dtype"] or shape != record["shape"]:
            self.problems.append(
                f"{self.arrays_name}: tensor {key} has dtype {dtype} and shape {shape}, "
                f"but {Path(self.structure_name).name} says {record['dtype']} and {record['shape']}."
            )
            return None
        return array
