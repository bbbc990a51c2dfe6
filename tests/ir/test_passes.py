"""Each pass does what it is for, and leaves what the graph computes as it was."""

from __future__ import annotations

import numpy as np
import pytest
from graph_draft import RNG, Draft, apply, kinds, linear, quantized_linear

from qvit_hls.errors import QvitError
from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Graph, Node, Quantization
from qvit_hls.ir.passes.attach_quantization import attach_quantization
from qvit_hls.ir.passes.canonicalize_tokens import canonicalize_tokens
from qvit_hls.ir.passes.eliminate_dead import eliminate_dead
from qvit_hls.ir.passes.fold_layer_norm_affine import fold_layer_norm_affine, folding_obstacle
from qvit_hls.ir.passes.fold_layer_scale import fold_layer_scale
from qvit_hls.ir.passes.fuse_attention import fuse_attention
from qvit_hls.ir.passes.legalize_patch_embedding import legalize_patch_embedding
from qvit_hls.ir.passes.merge_layout import merge_layout
from qvit_hls.ir.pipeline import run_passes


def test_dead_nodes_go_and_inputs_stay() -> None:
    draft = Draft(4, 3)
    draft("dead", linear(5, 3), "x")
    graph = apply(eliminate_dead, draft.graph(draft("y", linear(2, 3), "x")))
    assert [node.name for node in graph] == ["x", "y"]


def test_runs_of_permutations_and_reshapes_merge() -> None:
    draft = Draft(4, 6)
    draft("a", f.Reshape((4, 2, 3)), "x")
    draft("b", f.Permute((1, 0, 2)), "a")
    draft("c", f.Permute((0, 2, 1)), "b")
    draft("d", f.Permute((2, 0, 1)), "c")  # b, c and d together change nothing
    draft("e", f.Reshape((4, 3, 2)), "d")
    draft("f", f.Permute((0, 2, 1)), "c")
    graph = apply(merge_layout, draft.graph("e", "f"))
    assert [(node.name, *node.inputs) for node in graph] == [("x",), ("a", "x"), ("e", "x"), ("f", "a")]


def test_a_grid_moves_above_reshapes_to_what_computes_the_value() -> None:
    draft = Draft(4, 6)
    draft("y", linear(6, 6), "x")
    draft("heads", f.Reshape((4, 2, 3)), "y")
    draft("q", f.FakeQuantize(0.125, 63), "heads")
    graph = apply(attach_quantization, draft.graph("q"), 0)
    assert kinds(graph) == ["input", "linear", "reshape"]
    assert graph["y"].quant == Quantization(0.125, 63)


def test_rounding_twice_to_one_grid_is_rounding_once() -> None:
    draft = Draft(4, 6)
    draft("a", f.FakeQuantize(0.1, 63), "x")
    draft("b", f.FakeQuantize(0.1, 63), "a")
    graph = apply(attach_quantization, draft.graph("b"), 0)
    assert kinds(graph) == ["input"]


def test_several_quantizers_of_one_grid_become_one_annotation() -> None:
    draft = Draft(4, 6)
    draft("y", linear(6, 6), "x")
    draft("a", f.FakeQuantize(0.1, 63), "y")
    draft("b", f.FakeQuantize(0.1, 63), "y")
    graph = apply(attach_quantization, draft.graph(draft("sum", f.Add(), "a", "b")), 0)
    assert kinds(graph) == ["input", "linear", "add"]


def test_a_quantizer_stays_where_the_value_is_also_read_unrounded() -> None:
    draft = Draft(4, 6)
    draft("y", linear(6, 6), "x")
    draft("a", f.FakeQuantize(0.1, 63), "y")
    graph = apply(attach_quantization, draft.graph(draft("sum", f.Add(), "a", "y")), 0)
    assert "fake_quantize" in kinds(graph)


def test_a_second_grid_stays_a_quantizer() -> None:
    draft = Draft(4, 6)
    draft("a", f.FakeQuantize(0.1, 63), "x")
    draft("b", f.FakeQuantize(0.3, 7), "a")
    graph = apply(attach_quantization, draft.graph("b"), 0)
    assert graph["x"].quant == Quantization(0.1, 63)
    assert kinds(graph) == ["input", "fake_quantize"]


def test_patch_embedding_becomes_patches_and_linear() -> None:
    draft = Draft(3, 8, 12)
    weight = RNG.standard_normal((5, 3, 4, 4))
    draft("embed", f.Conv2d(weight, (4, 4), RNG.standard_normal(5)), "x")
    draft("flat", f.Reshape((5, 6)), "embed")
    graph = apply(legalize_patch_embedding, draft.graph(draft("tokens", f.Permute((1, 0)), "flat")), 1e-10)
    assert [node.name for node in graph] == ["x", "embed.patches", "embed"]


def test_overlapping_convolution_stays() -> None:
    draft = Draft(3, 8, 8)
    draft("embed", f.Conv2d(RNG.standard_normal((5, 3, 4, 4)), (2, 2)), "x")
    draft("flat", f.Reshape((5, 9)), "embed")
    graph = apply(legalize_patch_embedding, draft.graph(draft("tokens", f.Permute((1, 0)), "flat")))
    assert "conv2d" in kinds(graph)


@pytest.mark.parametrize("scaled", ["product", "q", "k"])
def test_attention_is_recognised_wherever_its_scale_stands(scaled: str) -> None:
    draft = Draft(5, 6)
    for name in "qkv":
        draft(name, linear(6, 6), "x")
        draft(f"{name}.split", f.Reshape((5, 2, 3)), name)
        order = (1, 2, 0) if name == "k" else (1, 0, 2)
        draft(f"{name}.heads", f.Permute(order), f"{name}.split")
    q, k = "q.heads", "k.heads"
    if scaled == "q":
        q = draft("scale", f.Scale(np.array(0.5)), q)
    if scaled == "k":
        k = draft("scale", f.Scale(np.array(0.5)), k)
    top = draft("product", f.MatMul(), q, k)
    if scaled == "product":
        top = draft("scale", f.Scale(np.array(0.5)), top, quant=Quantization(1 / 32, 2047))
    draft("softmax", f.Softmax(), top)
    draft("mix", f.MatMul(), "softmax", "v.heads")
    draft("back", f.Permute((1, 0, 2)), "mix")
    graph = apply(fuse_attention, draft.graph(draft("y", f.Reshape((5, 6)), "back")), 1e-10)
    assert kinds(graph)[-3:] == ["attention_scores", "softmax", "attention_context"]
    assert len(graph.nodes) == 7
    assert graph["scores"].op.scale == 0.5  # type: ignore[attr-defined]
    assert graph["scores"].inputs == ("q", "k")
    assert (graph["scores"].quant is not None) == (scaled == "product")


def test_layer_scale_folds_into_rows_with_sign_and_zero() -> None:
    draft = Draft(4, 6)
    op = quantized_linear(3, 6)
    draft("y", op, "x")
    gamma = np.array([-0.5, 0.0, 2.0])
    graph = apply(
        fold_layer_scale, draft.graph(draft("ls", f.Scale(gamma), "y", quant=Quantization(0.01, 2047)))
    )
    assert [node.name for node in graph] == ["x", "y"]
    folded = graph["y"].op
    assert isinstance(folded, f.Linear)
    assert folded.row_scale is not None and op.row_scale is not None
    np.testing.assert_allclose(folded.row_scale, op.row_scale * [0.5, 1.0, 2.0])
    codes = np.rint(op.weight / op.row_scale[:, None])
    np.testing.assert_array_equal(
        np.rint(folded.weight / folded.row_scale[:, None]), codes * np.array([[-1], [0], [1]])
    )


def test_a_factor_stays_where_the_unscaled_value_is_read_too() -> None:
    draft = Draft(4, 6)
    draft("y", linear(6, 6), "x")
    draft("ls", f.Scale(np.array(2.0)), "y")
    graph = apply(fold_layer_scale, draft.graph(draft("sum", f.Add(), "ls", "y")))
    assert "scale" in kinds(graph)


def test_a_factor_of_a_sum_of_layers_goes_into_each_of_them() -> None:
    draft = Draft(4, 6)
    draft("a", linear(3, 6), "x")
    draft("b", linear(3, 6), "x")
    draft("sum", f.Add(), "a", "b")
    scaled = draft("half", f.Scale(np.array(0.5)), "sum", quant=Quantization(0.01, 2047))
    graph = apply(fold_layer_scale, draft.graph(scaled))
    assert kinds(graph) == ["input", "linear", "linear", "add"]
    assert graph["sum"].quant == Quantization(0.01, 2047)


def test_a_factor_of_a_sum_stays_where_one_term_is_rounded_or_read_elsewhere() -> None:
    draft = Draft(4, 6)
    draft("a", linear(3, 6), "x", quant=Quantization(0.1, 63))
    draft("b", linear(3, 6), "x")
    draft("c", linear(3, 6), "x")
    draft("ab", f.Add(), "a", "b")
    draft("half_ab", f.Scale(np.array(0.5)), "ab")
    draft("bc", f.Add(), "b", "c")
    draft("half_bc", f.Scale(np.array(0.5)), "bc")
    graph = apply(fold_layer_scale, draft.graph("half_ab", "half_bc"))
    assert kinds(graph).count("scale") == 2


def test_layer_norm_affine_folds_through_token_selection() -> None:
    draft = Draft(4, 6)
    draft("norm", f.LayerNorm(1e-5, RNG.standard_normal(6), RNG.standard_normal(6)), "x")
    draft("a", linear(3, 6), "norm")
    draft("token", f.TakeToken(0), "norm")
    draft("b", f.Linear(RNG.standard_normal((2, 6))), "token")
    graph = apply(fold_layer_norm_affine, draft.graph("a", "b"), 1e-9)
    op = graph["norm"].op
    assert isinstance(op, f.LayerNorm) and op.weight is None and op.bias is None


def test_layer_norm_affine_that_cannot_fold_stays_and_the_reason_is_known() -> None:
    draft = Draft(4, 6)
    affine = f.LayerNorm(1e-5, np.ones(6), np.zeros(6))
    draft("n1", affine, "x", quant=Quantization(0.1, 63))
    draft("n2", affine, "n1")
    draft("y", quantized_linear(3, 6), "n2")
    draft("n3", affine, "x")
    draft("act", f.Elementwise("gelu"), "n3")
    graph = apply(fold_layer_norm_affine, draft.graph("y", "act"), 0)
    assert {name: folding_obstacle(graph, graph[name]) for name in ("n1", "n2", "n3")} == {
        "n1": "its value is quantized with them; train with elementwise_affine=False instead",
        "n2": "the weights of y are already quantized",
        "n3": "act, which reads it, is no linear layer",
    }


def test_layer_norm_affine_folds_through_a_slice_of_tokens() -> None:
    draft = Draft(5, 6)
    draft("norm", f.LayerNorm(1e-5, RNG.standard_normal(6), RNG.standard_normal(6)), "x")
    draft("patches", f.Slice(0, 2, 5), "norm")
    draft("mean", f.MeanTokens(), "patches")
    graph = apply(fold_layer_norm_affine, draft.graph(draft("head", linear(3, 6), "mean")), 1e-9)
    op = graph["norm"].op
    assert isinstance(op, f.LayerNorm) and op.weight is None and op.bias is None


def test_a_picked_token_stays_a_sequence_until_the_output() -> None:
    draft = Draft(4, 6)
    draft("token", f.TakeToken(0), "x")
    draft("flat", f.Reshape((6,)), "token")
    draft("norm", f.LayerNorm(1e-5), "flat")
    draft("head", linear(3, 6), "norm")
    graph = apply(canonicalize_tokens, draft.graph("head"), 1e-9)
    assert [(node.name, node.shape) for node in graph][1:] == [
        ("token", (1, 6)),
        ("norm", (1, 6)),
        ("head", (1, 3)),
        ("head.reshape", (3,)),
    ]


def test_a_sum_of_two_picked_tokens_is_a_sum_of_sequences_of_one() -> None:
    draft = Draft(4, 6)
    for i in range(2):
        draft(f"token{i}", f.TakeToken(i), "x")
        draft(f"flat{i}", f.Reshape((6,)), f"token{i}")
        draft(f"head{i}", linear(3, 6), f"flat{i}")
    draft("sum", f.Add(), "head0", "head1")
    graph = apply(canonicalize_tokens, draft.graph("sum"), 1e-9)
    assert [node.shape for node in graph if node.op.kind in ("linear", "add")] == [(1, 3)] * 3
    assert graph.outputs == ("sum.reshape",)


def test_verification_names_the_pass_that_changes_the_graph() -> None:
    def break_it(graph: Graph) -> Graph:
        return graph.with_nodes([graph["x"], Node("y", f.Scale(np.array(3.0)), ("x",), (4,))])

    draft = Draft(4)
    graph = draft.graph(draft("y", f.Scale(np.array(2.0)), "x"))
    assert run_passes(graph, [eliminate_dead], verify=True)["y"].op is graph["y"].op
    with pytest.raises(QvitError) as error:
        run_passes(graph, [eliminate_dead, break_it], verify=True)
    assert str(error.value).startswith("Pass break_it changes output y by up to ")
