"""The graph file format: round trips to identical bytes, and every fault of a file is named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import Builder, VitShape, float_graph, integer_vit, random_linear, vit_shapes

from qvit_hls.errors import QvitError
from qvit_hls.ir import float_ops, integer_ops, signatures
from qvit_hls.ir.execute_float import FUNCTIONS
from qvit_hls.ir.file_format import graph_files, load_graph, save_graph
from qvit_hls.ir.graph import Graph, Op, Quantization


def small_graph() -> Graph:
    b = Builder()
    x = b.add("image", integer_ops.QuantizedInput((1, 2, 4)), quant=Quantization(0.5, 63))
    x = b.add("patches", integer_ops.Patches(2), x)
    x = b.add(
        "fc", random_linear(np.random.default_rng(0), 3, 4, 0.5, 63, 63), x, quant=Quantization(0.25, 63)
    )
    return b.graph(b.add("add", integer_ops.IntegerAdd(127), x, x))


def assert_round_trip(graph: Graph, folder: Path) -> None:
    save_graph(graph, folder)
    loaded = load_graph(folder)
    assert graph_files(loaded) == graph_files(graph)
    assert loaded.name == graph.name and loaded.outputs == graph.outputs
    for before, after in zip(graph, loaded, strict=True):
        assert type(after.op) is type(before.op)
        assert replace(after, op=before.op).__dict__ == before.__dict__
        for item in fields(before.op):
            old, new = getattr(before.op, item.name), getattr(after.op, item.name)
            assert type(new) is type(old)
            if isinstance(old, np.ndarray):
                assert new.dtype == old.dtype
            np.testing.assert_array_equal(new, old)


@settings(max_examples=25, deadline=None)
@given(shape=vit_shapes)
def test_integer_graphs_survive_a_round_trip(
    shape: VitShape, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert_round_trip(integer_vit(shape), tmp_path_factory.mktemp("graph"))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999), dims=st.tuples(st.integers(1, 3), st.integers(1, 5)))
def test_float_graphs_survive_a_round_trip(
    seed: int, dims: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert_round_trip(float_graph(seed, dims), tmp_path_factory.mktemp("graph"))


def test_every_operation_has_a_complete_signature() -> None:
    ops = {
        op
        for module in (float_ops, integer_ops)
        for op in vars(module).values()
        if isinstance(op, type) and issubclass(op, Op) and op is not Op
    }
    assert set(signatures.SIGNATURES) == ops
    assert len(signatures.OPS_BY_KIND) == len(ops)
    for op, signature in signatures.SIGNATURES.items():
        names = {item.name for item in fields(op)}
        assert set(signature.attributes) <= names
        arrays = {item.name for item in fields(op) if "ndarray" in str(item.type)}
        assert arrays <= set(signature.attributes), f"{op.kind}: arrays need a dtype"
    assert set(signatures.FUNCTION_NAMES) == set(FUNCTIONS)


def test_attributes_that_were_added_since_may_be_left_out(tmp_path: Path) -> None:
    b = Builder()
    x = b.add("x", float_ops.Input((3, 4)))
    x = b.add("norm", float_ops.LayerNorm(1e-5), x)
    save_graph(b.graph(b.add("scores", float_ops.AttentionScores(2, 0.5), x, x)), tmp_path)
    before = (tmp_path / "graph.json").read_text()
    drop(1, "groups", "attributes")(tmp_path)
    drop(2, "bias", "attributes")(tmp_path)
    save_graph(load_graph(tmp_path), tmp_path / "again")
    assert (tmp_path / "again" / "graph.json").read_text() == before


def test_arrays_in_any_memory_order_are_written_alike() -> None:
    graph = small_graph()
    node = graph["fc"]
    turned = replace(node.op, weight=np.asfortranarray(node.op.weight))
    other = graph.with_nodes([replace(n, op=turned) if n is node else n for n in graph])
    assert graph_files(other) == graph_files(graph)


def test_a_graph_that_could_not_be_read_again_is_not_written() -> None:
    graph = small_graph()
    wrong = replace(graph["fc"].op, shift=graph["fc"].op.shift.astype(np.int32))
    other = graph.with_nodes([replace(n, op=wrong) if n.name == "fc" else n for n in graph])
    message = "node fc (integer_linear): shift has dtype int32, but must have int64"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        graph_files(other)


def edit_json(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "graph.json"
        structure = json.loads(path.read_text())
        change(structure)
        path.write_text(json.dumps(structure))

    return edit


def edit_node(position: int, **change: Any) -> Callable[[Path], None]:
    return edit_json(lambda structure: structure["nodes"][position].update(change))


def edit_attribute(position: int, **change: Any) -> Callable[[Path], None]:
    return edit_json(lambda structure: structure["nodes"][position]["attributes"].update(change))


def drop(position: int, key: str, *path: str) -> Callable[[Path], None]:
    def change(structure: dict[str, Any]) -> None:
        record = structure["nodes"][position]
        for step in path:
            record = record[step]
        del record[key]

    return edit_json(change)


def edit_arrays(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "graph.safetensors"
        arrays = dict(safetensors.numpy.load(path.read_bytes()))
        change(arrays)
        path.write_bytes(safetensors.numpy.save(arrays))

    return edit


def set_version(version: object) -> Callable[[Path], None]:
    return edit_json(lambda structure: structure.update(spec_version=version))


KINDS = ", ".join(sorted(signatures.OPS_BY_KIND))
J, S = "{folder}/graph.json", "{folder}/graph.safetensors"
FAULTS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no files": (
        lambda folder: [(folder / name).unlink() for name in ("graph.json", "graph.safetensors")],
        [
            f"{J} does not exist; a graph is a folder with graph.json and graph.safetensors.",
            f"{S} does not exist; a graph is a folder with graph.json and graph.safetensors.",
        ],
    ),
    "truncated JSON": (
        lambda folder: (folder / "graph.json").write_text('{"spec_version"'),
        [f"{J} is not valid JSON: Expecting ':' delimiter: line 1 column 16 (char 15)."],
    ),
    "not a number": (
        lambda folder: (folder / "graph.json").write_text('{"spec_version": NaN}'),
        [f"{J} is not valid JSON: NaN is not a number in JSON."],
    ),
    "other JSON": (
        lambda folder: (folder / "graph.json").write_text("[1]"),
        [f"{J} is not a graph: it has no spec_version."],
    ),
    "newer version": (set_version(2), [f"{J} has spec_version 2, but this program reads version 1."]),
    "version as text": (set_version("1"), [f"{J} has spec_version '1', but this program reads version 1."]),
    "graph keys": (
        edit_json(lambda structure: structure.update(nodes={}, extra=1)),
        [f"{J}: nodes of the graph is not a list.", f"{J}: The graph has the unknown key extra."],
    ),
    "unknown output": (
        edit_json(lambda structure: structure.update(outputs=["add", "logits"])),
        [f"{J}: Output logits is produced by no node."],
    ),
    "unknown operation": (
        edit_node(3, kind="integer_sub"),
        [f"{J}: Node add has the unknown operation integer_sub; known are {KINDS}."],
    ),
    "two of a name": (
        edit_node(1, name="image", inputs=[]),
        [
            f"{J}: Two nodes are named image.",
            f"{J}: Node image (patches): it has 0 inputs, but takes 1.",
            f"{J}: Node fc reads patches, which no earlier node produces.",
        ],
    ),
    "unknown value": (
        edit_node(3, inputs=["fc", "later"]),
        [f"{J}: Node add reads later, which no earlier node produces."],
    ),
    "number of inputs": (
        edit_node(3, inputs=["fc"]),
        [f"{J}: Node add (integer_add): it has 1 inputs, but takes 2."],
    ),
    "missing key": (drop(3, "source"), [f"{J}: Node number 3 has no source."]),
    "missing attribute": (
        drop(3, "qmax", "attributes"),
        [f"{J}: Node add (integer_add) has no attribute qmax."],
    ),
    "extra attribute": (
        edit_attribute(3, qmin=-127),
        [f"{J}: Node add (integer_add) has the unknown attribute qmin."],
    ),
    "attribute of wrong type": (
        edit_attribute(3, qmax=127.0),
        [f"{J}: Node add (integer_add): attribute qmax is not an integer."],
    ),
    "attribute out of range": (
        edit_attribute(3, qmax=40000),
        [f"{J}: Node add (integer_add): qmax is 40000, but must be within 1..32767."],
    ),
    "array as a list": (
        edit_attribute(2, bias=[0, 0, 0]),
        [f"{J}: Node fc (integer_linear): attribute bias is not an object with dtype and shape."],
    ),
    "wrong shape": (
        edit_node(3, shape=[2, 4]),
        [f"{J}: Node add (integer_add) has shape [2, 4], but its inputs give [2, 3]."],
    ),
    "shapes that do not fit": (
        edit_attribute(1, size=3),
        [
            f"{J}: Node patches (patches) cannot take inputs of shape [1, 2, 4]: "
            "patches of 3 do not divide an image of 2 x 4."
        ],
    ),
    "scale": (
        edit_node(0, quant={"scale": -0.5, "qmax": 0}),
        [
            f"{J}: Node image has the scale -0.5, but a scale must be positive.",
            f"{J}: Node image has values up to qmax 0, but qmax must be within 1..32767.",
        ],
    ),
    "truncated arrays": (
        lambda folder: (folder / "graph.safetensors").write_bytes(b"\x10\0\0"),
        [f"{S} is not a valid safetensors file: Error while deserializing: header too small."],
    ),
    "missing array": (
        edit_arrays(lambda arrays: arrays.pop("fc/bias")),
        [f"{S}: tensor fc/bias is missing."],
    ),
    "extra array": (
        edit_arrays(lambda arrays: arrays.update({"fc/gain": np.ones(3)})),
        [f"{S}: tensor fc/gain belongs to no attribute of any node."],
    ),
    "array of another dtype": (
        edit_arrays(lambda arrays: arrays.update({"fc/bias": arrays["fc/bias"].astype(np.int32)})),
        [f"{S}: tensor fc/bias has dtype int32 and shape [3], but graph.json says int64 and [3]."],
    ),
    "6-bit row": (
        edit_arrays(lambda arrays: arrays["fc/row_bits"].__setitem__(1, 6)),
        [f"{J}: Node fc (integer_linear): row_bits[1] is 6, but a row has 4 or 8 bits."],
    ),
    "weight too large": (
        edit_arrays(lambda arrays: arrays["fc/weight"].__setitem__((1, 2), -120)),
        [
            f"{J}: Node fc (integer_linear): weight has elements from -120 to 113, "
            "but must stay within -119..119."
        ],
    ),
    "several at once": (
        lambda folder: [
            edit(folder)
            for edit in (
                edit_node(3, kind="integer_sub"),
                edit_attribute(1, size="2"),
                edit_arrays(lambda arrays: arrays.pop("fc/shift")),
            )
        ],
        [
            f"{J}: Node patches (patches): attribute size is not an integer.",
            f"{S}: tensor fc/shift is missing.",
            f"{J}: Node add has the unknown operation integer_sub; known are {KINDS}.",
        ],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_file_are_named(fault: str, tmp_path: Path) -> None:
    save_graph(small_graph(), tmp_path)
    damage, messages = FAULTS[fault]
    damage(tmp_path)
    with pytest.raises(QvitError) as caught:
        load_graph(tmp_path)
    assert caught.value.problems == tuple(message.format(folder=tmp_path) for message in messages)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_change_of_a_value_is_read_or_refused_but_never_crashes(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("graph")
    save_graph(small_graph(), folder)
    structure = json.loads((folder / "graph.json").read_text())
    record = structure["nodes"][data.draw(st.integers(0, 3))]
    path = data.draw(st.sampled_from([*record, *(("attributes", name) for name in record["attributes"])]))
    target, key = (record, path) if isinstance(path, str) else (record[path[0]], path[1])
    junk = st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3) | st.booleans()
    target[key] = data.draw(
        junk | st.lists(junk, max_size=3) | st.dictionaries(st.text(max_size=3), junk, max_size=2)
    )
    (folder / "graph.json").write_text(json.dumps(structure))
    try:
        load_graph(folder)
    except QvitError as error:
        assert all(problem.endswith(".") for problem in error.problems)


def test_exponents_that_may_all_be_zero_are_refused() -> None:
    """The reference divides by their sum."""
    table = np.zeros(256, np.uint8)
    assert list(signatures.problems(integer_ops.SoftmaxExponents(table), 1)) == [
        "its table starts with 0, but the exponent of a row's largest score must be at least 1"
    ]
    table[0] = 1
    assert not list(signatures.problems(integer_ops.SoftmaxExponents(table), 1))
