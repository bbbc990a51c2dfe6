"""Queries that are the same for every image (attention pooling) become a linear layer. Exact.

The engine's queries are operands that a matrix product has made: here one whose weights are 0 and whose bias
they are.
"""

from __future__ import annotations

import numpy as np

from qvit_hls.ir.float_ops import Constant, Linear, MatMul, Permute, Reshape, Scale, TakeToken
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.eliminate_dead import eliminate_dead
from qvit_hls.ir.passes.rewrite import Structure, substitute


def constant_queries(graph: Graph) -> Graph:
    """``q k^T -> (0 x[0] + q) k^T`` for one constant query per head; the keys are a linear layer of x."""
    structure = Structure(graph)
    replacements: dict[str, list[Node]] = {}
    for node in graph:
        if not isinstance(node.op, MatMul) or len(node.shape) != 3:
            continue
        queries, keys = structure.producer(node), _linear_below(structure, structure.producer(node, 1))
        if not isinstance(queries.op, Constant) or keys is None or queries.op.value.shape[1] != 1:
            continue
        source = structure.producer(keys)
        heads, _, width = queries.op.value.shape
        bias = queries.op.value.reshape(-1)
        name = f"{node.name}.queries"
        first = Node(f"{name}.token", TakeToken(0), (source.name,), (1, source.shape[-1]), source=node.source)
        weight = np.zeros((len(bias), source.shape[-1]), np.float32)
        layer = Node(name, Linear(weight, bias), (first.name,), (1, len(bias)), source=node.source)
        split = Node(
            f"{name}.split", Reshape((1, heads, width)), (name,), (1, heads, width), source=node.source
        )
        order = Node(
            f"{name}.heads", Permute((1, 0, 2)), (split.name,), (heads, 1, width), source=node.source
        )
        product = Node(node.name, node.op, (order.name, node.inputs[1]), node.shape, node.quant, node.source)
        replacements[node.name] = [first, layer, split, order, product]
    return eliminate_dead(substitute(graph, replacements))


def _linear_below(structure: Structure, node: Node) -> Node | None:
    """The linear layer that ``node`` rearranges or scales."""
    while isinstance(node.op, Reshape | Permute | Scale):
        node = structure.producer(node)
    return node if isinstance(node.op, Linear) else None
