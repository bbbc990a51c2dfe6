"""Take tokens apart before constants are added to them and joined with them. Exact.

Where registers are put between the class token and the patches (DINOv2), what is taken apart has constants in
it already; behind this pass, tokens that do not depend on the image are constants again.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qvit_hls.ir.float_ops import Add, ConcatTokens, Constant, Slice, TakeToken
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.eliminate_dead import eliminate_dead
from qvit_hls.ir.passes.rewrite import substitute


def tokens_of_embeddings(graph: Graph) -> Graph:
    """``take(x + c)`` -> ``take(x) + take(c)``, ``take(concat(c, x))`` -> ``concat(take(c), take(x))``."""
    while (found := _next(graph)) is not None:
        node, nodes = found
        aliases = {node.name: nodes} if isinstance(nodes, str) else None
        graph = substitute(graph, {node.name: [] if isinstance(nodes, str) else nodes}, aliases)
    return eliminate_dead(graph)


def _next(graph: Graph) -> tuple[Node, list[Node] | str] | None:
    """A node, and what takes its place: nodes, or the name of a value that it is equal to."""
    for node in graph:
        if node.quant is not None or not node.inputs:
            continue
        values = [graph[name] for name in node.inputs]
        if isinstance(node.op, Add) and all(isinstance(value.op, Constant) for value in values):
            return node, [_constant(node.name, _value(values[0]) + _value(values[1]), node.source)]
        tokens = _tokens(node)
        if tokens is None or values[0].quant is not None or len(values[0].shape) != 2:
            continue
        replacement = _taken(graph, node, values[0], *tokens)
        if replacement is not None:
            return node, replacement
    return None


def _taken(graph: Graph, node: Node, value: Node, start: int, stop: int) -> list[Node] | str | None:
    """Tokens ``start .. stop - 1`` of ``value``, if constants are in it."""
    if isinstance(value.op, Constant):
        return [_constant(node.name, _value(value)[start:stop], value.source)]
    inputs = [graph[name] for name in value.inputs]
    if isinstance(value.op, Add) and isinstance(inputs[1].op, Constant):
        added = np.broadcast_to(_value(inputs[1]), value.shape)[start:stop]
        part = _take(f"{node.name}.tokens", inputs[0], start, stop)
        constant = _constant(f"{node.name}.constant", added, inputs[1].source)
        total = Node(node.name, Add(), (part.name, constant.name), node.shape, source=value.source)
        return [part, constant, total]
    if not isinstance(value.op, ConcatTokens) or not any(isinstance(x.op, Constant) for x in inputs):
        return None
    parts: list[Node] = []
    names: list[str] = []
    first = 0
    for index, x in enumerate(inputs):
        low, high = max(start - first, 0), min(stop - first, x.shape[0])
        first += x.shape[0]
        if (low, high) == (0, x.shape[0]):
            names.append(x.name)
        elif low < high:
            parts.append(_take(f"{node.name}.{index}", x, low, high))
            names.append(parts[-1].name)
    if len(names) > 1:
        return [*parts, Node(node.name, ConcatTokens(), tuple(names), node.shape, source=value.source)]
    return [replace(parts[0], name=node.name)] if parts else names[0]


def _take(name: str, x: Node, start: int, stop: int) -> Node:
    op = TakeToken(start) if stop - start == 1 else Slice(0, start, stop)
    return Node(name, op, (x.name,), (stop - start, x.shape[1]), source=x.source)


def _constant(name: str, value: np.ndarray, source: str) -> Node:
    value = np.array(value)
    return Node(name, Constant(value), (), value.shape, source=source)


def _value(node: Node) -> np.ndarray:
    assert isinstance(node.op, Constant)
    return node.op.value


def _tokens(node: Node) -> tuple[int, int] | None:
    """Which tokens a node takes."""
    if isinstance(node.op, TakeToken):
        return node.op.index, node.op.index + 1
    if isinstance(node.op, Slice) and node.op.axis == 0 and len(node.shape) == 2:
        return node.op.start, node.op.stop
    return None
