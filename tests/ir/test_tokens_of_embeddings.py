"""Tokens that are taken out of an embedding and do not depend on the image are constants."""

from __future__ import annotations

import pytest
from graph_draft import RNG, Draft, apply, kinds
from hypothesis import given
from hypothesis import strategies as st

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Quantization
from qvit_hls.ir.passes.tokens_of_embeddings import tokens_of_embeddings


def embedding() -> Draft:
    """Two constant tokens, four of the image; a position added to all."""
    draft = Draft(4, 6)
    draft("tokens", f.Constant(RNG.standard_normal((2, 6))))
    draft("position", f.Constant(RNG.standard_normal((6, 6))))
    draft("joined", f.ConcatTokens(), "tokens", "x")
    draft("sum", f.Add(), "joined", "position")
    return draft


@given(st.integers(0, 5), st.integers(1, 6))
def test_any_tokens_keep_their_values(start: int, count: int) -> None:
    draft, stop = embedding(), min(6, start + count)
    taken = f.TakeToken(start) if stop - start == 1 else f.Slice(0, start, stop)
    draft("taken", taken, "sum")
    draft("out", f.LayerNorm(1e-5), "taken")
    after = apply(tokens_of_embeddings, draft.graph("out"), 0)
    assert all(
        after[node.inputs[0]].op.kind == "input" for node in after if node.op.kind in ("slice", "take_token")
    )


def test_registers_stand_between_constants_and_patches() -> None:
    draft = embedding()
    draft("registers", f.Constant(RNG.standard_normal((3, 6))))
    draft("first", f.TakeToken(0), "sum")
    draft("others", f.Slice(0, 2, 6), "sum")
    draft("all", f.ConcatTokens(), "first", "registers", "others")
    after = apply(tokens_of_embeddings, draft.graph("all"), 0)
    assert [after[name].op.kind for name in after["all"].inputs] == ["constant", "constant", "add"]
    assert after["others"].inputs[0] == "x"


@pytest.mark.parametrize("rounded", ["joined", "sum"])
def test_a_rounding_on_the_way_stays(rounded: str) -> None:
    draft = embedding()
    draft.nodes = [
        node if node.name != rounded else type(node)(**{**vars(node), "quant": Quantization(0.5, 99)})
        for node in draft.nodes
    ]
    draft("taken", f.TakeToken(3), "sum")
    after = tokens_of_embeddings(draft.graph("taken"))
    assert after[rounded].quant is not None and "take_token" in kinds(after)


def test_tokens_of_the_stream_stay() -> None:
    draft = Draft(4, 6)
    draft("sum", f.Add(), "x", "x")
    draft("taken", f.TakeToken(1), "sum")
    graph = draft.graph("taken")
    assert kinds(apply(tokens_of_embeddings, graph, 0)) == kinds(graph)
