"""Give matrix products an operand's grid where they read the residual stream. Exact.

The stream has up to 16 bits and lies in the wide memory; operands have at most 8 and lie in the activation
memory. Networks with a LayerNorm behind each branch, and heads without one, read the stream as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from qvit_hls.ir.float_ops import (
    Add,
    AttentionContext,
    AttentionScores,
    ConcatTokens,
    Constant,
    Elementwise,
    Linear,
    MeanTokens,
    Requantize,
    Slice,
    TakeToken,
)
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.operands_onto_stream import identity, reading
from qvit_hls.ir.passes.rewrite import substitute

_PRODUCTS = (Linear, AttentionScores, AttentionContext)


def operands_from_stream(graph: Graph) -> Graph:
    """``Linear(x) -> Linear(Requantize(x))`` where x is on the residual stream; one Requantize for all.

    Only matrix products add to the stream, and functions are tables behind them. So the second of two terms
    neither of which is a linear layer gets an identity matrix, and so does a function of the stream.
    """
    users = graph.users()
    added: dict[str, list[Node]] = {}
    inputs: dict[str, dict[str, str]] = {}
    for node in graph:
        if len(node.shape) != 2 or not _is_on_stream(graph, users, node):
            continue
        layers = [user for user in users[node.name] if isinstance(user.op, Linear)]
        others = [user for user in users[node.name] if _needs_product(graph, users, node, user)]
        if not layers and not others:
            continue
        operand = Node(
            f"{node.name}.operand", Requantize(), (node.name,), node.shape, node.quant, node.source
        )
        added.setdefault(node.name, [node]).append(operand)
        for reader in layers:
            inputs.setdefault(reader.name, {})[node.name] = operand.name
        for reader in others:
            layer = identity(f"{reader.name}.input", operand)
            added.setdefault(reader.name, [reader]).insert(0, layer)
            inputs.setdefault(reader.name, {})[node.name] = layer.name
    nodes = [reading(node, inputs.get(node.name, {})) for node in substitute(graph, added)]
    return graph.with_nodes(nodes)


def _is_on_stream(graph: Graph, users: Mapping[str, list[Node]], node: Node) -> bool:
    """Whether a value lies where sums do: it is one, or joined, averaged or copied, or more than products
    read it."""
    if isinstance(node.op, TakeToken | Slice):
        return _is_on_stream(graph, users, graph[node.inputs[0]])
    if isinstance(node.op, Linear):
        readers = users[node.name]
        for_a_table = len(readers) == 1 and isinstance(readers[0].op, Elementwise)
        return not for_a_table and not all(isinstance(user.op, _PRODUCTS) for user in readers)
    return isinstance(node.op, Add | ConcatTokens | MeanTokens)


def _needs_product(graph: Graph, users: Mapping[str, list[Node]], node: Node, reader: Node) -> bool:
    """Whether ``reader`` takes the stream's value ``node`` from a matrix product only."""
    if isinstance(reader.op, Elementwise):
        return True
    if not isinstance(reader.op, Add) or reader.inputs[-1] != node.name:
        return False
    terms = [graph[name] for name in reader.inputs]
    return not any(isinstance(term.op, Constant) or _adds_itself(users, term) for term in terms)


def _adds_itself(users: Mapping[str, list[Node]], term: Node) -> bool:
    """Whether a term of a sum is a linear layer that nothing else reads."""
    return isinstance(term.op, Linear) and len(users[term.name]) == 1
