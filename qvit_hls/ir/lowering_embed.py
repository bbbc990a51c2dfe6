"""The start of the residual stream: patches, class token and position embedding become one Embed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qvit_hls.ir.float_ops import Add, ConcatTokens, Constant
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.integer_ops import Embed
from qvit_hls.ir.lowering_context import Lowering, Unlowerable, own_quant


@dataclass(frozen=True, eq=False)
class Embedding:
    """``constant[t] + value[t - offset]``; tokens before ``offset`` are the constant alone.

    Attributes:
        value: name of the patch tokens.
        constant: float64 ``[tokens, channels]``.
        offset: tokens in front of the patches.
    """

    value: str
    constant: np.ndarray
    offset: int = 0


def find_embeddings(graph: Graph) -> tuple[Mapping[str, Embedding], set[str]]:
    """Sums and concatenations of a value with constants, and the unrounded steps inside them."""
    users = graph.users()
    found: dict[str, Embedding] = {}
    absorbed: set[str] = set()
    for node in reversed(graph.nodes):
        if isinstance(node.op, Add | ConcatTokens) and node.name not in absorbed:
            steps: list[str] = []
            expression = _combine(graph, users, node, steps)
            if isinstance(expression, Embedding):
                found[node.name] = expression
                absorbed.update(steps)
    return found, absorbed


def _combine(
    graph: Graph, users: Mapping[str, list[Node]], node: Node, steps: list[str]
) -> Embedding | np.ndarray | None:
    """What ``node`` adds or concatenates, as one expression; None if it is not one value and constants."""
    parts = [_expression(graph, users, graph[name], steps) for name in node.inputs]
    values = [part for part in parts if isinstance(part, Embedding)]
    constants = [part for part in parts if isinstance(part, np.ndarray)]
    if len(values) != 1 or len(constants) != len(parts) - 1:
        return None
    (value,) = values
    if isinstance(node.op, Add):
        constant = np.broadcast_to(sum(constants, start=value.constant), node.shape)
        return Embedding(value.value, constant, value.offset)
    if value.offset or parts[-1] is not value:
        return None
    return Embedding(value.value, np.concatenate([*constants, value.constant]), sum(map(len, constants)))


def _expression(
    graph: Graph, users: Mapping[str, list[Node]], node: Node, steps: list[str]
) -> Embedding | np.ndarray | None:
    if isinstance(node.op, Constant):
        return node.op.value.astype(np.float64)
    private = node.quant is None and len(users[node.name]) == 1 and node.name not in graph.outputs
    if isinstance(node.op, Add | ConcatTokens) and private:
        steps.append(node.name)
        return _combine(graph, users, node, steps)
    return Embedding(node.name, np.zeros(node.shape))


def lower_embedding(context: Lowering, node: Node, embedding: Embedding) -> None:
    """Emit Embed: the constant on the residual grid, its rows before the patches included."""
    quant = own_quant(node)
    patches = context.input_quant(embedding.value)
    if patches != quant:
        raise Unlowerable(
            f"the patch embedding has steps of {patches.scale:.6g} up to {patches.qmax}, the sum with the "
            f"position embedding {quant.scale:.6g} up to {quant.qmax}; both must be on one grid"
        )
    codes = np.floor(embedding.constant / quant.scale + 0.5).clip(-quant.qmax, quant.qmax).astype(np.int32)
    context.emit(node, Embed(codes, embedding.offset, quant.qmax), (embedding.value,), quant)
