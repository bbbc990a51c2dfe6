"""Annotation puts weights, biases and softmax steps where lowering wants them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qvit_hls.ir.float_ops import AttentionScores, Input, Linear, Softmax
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.integer_ops import IntegerLinear
from qvit_hls.ir.lowering import lower
from qvit_hls.ptq.annotate import WeightRows, annotate, quantized_linear
from qvit_hls.ptq.placement import BitWidths, place
from qvit_hls.quant.levels import weight_qmax


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 999),
    st.floats(1e-6, 1e6).map(np.float32).map(float),
    st.floats(1e-4, 10).map(np.float32).map(float),
)
def test_any_weights_and_biases_fit_the_integer_formats(seed: int, bias: float, input_step: float) -> None:
    """Also where a large bias over small steps would need more than its 30 bits."""
    generator = np.random.default_rng(seed)
    weight = generator.normal(size=(4, 6)).astype(np.float32) * np.float32(10) ** generator.integers(
        -9, 3, (4, 1)
    )
    bits = torch.tensor([4, 8, 4, 8], dtype=torch.uint8)
    step = torch.from_numpy(np.abs(weight).max(axis=1)) / torch.where(bits == 8, 119, 7)
    rows = WeightRows(bits, step.clamp(min=2.0**-60))
    offsets = generator.normal(size=4) * bias
    graph = Graph(
        "one",
        (
            Node("x", Input((2, 6)), (), (2, 6)),
            Node("head", Linear(weight, offsets), ("x",), (2, 4)),
        ),
        ("head",),
    )
    placement = place(graph, BitWidths())
    largest = float((np.abs(weight).sum(1) * input_step * 63 + np.abs(offsets)).max())
    steps = {"x": input_step, "head": float(np.float32(largest / 32767))}
    integer = lower(annotate(graph, placement, steps, {"head": rows}))
    op = integer["head"].op
    assert isinstance(op, IntegerLinear)
    assert (np.abs(op.weight.astype(int)).max(axis=1) <= [weight_qmax(int(b)) for b in bits]).all()
    x = torch.from_numpy(generator.uniform(-60, 60, (3, 2, 6)) * input_step).float()
    annotated = annotate(graph, placement, steps, {"head": rows})
    real = integer(x) * steps["head"]
    assert torch.allclose(real.float(), annotated(x).float(), atol=2 * steps["head"])


def test_biases_are_whole_accumulator_steps() -> None:
    rows = WeightRows(torch.tensor([4, 8], dtype=torch.uint8), torch.tensor([0.5, 0.01]))
    op = quantized_linear(Linear(np.eye(2, dtype=np.float32), np.array([0.3, -0.123])), 0.125, rows)
    assert op.bias is not None
    codes = op.bias / (np.array([0.5, np.float32(0.01)], np.float64) * 0.125)
    assert np.allclose(codes, [5, -98])
    assert np.array_equal(op.weight, np.diag([np.float32(1.0), np.float32(0.01) * 100]))


def test_the_softmax_gets_the_step_of_its_scores() -> None:
    weight = np.eye(4, dtype=np.float32)
    graph = Graph(
        "attention",
        (
            Node("x", Input((3, 4)), (), (3, 4)),
            Node("q", Linear(weight), ("x",), (3, 4)),
            Node("k", Linear(weight), ("x",), (3, 4)),
            Node("scores", AttentionScores(2, 0.5), ("q", "k"), (2, 3, 3)),
            Node("softmax", Softmax(), ("scores",), (2, 3, 3)),
            Node("head", Linear(weight), ("x",), (3, 4)),
        ),
        ("head",),
    )
    placement = place(graph, BitWidths())
    steps = {grid.name: 0.25 for grid in placement.grids} | {"scores": 0.046875}
    rows = WeightRows(torch.full((4,), 4, dtype=torch.uint8), torch.full((4,), 0.25))
    annotated = annotate(graph, placement, steps, {name: rows for name in ("q", "k", "head")})
    op = annotated["softmax"].op
    assert isinstance(op, Softmax) and op.step == 0.046875
    assert annotated["softmax"].quant is None
