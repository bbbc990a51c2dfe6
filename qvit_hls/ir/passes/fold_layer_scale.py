"""Fold a product with constants (LayerScale, attention scale) into the Linear before it.

Equal within float rounding.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qvit_hls.ir.float_ops import Linear, Scale
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.linear_rows import scale_rows
from qvit_hls.ir.passes.rewrite import Structure, substitute


def fold_layer_scale(graph: Graph) -> Graph:
    """Linear, Scale -> Linear, where nothing else reads the unscaled value and it is not rounded."""
    structure = Structure(graph)
    folded: dict[str, Node] = {}
    aliases: dict[str, str] = {}
    for node in graph:
        if not isinstance(node.op, Scale):
            continue
        source = aliases.get(node.inputs[0], node.inputs[0])
        linear = folded.get(source, graph[source])
        if not isinstance(linear.op, Linear) or linear.quant is not None:
            continue
        if structure.sole_user(structure.producer(node)) is not node:
            continue
        op = scale_rows(linear.op, np.broadcast_to(node.op.factor, linear.shape[-1:]))
        folded[linear.name] = replace(linear, op=op, quant=node.quant)
        aliases[node.name] = linear.name
    removed: dict[str, list[Node]] = {name: [] for name in aliases}
    return substitute(graph, {**{name: [node] for name, node in folded.items()}, **removed}, aliases)
