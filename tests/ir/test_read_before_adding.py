"""What reads the residual stream comes before what is added to it in place."""

from __future__ import annotations

from graph_draft import Draft, apply, linear

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.passes.read_before_adding import read_before_adding


def test_both_branches_of_one_input_read_it_first() -> None:
    draft = Draft(4, 6)
    draft("norm1", f.LayerNorm(1e-5), "x")
    draft("fc1", linear(6, 6), "norm1")
    draft("sum1", f.Add(), "x", "fc1")
    draft("norm2", f.LayerNorm(1e-5), "x")
    draft("fc2", linear(6, 6), "norm2")
    draft("sum2", f.Add(), "fc2", "sum1")
    after = apply(read_before_adding, draft.graph("sum2"), 0)
    assert [node.name for node in after] == ["x", "norm1", "norm2", "fc1", "sum1", "fc2", "sum2"]


def test_parts_of_the_stream_are_read_first_too() -> None:
    draft = Draft(4, 6)
    draft("fc1", linear(6, 6), "x")
    draft("sum1", f.Add(), "x", "fc1")
    draft("token", f.TakeToken(0), "x")
    draft("norm", f.LayerNorm(1e-5), "token")
    order = [node.name for node in apply(read_before_adding, draft.graph("sum1", "norm"), 0)]
    assert order.index("norm") < order.index("fc1")


def test_what_depends_on_the_sum_stays_behind_it() -> None:
    draft = Draft(4, 6)
    draft("fc1", linear(6, 6), "x")
    draft("sum1", f.Add(), "x", "fc1")
    draft("fc2", linear(6, 6), "sum1")
    draft("sum2", f.Add(), "x", "fc2")
    graph = draft.graph("sum2")
    assert apply(read_before_adding, graph, 0).nodes == graph.nodes


def test_a_circle_leaves_the_order() -> None:
    draft = Draft(4, 6)
    draft("fc1", linear(6, 6), "x")
    draft("fc2", linear(6, 6), "x")
    draft("y", linear(6, 6), "x")
    draft("sum1", f.Add(), "x", "fc1")
    draft("sum2", f.Add(), "x", "fc2")
    graph = draft.graph("sum1", "sum2", "y")
    assert apply(read_before_adding, graph, 0).nodes == graph.nodes
