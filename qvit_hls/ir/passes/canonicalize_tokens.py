"""Keep a single token a sequence of one, as the hardware sees it, up to the model's output.

Equal within float rounding (matrix products of other shapes may sum in another order).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from qvit_hls.ir.float_ops import (
    Add,
    ConcatChannels,
    Constant,
    Elementwise,
    FakeQuantize,
    LayerNorm,
    Linear,
    Reshape,
    Scale,
)
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.merge_layout import merge_layout

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
        drops_axis = isinstance(node.op, Reshape) and graph[source].shape == (1, *node.shape)
        if drops_axis and node.quant is None and source not in squeezed:
            squeezed[node.name] = source, node
        elif _works_on_tokens(graph, node, squeezed):
            as_tokens = tuple(squeezed[name][0] if name in squeezed else name for name in node.inputs)
            emit(replace(node, inputs=as_tokens, shape=(1, *node.shape)))
            reshape = Reshape(node.shape)
            name = f"{node.name}.reshape"
            squeezed[node.name] = node.name, Node(name, reshape, (node.name,), node.shape, source=node.source)
        else:
            emit(replace(node, inputs=tuple(map(read, node.inputs))))
    return merge_layout(graph.with_nodes(nodes, tuple(map(read, graph.outputs))))


def _works_on_tokens(graph: Graph, node: Node, squeezed: Mapping[str, object]) -> bool:
    """Whether ``node``, which computes ``[c]``, computes the same from sequences of one token."""
    if isinstance(node.op, ConcatChannels):
        return all(name in squeezed for name in node.inputs)
    if isinstance(node.op, Add):
        # A constant [c] broadcasts; two of the model's values must both be tokens.
        return node.inputs[0] in squeezed and all(
            name in squeezed
            or (isinstance(graph[name].op, Constant) and graph[name].shape in ((), node.shape))
            for name in node.inputs
        )
    return bool(node.inputs) and node.inputs[0] in squeezed and isinstance(node.op, _PER_TOKEN)
