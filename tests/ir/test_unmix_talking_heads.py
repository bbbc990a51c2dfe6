"""Talking-heads attention is plain attention with other layers around it, exactly in real numbers."""

from __future__ import annotations

import numpy as np
import pytest
from graph_draft import RNG, Draft, apply, kinds, linear

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Graph, Quantization
from qvit_hls.ir.passes.unmix_talking_heads import unmix_talking_heads

TOKENS, CHANNELS, HEADS, DIM = 5, 7, 2, 3
GRID = Quantization(0.1, 63)


def attention(
    before: f.Linear | None,
    behind: f.Linear | None,
    query_grid: Quantization | None = None,
    score_bias: bool = False,
) -> Graph:
    """Attention of 2 heads of 3 channels, its heads mixed by ``before`` and ``behind``."""
    draft = Draft(TOKENS, CHANNELS)
    for name in "qkv":
        draft(name, linear(HEADS * DIM, CHANNELS), "x", quant=query_grid if name == "q" else None)
        draft(f"{name}.split", f.Reshape((TOKENS, HEADS, DIM)), name)
        draft(f"{name}.heads", f.Permute((1, 2, 0) if name == "k" else (1, 0, 2)), f"{name}.split")
    draft("scaled", f.Scale(np.array(0.6)), "q.heads")
    top = draft("product", f.MatMul(), "scaled", "k.heads")
    if score_bias:
        draft("position", f.Constant(RNG.standard_normal((HEADS, TOKENS, TOKENS))))
        top = draft("biased", f.Add(), top, "position")
    top = mix(draft, "before", before, top)
    top = mix(draft, "behind", behind, draft("softmax", f.Softmax(), top))
    draft("sums", f.MatMul(), top, "v.heads")
    draft("back", f.Permute((1, 0, 2)), "sums")
    draft("merged", f.Reshape((TOKENS, HEADS * DIM)), "back")
    return draft.graph(draft("proj", linear(CHANNELS, HEADS * DIM), "merged"))


def mix(draft: Draft, name: str, op: f.Linear | None, x: str) -> str:
    if op is None:
        return x
    draft(f"{name}.last", f.Permute((1, 2, 0)), x)
    draft(name, op, f"{name}.last")
    return draft(f"{name}.first", f.Permute((2, 0, 1)), name)


def without_bias() -> f.Linear:
    return f.Linear(RNG.standard_normal((HEADS, HEADS)))


@pytest.mark.parametrize(
    ("before", "behind", "heads", "head_dim"),
    [
        (linear(HEADS, HEADS), None, HEADS, HEADS * DIM),
        (None, without_bias(), HEADS, DIM),
        (None, linear(HEADS, HEADS), HEADS + 1, DIM),
        (linear(HEADS, HEADS), linear(HEADS, HEADS), HEADS + 1, HEADS * DIM),
    ],
    ids=["before", "behind", "behind-with-bias", "both"],
)
@pytest.mark.parametrize("score_bias", [False, True], ids=["", "score-bias"])
def test_mixed_heads_become_wider_heads(
    before: f.Linear | None, behind: f.Linear | None, heads: int, head_dim: int, score_bias: bool
) -> None:
    graph = apply(unmix_talking_heads, attention(before, behind, score_bias=score_bias), 1e-10)
    assert set(kinds(graph)) - {"constant"} == {
        *("input", "linear", "attention_scores", "softmax", "attention_context")
    }
    scores = graph["scores"]
    assert isinstance(scores.op, f.AttentionScores) and scores.op.heads == heads
    assert graph[scores.inputs[0]].shape == (TOKENS, heads * head_dim)
    assert (scores.op.bias is not None) == score_bias


def test_a_bias_behind_the_softmax_is_a_head_of_equal_probabilities() -> None:
    graph = apply(unmix_talking_heads, attention(None, linear(HEADS, HEADS)), 1e-10)
    queries = graph[graph["scores"].inputs[0]].op
    assert isinstance(queries, f.Linear) and queries.bias is not None
    assert not queries.weight[-DIM:].any() and not queries.bias[-DIM:].any()


def test_plain_attention_is_left_alone() -> None:
    graph = attention(None, None)
    assert [node.name for node in unmix_talking_heads(graph)] == [node.name for node in graph]


def test_attention_with_rounded_queries_is_left_alone() -> None:
    graph = apply(unmix_talking_heads, attention(linear(HEADS, HEADS), None, GRID), 0)
    assert "attention_scores" not in kinds(graph)
