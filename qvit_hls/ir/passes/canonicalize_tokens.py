"""Keep a single token a sequence of one, as the hardware sees it, up to the model's output.

Equal within float rounding (matrix products of other shapes may sum in another order).
"""

from __future__ import annotations

from dataclasses import replace

from qvit_hls.ir.float_ops import Elementwise, FakeQuantize, LayerNorm, Linear, Reshape, Scale
from qvit_hls.ir.graph import Graph, Node

#: Operations that treat every token alike, so that ``[c]`` and ``[1, c]`` are the same to them.
_PER_TOKEN = (Linear, LayerNorm, Elementwise, Scale, FakeQuantize)


def canonicalize_tokens(graph: Graph) -> Graph:
    """Move ``[1, c] -> [c]`` reshapes (``x[:, 0]``, ``mean(1)``) behind the operations that follow them."""
    nodes: list[Node] = []
    emitted: set[str] = set()
    # Values of shape [c]: the name of the same value as [1, c], and the reshape that makes [c] from it.
    squeezed: dict[str, tuple[str, Node]] = {}

    def emit(node: Node) -> None:
        if node.name not in emitted:
            emitted.add(node.name)
            nodes.append(node)

    def read(name: str) -> str:
        if name not in squeezed:
            return name
        emit(squeezed[name][1])
        return squeezed[name][1].name

    for node in graph:
        source = node.inputs[0] if node.inputs else ""
        if isinstance(node.op, Reshape) and node.quant is None and graph[source].shape == (1, *node.shape):
            squeezed[node.name] = source, node
        elif source in squeezed and isinstance(node.op, _PER_TOKEN):
            emit(replace(node, inputs=(squeezed[source][0],), shape=(1, *node.shape)))
            reshape = Reshape(node.shape)
            name = f"{node.name}.reshape"
            squeezed[node.name] = node.name, Node(name, reshape, (node.name,), node.shape, source=node.source)
        else:
            emit(replace(node, inputs=tuple(map(read, node.inputs))))
    return graph.with_nodes(nodes, tuple(map(read, graph.outputs)))
