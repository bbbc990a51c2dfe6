"""What passes share: questions about a graph's structure, and replacing nodes in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qvit_hls.ir.float_ops import Permute, Reshape
from qvit_hls.ir.graph import Graph, Node

#: Operations that only rearrange elements; rounding commutes with them.
LAYOUT_OPS = (Reshape, Permute)


class Structure:
    """Who reads what in a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._users = graph.users()

    def users(self, node: Node) -> list[Node]:
        """The nodes that read ``node``."""
        return self._users[node.name]

    def sole_user(self, node: Node) -> Node | None:
        """The node that reads ``node``, if it is the only one and the value does not leave the graph."""
        users = self._users[node.name]
        return users[0] if len(users) == 1 and node.name not in self.graph.outputs else None

    def producer(self, node: Node, index: int = 0) -> Node:
        """The node that produces an input of ``node``."""
        return self.graph[node.inputs[index]]

    def private(self, node: Node) -> bool:
        """Whether ``node``'s value is unrounded and read by one node only, so that it may be fused away."""
        return node.quant is None and self.sole_user(node) is not None


def substitute(
    graph: Graph,
    replacements: Mapping[str, Sequence[Node]] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> Graph:
    """Replace nodes and redirect their readers.

    Args:
        graph: the graph to change.
        replacements: for a node's name, the nodes that take its place in the order.
        aliases: value names that are to be read under another name; chains are followed.
    """
    redirect = dict(aliases or {})

    def resolve(name: str) -> str:
        while name in redirect:
            name = redirect[name]
        return name

    nodes = [new for node in graph for new in (replacements or {}).get(node.name, (node,))]
    rewired = [replace(node, inputs=tuple(map(resolve, node.inputs))) for node in nodes]
    return graph.with_nodes(rewired, tuple(map(resolve, graph.outputs)))
