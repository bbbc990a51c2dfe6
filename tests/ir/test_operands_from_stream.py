"""Linear layers that read the residual stream read it requantized; those that read operands do not."""

from __future__ import annotations

import pytest
from graph_draft import Draft, apply, kinds, linear

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Op, Quantization
from qvit_hls.ir.passes.operands_from_stream import operands_from_stream


def test_all_layers_that_read_a_sum_share_one_operand() -> None:
    draft = Draft(4, 6)
    draft("norm", f.LayerNorm(1e-5), "x")
    draft("one", linear(6, 6), "norm")
    draft("two", linear(6, 6), "norm")
    draft("sum", f.Add(), "one", "two")
    draft("q", linear(3, 6), "sum")
    draft("k", linear(3, 6), "sum")
    draft("inner", f.LayerNorm(1e-5), "sum")
    after = apply(operands_from_stream, draft.graph("q", "k", "inner"), 0)
    assert [node.name for node in after if isinstance(node.op, f.Requantize)] == ["sum.operand"]
    assert after["q"].inputs == after["k"].inputs == ("sum.operand",)
    assert after["inner"].inputs == ("sum",) and after["one"].inputs == ("norm",)


@pytest.mark.parametrize("op", [f.MeanTokens(), f.TakeToken(2), f.Slice(0, 1, 3)])
def test_what_is_made_of_the_streams_tokens_is_on_the_stream(op: Op) -> None:
    draft = Draft(4, 6)
    draft("fc", linear(6, 6), "x")
    draft("sum", f.Add(), "x", "fc")
    draft("tokens", op, "sum")
    draft("head", linear(3, 6), "tokens")
    after = apply(operands_from_stream, draft.graph("head"), 0)
    assert after["head"].inputs == ("tokens.operand",) and after["tokens"].inputs == ("sum",)


def test_a_layer_whose_value_is_also_added_is_on_the_stream() -> None:
    draft = Draft(4, 6)
    draft("norm", f.LayerNorm(1e-5), "x")
    draft("first", linear(6, 6), "norm")
    draft("second", linear(6, 6), "first")
    draft("sum", f.Add(), "first", "second")
    after = apply(operands_from_stream, draft.graph("sum"), 0)
    assert after["second"].inputs == ("first.operand",) and after["sum"].inputs == ("first", "second")


def test_operands_stay_as_they_are() -> None:
    draft = Draft(4, 6)
    draft("norm", f.LayerNorm(1e-5), "x")
    draft("token", f.TakeToken(0), "norm")
    draft("first", linear(6, 6), "token")
    draft("second", linear(6, 6), "first")
    draft("gate", f.Elementwise("gelu"), "second")
    draft("head", linear(3, 6), "gate")
    graph = draft.graph("head")
    assert kinds(apply(operands_from_stream, graph, 0)) == kinds(graph)


def test_a_grid_that_is_there_is_kept() -> None:
    draft = Draft(4, 6)
    draft("fc", linear(6, 6), "x")
    draft("sum", f.Add(), "x", "fc", quant=Quantization(0.5, 63))
    draft("head", linear(3, 6), "sum")
    after = operands_from_stream(draft.graph("head"))
    assert after["sum.operand"].quant == Quantization(0.5, 63)
    assert after["head"].inputs == ("sum.operand",)
