"""What is cut out of one linear layer gets a layer of its own rows, whatever order they are in."""

from __future__ import annotations

import numpy as np
import pytest
from graph_draft import Draft, apply, kinds, linear, quantized_linear

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.passes.split_fused_linear import split_fused_linear

TOKENS, HEADS, DIM = 5, 2, 3
SIZES = {"parts": 3, "heads": HEADS, "dim": DIM}


def heads_of_parts(order: tuple[str, ...], op: f.Linear) -> Graph:
    """q, k and v as ``[heads, tokens, dim]``, cut out of one layer whose rows are in ``order``."""
    draft = Draft(TOKENS, 4)
    draft("qkv", op, "x")
    draft("split", f.Reshape((TOKENS, *(SIZES[name] for name in order))), "qkv")
    axes = [1 + order.index(name) for name in ("parts", "heads")] + [0, 1 + order.index("dim")]
    draft("parts", f.Permute(tuple(axes)), "split")
    for i, name in enumerate("qkv"):
        draft(f"{name}.part", f.Slice(0, i, i + 1), "parts")
        draft(name, f.Reshape((HEADS, TOKENS, DIM)), f"{name}.part")
    return draft.graph("q", "k", "v")


@pytest.mark.parametrize(
    "order", [("parts", "heads", "dim"), ("heads", "parts", "dim"), ("heads", "dim", "parts")], ids="-".join
)
def test_each_part_gets_its_rows_in_the_order_of_heads(order: tuple[str, ...]) -> None:
    op = quantized_linear(3 * HEADS * DIM, 4)
    graph = apply(split_fused_linear, heads_of_parts(order, op))
    rows = np.arange(3 * HEADS * DIM).reshape([SIZES[name] for name in order])
    rows = rows.transpose([order.index(name) for name in ("parts", "heads", "dim")])
    assert kinds(graph).count("linear") == 3 and "slice" not in kinds(graph)
    for name, expected in zip("qkv", rows.reshape(3, -1), strict=True):
        permute = graph[name]
        assert isinstance(permute.op, f.Permute) and permute.op.order == (1, 0, 2)
        layer = graph[graph[permute.inputs[0]].inputs[0]].op
        assert isinstance(layer, f.Linear) and layer.row_scale is not None and layer.row_bits is not None
        assert op.row_scale is not None and op.row_bits is not None
        np.testing.assert_array_equal(layer.weight, op.weight[expected])
        np.testing.assert_array_equal(layer.row_scale, op.row_scale[expected])
        np.testing.assert_array_equal(layer.row_bits, op.row_bits[expected])


def test_parts_are_named_after_their_place_in_the_layer() -> None:
    graph = apply(split_fused_linear, heads_of_parts(("parts", "heads", "dim"), linear(18, 4)))
    assert [node.name for node in graph if isinstance(node.op, f.Linear)] == ["qkv.0", "qkv.1", "qkv.2"]


def test_rows_that_two_values_share_are_computed_once() -> None:
    draft = Draft(TOKENS, 4)
    draft("kv", linear(6, 4), "x")
    draft("first", f.Slice(1, 0, 3), "kv")
    draft("again", f.Slice(1, 0, 3), "kv")
    draft("turned", f.Permute((1, 0)), "again")
    graph = apply(split_fused_linear, draft.graph("first", "turned"))
    assert kinds(graph).count("linear") == 1


def test_a_layer_that_is_also_read_whole_stays_beside_its_parts() -> None:
    draft = Draft(TOKENS, 4)
    draft("y", linear(6, 4), "x")
    draft("part", f.Slice(1, 2, 4), "y")
    graph = apply(split_fused_linear, draft.graph("y", "part"))
    assert graph.outputs == ("y", "y.0") and len(graph.nodes) == 3


def test_a_slice_of_tokens_stays() -> None:
    draft = Draft(TOKENS, 4)
    draft("y", linear(6, 4), "x")
    draft("patches", f.Slice(0, 1, TOKENS), "y")
    graph = apply(split_fused_linear, draft.graph("patches"), 0)
    assert kinds(graph) == ["input", "linear", "slice"]


def test_a_slice_across_tokens_and_channels_stays() -> None:
    draft = Draft(TOKENS, 4)
    draft("y", linear(6, 4), "x")
    draft("mixed", f.Reshape((TOKENS * 2, 3)), "y")
    draft("part", f.Slice(0, 1, 4), "mixed")
    graph = apply(split_fused_linear, draft.graph("part"), 0)
    assert "slice" in kinds(graph)
