"""Put operands of matrix products that something else reads, too, on the residual stream. Exact.

LayerNorms, tables, attention and the image's patches write to the activation memory, where only matrix
products read; only matrix products write to the residual stream, where sums, means and LayerNorms read. An
identity matrix leads from one to the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from qvit_hls.ir.float_ops import AttentionContext, Elementwise, LayerNorm, Linear, Patches, TakeToken
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.rewrite import substitute

_OPERANDS = (LayerNorm, Elementwise, AttentionContext, Patches)


def operands_onto_stream(graph: Graph) -> Graph:
    """``f(operand) -> f(I operand)`` where f is no linear layer; I is one, the identity.

    CLIP has a LayerNorm before its first block, networks with post-norm blocks one behind each branch, SigLIP
    one before it averages the tokens. ``fold_layer_norm_affine`` makes of the identity a diagonal of the
    weights, and a bias. Elementwise functions, which become tables behind a product, get an identity each.
    A value with a grid stays as it is.
    """
    users = graph.users()
    identities: dict[str, list[Node]] = {}
    inputs: dict[str, dict[str, str]] = {}
    outputs: dict[str, str] = {}
    for node in graph:
        if not isinstance(node.op, _OPERANDS) or node.quant is not None or len(node.shape) != 2:
            continue
        for reader in (user for user in users[node.name] if isinstance(user.op, Elementwise)):
            layer = identity(f"{reader.name}.input", node)
            identities.setdefault(node.name, [node]).append(layer)
            inputs.setdefault(reader.name, {})[node.name] = layer.name
        others = [
            user
            for user in users[node.name]
            if not isinstance(user.op, Elementwise) and not _is_operand_of(user, users)
        ]
        if others or node.name in graph.outputs:
            layer = identity(f"{node.name}.stream", node)
            identities.setdefault(node.name, [node]).append(layer)
            outputs[node.name] = layer.name
            for reader in others:
                inputs.setdefault(reader.name, {})[node.name] = layer.name
    nodes = [reading(node, inputs.get(node.name, {})) for node in substitute(graph, identities)]
    return graph.with_nodes(nodes, tuple(outputs.get(name, name) for name in graph.outputs))


def identity(name: str, of: Node) -> Node:
    """A linear layer that computes what it reads, exactly with 4-bit rows."""
    return Node(name, Linear(np.eye(of.shape[-1], dtype=np.float32)), (of.name,), of.shape, source=of.source)


def reading(node: Node, names: Mapping[str, str]) -> Node:
    """``node`` with some of its inputs under other names."""
    return replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))


def _is_operand_of(reader: Node, users: Mapping[str, list[Node]]) -> bool:
    """Whether ``reader`` is a linear layer, or takes the first token, at no cost, for such layers."""
    if isinstance(reader.op, TakeToken) and reader.op.index == 0:
        return all(_is_operand_of(user, users) for user in users[reader.name])
    return isinstance(reader.op, Linear)
