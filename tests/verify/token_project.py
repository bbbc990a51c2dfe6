"""A project with scores that are added to a constant, tokens that are taken, joined and averaged, and an
operand from the residual stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from op_graphs import GraphBuilder

from qvit_hls.codegen.project import Origin, build_plan
from qvit_hls.flow.generate import Target, golden_vectors
from qvit_hls.flow.output import write_plan
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Graph


def token_graph() -> Graph:
    """Attention with a bias; then tokens joined in another order, and the mean of some of them.

    The LayerNorm behind the attention reads what was there before it. A product reads the stream as it is,
    which has few bits, so that the shift is small enough to clamp some codes and not all.
    """
    builder = GraphBuilder(np.random.default_rng(7), activation_bits=7, residual_bits=8)
    builder.patches(grid=(3, 4), size=4)
    x = builder.embed(12, prefix=2)
    y = builder.attention("attn", builder.norm("norm", x), 2, 40, biased=True)
    again = builder.norm("again", x)
    x = builder.residual("sum2", builder.residual("sum", x, y), again)
    x = builder.residual("sum3", x, builder.operand("operand", x, multiplier=40_000, shift=16))
    parts = builder.tokens("end", x, 3, 14), builder.tokens("begin", x, 1, 3)
    x = builder.add("joined", ops.ConcatTokens(), *parts, qmax=builder.wide)
    some = builder.tokens("some", x, 2, 12)
    mean = ops.IntegerMeanTokens((1 << 16) // 10, 16, builder.wide)
    return builder.finish(builder.norm("last", builder.add("mean", mean, some, qmax=builder.wide)))


def make_token_project(folder: Path, target: Target) -> Path:
    """Write the project; returns its folder."""
    graph = token_graph()
    program = target.program(graph)
    vectors = golden_vectors(graph, seed=0)
    write_plan(build_plan(graph, program, target.board, target.clock_mhz, vectors, Origin("", 0)), folder)
    return folder
