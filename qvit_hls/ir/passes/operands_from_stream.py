"""Give matrix products an operand's grid where they read the residual stream. Exact.

The stream has up to 16 bits and lies in the wide memory; operands have at most 8 and lie in the activation
memory. Networks with a LayerNorm behind each branch, and heads without one, read the stream as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from qvit_hls.ir.float_ops import (
    Add,
    AttentionContext,
    AttentionScores,
    ConcatTokens,
    Linear,
    MeanTokens,
    Requantize,
    Slice,
    TakeToken,
)
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.rewrite import substitute

_PRODUCTS = (Linear, AttentionScores, AttentionContext)


def operands_from_stream(graph: Graph) -> Graph:
    """``Linear(x) -> Linear(Requantize(x))`` where x is on the residual stream; one Requantize for all."""
    users = graph.users()
    added: dict[str, list[Node]] = {}
    inputs: dict[str, dict[str, str]] = {}
    for node in graph:
        readers = [user for user in users[node.name] if isinstance(user.op, Linear)]
        if not readers or len(node.shape) != 2 or not _is_on_stream(graph, users, node):
            continue
        operand = Node(
            f"{node.name}.operand", Requantize(), (node.name,), node.shape, node.quant, node.source
        )
        added[node.name] = [node, operand]
        for reader in readers:
            inputs.setdefault(reader.name, {})[node.name] = operand.name
    nodes = [_reading(node, inputs.get(node.name, {})) for node in substitute(graph, added)]
    return graph.with_nodes(nodes)


def _is_on_stream(graph: Graph, users: Mapping[str, list[Node]], node: Node) -> bool:
    """Whether a value lies where sums do: it is one, or joined, averaged or copied, or more than products
    read it."""
    if isinstance(node.op, TakeToken | Slice):
        return _is_on_stream(graph, users, graph[node.inputs[0]])
    if isinstance(node.op, Linear):
        return not all(isinstance(user.op, _PRODUCTS) for user in users[node.name])
    return isinstance(node.op, Add | ConcatTokens | MeanTokens)


def _reading(node: Node, names: Mapping[str, str]) -> Node:
    return replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))
