"""Hand-built float graphs, and passes applied to them with their effect checked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Graph, Node, Op, Quantization

RNG = np.random.default_rng(0)


class Draft:
    """A graph in the making; shapes are inferred."""

    def __init__(self, *shape: int) -> None:
        self.nodes: list[Node] = []
        self("x", f.Input(shape))

    def __call__(self, name: str, op: Op, *inputs: str, quant: Quantization | None = None) -> str:
        shapes = {node.name: node.shape for node in self.nodes}
        self.nodes.append(Node(name, op, inputs, op.infer_shape(tuple(shapes[i] for i in inputs)), quant))
        return name

    def graph(self, *outputs: str) -> Graph:
        return Graph("draft", tuple(self.nodes), outputs)


def linear(rows: int, k: int) -> f.Linear:
    return f.Linear(RNG.standard_normal((rows, k)), RNG.standard_normal(rows))


def quantized_linear(rows: int, k: int) -> f.Linear:
    step = RNG.uniform(0.01, 0.1, rows)
    codes = RNG.integers(-7, 8, (rows, k))
    return f.Linear(codes * step[:, None], RNG.standard_normal(rows), step, np.full(rows, 4, np.uint8))


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph]


def apply(function: Callable[[Graph], Graph], graph: Graph, tolerance: float = 1e-12) -> Graph:
    """Apply a pass; the graph before and after must agree in float64."""
    after = function(graph)
    images = torch.randn(
        3, *graph["x"].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(after(images), graph(images), rtol=tolerance, atol=tolerance)
    return after
