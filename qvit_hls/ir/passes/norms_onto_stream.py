"""Put LayerNorms whose values are added, averaged or normalised again on the residual stream. Exact.

The engine's LayerNorm makes operands of matrix products. Only matrix products write to the residual stream,
where sums are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from qvit_hls.ir.float_ops import LayerNorm, Linear, TakeToken
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.rewrite import substitute


def norms_onto_stream(graph: Graph) -> Graph:
    """``f(LayerNorm(x)) -> f(I LayerNorm(x))`` where f is no linear layer; I is one, the identity.

    CLIP has such a LayerNorm before its first block, networks with post-norm blocks one behind each branch,
    SigLIP one before it averages the tokens.
    ``fold_layer_norm_affine`` makes of the identity a diagonal of the weights, and a bias. A LayerNorm whose
    value has a grid stays as it is.
    """
    users = graph.users()
    identities: dict[str, list[Node]] = {}
    inputs: dict[str, dict[str, str]] = {}
    for norm in graph:
        rounded = norm.quant is not None
        if (
            not isinstance(norm.op, LayerNorm)
            or rounded
            or len(norm.shape) != 2
            or norm.name in graph.outputs
        ):
            continue
        others = [user for user in users[norm.name] if not _is_operand_of(user, users)]
        if others:
            layer = Linear(np.eye(norm.shape[-1], dtype=np.float32))
            value = Node(f"{norm.name}.stream", layer, (norm.name,), norm.shape, source=norm.source)
            identities[norm.name] = [norm, value]
            for reader in others:
                inputs.setdefault(reader.name, {})[norm.name] = value.name
    nodes = [_reading(node, inputs.get(node.name, {})) for node in substitute(graph, identities)]
    return graph.with_nodes(nodes)


def _is_operand_of(reader: Node, users: Mapping[str, list[Node]]) -> bool:
    """Whether ``reader`` is a linear layer, or takes a token for such layers only."""
    if isinstance(reader.op, TakeToken):
        return all(_is_operand_of(user, users) for user in users[reader.name])
    return isinstance(reader.op, Linear)


def _reading(node: Node, names: Mapping[str, str]) -> Node:
    return replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))
