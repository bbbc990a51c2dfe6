"""Drop nodes that no output depends on. Bit-equal."""

from __future__ import annotations

from qvit_hls.ir.float_ops import Input
from qvit_hls.ir.graph import Graph


def eliminate_dead(graph: Graph) -> Graph:
    """Keep what the outputs depend on, and the inputs."""
    live = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node.name in live:
            live.update(node.inputs)
    return graph.with_nodes([n for n in graph if n.name in live or isinstance(n.op, Input)])
