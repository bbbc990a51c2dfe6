"""Merge runs of reshapes and of permutations, and drop those that change nothing. Bit-equal."""

from __future__ import annotations

from dataclasses import replace

from qvit_hls.ir.float_ops import Permute, Reshape
from qvit_hls.ir.graph import Graph, Node, Op
from qvit_hls.ir.passes.eliminate_dead import eliminate_dead
from qvit_hls.ir.passes.rewrite import substitute


def merge_layout(graph: Graph) -> Graph:
    """One Reshape or Permute in place of a run of them."""
    merged: dict[str, Node] = {}
    aliases: dict[str, str] = {}
    for node in graph:
        if not isinstance(node.op, Reshape | Permute):
            continue
        source = aliases.get(node.inputs[0], node.inputs[0])
        below = merged.get(source, graph[source])
        node = replace(node, inputs=(source,))
        if type(below.op) is type(node.op) and below.quant is None:
            node = replace(node, op=_compose(below.op, node.op), inputs=below.inputs)
        merged[node.name] = node
        if node.quant is None and _is_identity(node, graph[node.inputs[0]].shape):
            aliases[node.name] = node.inputs[0]
    return eliminate_dead(substitute(graph, {name: [node] for name, node in merged.items()}, aliases))


def _compose(first: Op, second: Op) -> Op:
    if isinstance(first, Permute) and isinstance(second, Permute):
        return Permute(tuple(first.order[i] for i in second.order))
    return second


def _is_identity(node: Node, shape: tuple[int, ...]) -> bool:
    if isinstance(node.op, Permute):
        return node.op.order == tuple(range(len(shape)))
    return node.shape == shape
