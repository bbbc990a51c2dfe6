"""A token is taken before what treats all tokens alike, and only where nothing else reads the others."""

from __future__ import annotations

from graph_draft import Draft, apply, kinds, linear

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Quantization
from qvit_hls.ir.passes.take_tokens_early import take_tokens_early


def test_a_token_goes_before_a_chain_of_operations() -> None:
    draft = Draft(5, 6)
    draft("norm", f.LayerNorm(1e-6), "x")
    draft("fc", linear(4, 6), "norm")
    draft("gelu", f.Elementwise("gelu"), "fc")
    draft("first", f.TakeToken(2), "gelu")
    after = apply(take_tokens_early, draft.graph("first"))
    assert kinds(after) == ["input", "take_token", "layer_norm", "linear", "elementwise"]
    assert after["norm"].shape == (1, 6) and after.outputs == ("gelu",)


def test_what_others_read_too_stays_whole() -> None:
    draft = Draft(5, 6)
    draft("norm", f.LayerNorm(1e-6), "x")
    draft("first", f.TakeToken(0), "norm")
    draft("mean", f.MeanTokens(), "norm")
    graph = draft.graph("first", "mean")
    assert kinds(apply(take_tokens_early, graph)) == kinds(graph)


def test_a_grid_stays_with_what_computes_the_value() -> None:
    draft, grid = Draft(5, 6), Quantization(0.25, 7)
    draft("norm", f.LayerNorm(1e-6), "x")
    draft("first", f.TakeToken(1), "norm", quant=grid)
    after = apply(take_tokens_early, draft.graph("first"))
    assert after["norm"].quant == grid and after["norm.token"].quant is None


def test_two_grids_are_not_made_one() -> None:
    draft = Draft(5, 6)
    draft("norm", f.LayerNorm(1e-6), "x", quant=Quantization(0.25, 7))
    draft("first", f.TakeToken(1), "norm", quant=Quantization(0.5, 7))
    graph = draft.graph("first")
    assert kinds(apply(take_tokens_early, graph)) == kinds(graph)
