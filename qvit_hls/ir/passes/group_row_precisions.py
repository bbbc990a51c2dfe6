"""Order rows so that those of one precision are together, where that is free. Bit-equal.

Free means that the permutation of a layer's output channels can be undone in the columns of the layers
that read them: the value projection (within each head, because heads are read one by one) and the MLP's
first layer. Other layers keep their order; the engine writes each of their rows to its own channel.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.integer_ops import IntegerContext, IntegerLinear, Table
from qvit_hls.ir.passes.rewrite import Structure, substitute


def group_row_precisions(graph: Graph) -> Graph:
    """Put 8-bit rows before 4-bit rows in the layers of ``row_orders``, and permute their readers."""
    linears = {node.name: node.op for node in graph if isinstance(node.op, IntegerLinear)}
    structure = Structure(graph)
    for name, order in row_orders(graph).items():
        linears[name] = _permute_rows(linears[name], order)
        for reader in _readers(structure, graph[name])[0]:
            op = linears[reader.name]
            linears[reader.name] = replace(op, weight=np.ascontiguousarray(op.weight[:, order]))
    return substitute(graph, {name: [replace(graph[name], op=op)] for name, op in linears.items()})


def row_orders(graph: Graph) -> dict[str, np.ndarray]:
    """For each layer whose rows may be permuted for free, the old row at each new position.

    8-bit rows come first, otherwise in the old order; within each head for a value projection.
    """
    structure = Structure(graph)
    orders: dict[str, np.ndarray] = {}
    for node in graph:
        if not isinstance(node.op, IntegerLinear):
            continue
        readers, heads = _readers(structure, node)
        if readers:
            bits = node.op.row_bits.astype(np.int64).reshape(heads, -1)
            within = np.argsort(-bits, axis=1, kind="stable")
            orders[node.name] = (within + np.arange(heads)[:, None] * bits.shape[1]).reshape(-1)
    return orders


def _readers(structure: Structure, node: Node) -> tuple[list[Node], int]:
    """The linear layers that alone read ``node``'s channels, and the heads the channels are divided into.

    Tables, and the attention product in which ``node`` is the values, keep channels apart.
    """
    heads = 1
    value = node
    while True:
        users = structure.users(value)
        if not users or value.name in structure.graph.outputs:
            return [], heads
        if all(isinstance(user.op, IntegerLinear) for user in users):
            return users, heads
        (user, *others) = users
        if others or not isinstance(user.op, Table | IntegerContext):
            return [], heads
        if isinstance(user.op, IntegerContext):
            if user.inputs[1] != value.name:
                return [], heads
            heads = user.op.heads
        value = user


def _permute_rows(op: IntegerLinear, order: np.ndarray) -> IntegerLinear:
    return replace(
        op,
        weight=np.ascontiguousarray(op.weight[order]),
        row_bits=op.row_bits[order],
        bias=op.bias[order],
        multiplier=op.multiplier[order],
        shift=op.shift[order],
    )
