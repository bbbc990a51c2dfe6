"""LayerNorms whose values are added go through a linear layer; others, and those with a grid, stay."""

from __future__ import annotations

import numpy as np
import pytest
from graph_draft import RNG, Draft, apply, kinds, linear

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Quantization
from qvit_hls.ir.passes.fold_layer_norm_affine import fold_layer_norm_affine
from qvit_hls.ir.passes.operands_onto_stream import operands_onto_stream


def norm() -> f.LayerNorm:
    return f.LayerNorm(1e-5, RNG.standard_normal(6), RNG.standard_normal(6))


def test_a_norm_before_the_stream_becomes_a_diagonal_with_its_weight_and_bias() -> None:
    draft, op = Draft(4, 6), norm()
    draft("first", op, "x")
    draft("inner", norm(), "first")
    draft("fc", linear(6, 6), "inner")
    draft("sum", f.Add(), "first", "fc")
    before = draft.graph("sum")
    after = apply(fold_layer_norm_affine, apply(operands_onto_stream, before, 0), 1e-9)
    assert [node.name for node in after] == ["x", "first", "first.stream", "inner", "fc", "sum"]
    assert after["inner"].inputs == ("first.stream",) and after["sum"].inputs == ("first.stream", "fc")
    layer, left = after["first.stream"].op, after["first"].op
    assert isinstance(layer, f.Linear) and isinstance(left, f.LayerNorm)
    assert left.weight is None and left.bias is None and layer.bias is not None
    assert np.array_equal(layer.weight, np.diag(op.weight)) and np.array_equal(layer.bias, op.bias)


def test_linear_readers_keep_the_operand() -> None:
    draft = Draft(4, 6)
    draft("norm", norm(), "x")
    draft("fc", linear(6, 6), "norm")
    draft("sum", f.Add(), "norm", "fc")
    after = apply(fold_layer_norm_affine, apply(operands_onto_stream, draft.graph("sum"), 0), 1e-9)
    assert after["fc"].inputs == ("norm",) and after["sum"].inputs == ("norm.stream", "fc")
    assert all(node.op.weight is None for node in after if isinstance(node.op, f.LayerNorm))


def test_tokens_that_are_taken_follow_what_reads_them() -> None:
    draft = Draft(4, 6)
    draft("norm", norm(), "x")
    draft("class", f.TakeToken(0), "norm")
    draft("head", linear(3, 6), "class")
    draft("patches", f.Slice(0, 1, 4), "norm")
    draft("tail", linear(3, 6), "patches")
    draft("mean", f.MeanTokens(), "norm")
    draft("other", linear(3, 6), "mean")
    after = apply(operands_onto_stream, draft.graph("head", "tail", "other"), 0)
    assert after["class"].inputs == ("norm",)
    assert after["patches"].inputs == ("norm.stream",) == after["mean"].inputs


def test_what_only_linear_layers_read_stays() -> None:
    draft = Draft(4, 6)
    draft("norm", norm(), "x")
    draft("class", f.TakeToken(0), "norm")
    draft("head", linear(3, 6), "class")
    graph = draft.graph("head")
    assert kinds(apply(operands_onto_stream, graph, 0)) == kinds(graph)


def test_a_norm_with_a_grid_stays() -> None:
    draft = Draft(4, 6)
    draft("rounded", norm(), "x", quant=Quantization(0.1, 63))
    draft("sum", f.Add(), "rounded", "x")
    graph = draft.graph("sum")
    assert kinds(apply(operands_onto_stream, graph, 0)) == kinds(graph)


def test_an_operand_that_leaves_the_graph_leaves_it_from_the_stream() -> None:
    draft = Draft(1, 6)
    draft("features", norm(), "x")
    after = apply(operands_onto_stream, draft.graph("features"), 0)
    assert after.outputs == ("features.stream",) and after["features.stream"].inputs == ("features",)


@pytest.mark.parametrize("op", [f.LayerNorm(1e-5), f.Elementwise("gelu")])
def test_each_function_of_an_operand_is_behind_a_product_of_its_own(op: f.LayerNorm | f.Elementwise) -> None:
    draft = Draft(4, 6)
    draft("operand", op, "x")
    draft("one", f.Elementwise("relu"), "operand")
    draft("two", f.Elementwise("tanh"), "operand")
    draft("fc", linear(6, 6), "operand")
    after = apply(operands_onto_stream, draft.graph("one", "two", "fc"), 0)
    assert after["one"].inputs == ("one.input",) and after["two"].inputs == ("two.input",)
    assert after["one.input"].inputs == after["two.input"].inputs == after["fc"].inputs == ("operand",)
