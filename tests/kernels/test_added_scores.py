"""Scores that are added to a constant, on every executor: the sum, its clamp, its maximum, and what follows.

The program is that of plain attention with two changes: a constant is loaded to where each head's scores go,
and the scores are added to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engine import VARIANTS, Engine
from op_graphs import GraphBuilder

from qvit_hls.hw.descriptor import After, Descriptor, Destination, Unit
from qvit_hls.hw.explore.configuration import program_for
from qvit_hls.hw.program import Layer, Program, StreamedConstant
from qvit_hls.ir.execute_integer import INTEGER_RULES
from qvit_hls.ir.graph import Graph
from qvit_hls.verify.rtl.stalls import Stalls

QMAX = (1 << 15) - 1
#: Image patches, tokens before them, heads, channels of a head.
CASES = ((2, 1, 1, 5), (9, 1, 3, 6), (20, 5, 2, 9))


def attention_graph(patches: int, prefix: int, heads: int, head_dim: int, rng: np.random.Generator) -> Graph:
    """Attention, and behind it a LayerNorm whose moments come from additions before it."""
    builder = GraphBuilder(rng, activation_bits=5)
    builder.patches(grid=(1, patches), size=1)
    x = builder.embed(7, prefix)
    y = builder.attention("attn", builder.norm("norm", x), heads, head_dim)
    again = builder.norm("again", x)
    return builder.finish_stream(builder.residual("sum2", builder.residual("sum", x, y), again))


def constants(heads: int, tokens: int, rng: np.random.Generator) -> np.ndarray:
    """``[heads, tokens, tokens]``: of the size of scores, and the limits of 16 bits: sums are clamped."""
    values = rng.integers(-300, 301, (heads, tokens, tokens))
    extreme = rng.random(values.shape) < 0.2
    values[extreme] = rng.choice([-QMAX, QMAX], extreme.sum())
    values[:, 0] = -QMAX  # no score of this query is larger
    return values


def added(program: Program, constant: np.ndarray) -> Program:
    """The program with constants ``[heads, tokens, tokens]`` under its scores.

    A constant waits for all before it, and its scores for it; all else waits for what it waited for.
    """
    layers: list[Layer] = []
    vectors_at = [0]  # vector layers of the new program when so many of the old one are complete
    vectors = gemms = 0
    for layer in program.layers:
        d, after = layer.descriptor, After.of_word(layer.descriptor.after)
        after = replace(after, vectors=vectors_at[after.vectors])
        if d.destination == Destination.SCORES:
            entry = layer.trace[0]
            load = Descriptor(
                unit=Unit.LOAD_RESIDUAL,
                tokens=d.tokens,
                k=d.rows,
                y_base=d.y_base,
                y_stride=d.y_stride,
                after=After(gemms, vectors).word(),
            )
            layers.append(Layer(f"constant[{entry.head}]", load, (StreamedConstant(constant[entry.head]),)))
            vectors += 1
            after = replace(after, vectors=vectors, vector_by_tile=False)
            d = replace(d, destination=Destination.SCORES_ADD)
        layers.append(replace(layer, descriptor=replace(d, after=after.word())))
        if d.unit == Unit.GEMM:
            gemms += 1
        else:
            vectors += 1
            vectors_at.append(vectors)
    return replace(program, layers=tuple(layers))


def expected_values(graph: Graph, codes: np.ndarray, constant: np.ndarray) -> Mapping[str, np.ndarray]:
    """What attention computes by the integer reference, with these constants under its scores."""
    values = graph.run(torch.from_numpy(codes).float())

    def executed(name: str, *inputs: torch.Tensor) -> torch.Tensor:
        op = graph[name].op
        return INTEGER_RULES[type(op)](op, *inputs)

    scores = (values["attn.scores"] + torch.from_numpy(constant)).clamp(-QMAX, QMAX)
    exponents = executed("attn.softmax", scores)
    context = executed("attn.context", exponents, values["attn.v"])
    linear = executed("sum.linear", context)
    found = {
        "attn.scores": scores,
        "attn.softmax": exponents,
        "attn.context": context,
        "again": values["again"],
        "sum": executed("sum", values["embed"], linear),
    }
    return {name: value.numpy() for name, value in found.items()}


@pytest.mark.parametrize("case", CASES, ids=[f"{c[0] + c[1]} tokens, {c[2]} heads" for c in CASES])
@pytest.mark.parametrize("stalled", [0.0, 0.4], ids=["", "stalled"])
def test_scores_are_added_to_the_constant_and_tracked_as_sums(
    engine: Engine, case: tuple[int, int, int, int], stalled: float, tmp_path: Path
) -> None:
    rng = np.random.default_rng(sum(case))
    graph = attention_graph(*case, rng)
    tokens, heads = case[0] + case[1], case[2]
    codes = rng.integers(-15, 16, (2, *graph["image"].shape))
    constant = constants(heads, tokens, rng)
    expected = expected_values(graph, codes, constant)
    program = added(program_for(graph, engine.config), constant)
    assert next(layer.descriptor.rows for layer in program.layers if layer.name == "again") > 0

    seen = set()
    for variant, entry, got in engine.traces_of(program, graph, codes, tmp_path, Stalls(stalled, 3)):
        if entry.node in expected:
            assert np.array_equal(got, entry.expected(expected[entry.node])), f"{entry.node}, {variant} build"
            seen.add((variant, entry.node))
    assert seen == {(variant, name) for variant in VARIANTS for name in expected}
    plain = graph.run(torch.from_numpy(codes).float())["attn.softmax"].numpy()
    assert not np.array_equal(plain, expected["attn.softmax"]), "the constants must change the exponents"
