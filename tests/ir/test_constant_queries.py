"""A query that is the same for every image becomes a linear layer without weights."""

from __future__ import annotations

import numpy as np
from graph_draft import RNG, Draft, apply, kinds, linear

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.passes.constant_queries import constant_queries


def pooling(queries: int) -> Draft:
    """Scores of constant queries, 3 heads of 4 channels, against 5 tokens."""
    draft = Draft(5, 6)
    draft("norm", f.LayerNorm(1e-5), "x")
    draft("k", linear(12, 6), "norm")
    draft("split", f.Reshape((5, 3, 4)), "k")
    draft("keys", f.Permute((1, 2, 0)), "split")
    draft("latent", f.Constant(RNG.standard_normal((3, queries, 4))))
    draft("scores", f.MatMul(), "latent", "keys")
    return draft


def test_the_query_is_the_bias() -> None:
    graph = pooling(1).graph("scores")
    after = apply(constant_queries, graph, 0)
    assert "constant" not in kinds(after) and after["scores.queries.token"].inputs == ("norm",)
    op, latent = after["scores.queries"].op, graph["latent"].op
    assert isinstance(op, f.Linear) and isinstance(latent, f.Constant) and op.bias is not None
    assert not op.weight.any() and np.array_equal(op.bias, latent.value.reshape(-1))


def test_several_queries_stay() -> None:
    graph = pooling(2).graph("scores")
    assert kinds(apply(constant_queries, graph, 0)) == kinds(graph)
