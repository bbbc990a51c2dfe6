"""Fold LayerNorm's weight and bias into the Linear layers that read it. Equal within float rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qvit_hls.ir.float_ops import LayerNorm, Linear, MeanTokens, Slice, TakeToken
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.rewrite import substitute


def fold_layer_norm_affine(graph: Graph) -> Graph:
    """``W (g * n + b) + c -> (W * g) n + (W b + c)``; picking or averaging tokens in between commutes.

    A LayerNorm stays as it is where ``folding_obstacle`` says why.
    """
    users = graph.users()
    changed: dict[str, Node] = {}
    for node in graph:
        if not isinstance(node.op, LayerNorm) or (node.op.weight is None and node.op.bias is None):
            continue
        readers, obstacle = linear_readers(node, users, graph.outputs)
        if obstacle:
            continue
        channels = node.shape[-1]
        gain = np.ones(channels) if node.op.weight is None else node.op.weight.astype(np.float64)
        shift = np.zeros(channels) if node.op.bias is None else node.op.bias.astype(np.float64)
        for reader in readers:
            reader = changed.get(reader.name, reader)
            op = reader.op
            assert isinstance(op, Linear)
            bias = op.weight @ shift + (0.0 if op.bias is None else op.bias)
            changed[reader.name] = replace(reader, op=replace(op, weight=op.weight * gain, bias=bias))
        changed[node.name] = replace(node, op=LayerNorm(node.op.eps, groups=node.op.groups))
    return substitute(graph, {name: [node] for name, node in changed.items()})


def folding_obstacle(graph: Graph, node: Node) -> str:
    """Why the weight and bias of a LayerNorm cannot go into the layers that read it; "" if they can."""
    return linear_readers(node, graph.users(), graph.outputs)[1]


def linear_readers(
    node: Node, users: dict[str, list[Node]], outputs: tuple[str, ...]
) -> tuple[list[Node], str]:
    """The linear layers that read a LayerNorm, perhaps through tokens that are taken or averaged.

    Args:
        node: the LayerNorm, or what takes its tokens.
        users: of all values, by name.
        outputs: of the graph.

    Returns:
        The layers, and what stands against folding factors of channels into them ("" if nothing).
    """
    if node.quant is not None:
        return [], "its value is quantized with them; train with elementwise_affine=False instead"
    if node.name in outputs:
        return [], "its value leaves the model"
    found: list[Node] = []
    for user in users[node.name]:
        if isinstance(user.op, Linear):
            if user.op.row_scale is not None:
                return [], f"the weights of {user.name} are already quantized"
            found.append(user)
        elif isinstance(user.op, TakeToken | MeanTokens) or _takes_tokens(user):
            more, reason = linear_readers(user, users, outputs)
            if reason:
                return [], reason
            found += more
        else:
            return [], f"{user.name}, which reads it, is no linear layer"
    return found, ""


def _takes_tokens(node: Node) -> bool:
    return isinstance(node.op, Slice) and node.op.axis == 0 and len(node.shape) == 2
