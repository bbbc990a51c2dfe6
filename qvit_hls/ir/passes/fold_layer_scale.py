"""Fold a product with constants (LayerScale, attention scale) into the Linear before it.

Equal within float rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from qvit_hls.ir.float_ops import Add, Linear, Scale
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.linear_rows import scale_rows
from qvit_hls.ir.passes.rewrite import Structure, substitute


def fold_layer_scale(graph: Graph) -> Graph:
    """Linear, Scale -> Linear, where nothing else reads the unscaled value and it is not rounded.

    A factor of a sum of such layers goes into each of them (two classifiers, averaged).
    """
    structure = Structure(graph)
    changed: dict[str, Node] = {}
    aliases: dict[str, str] = {}
    for node in graph:
        if not isinstance(node.op, Scale):
            continue
        source = aliases.get(node.inputs[0], node.inputs[0])
        if structure.sole_user(structure.producer(node)) is not node:
            continue
        linears = _terms(structure, changed, source)
        if linears is None:
            continue
        for linear in linears:
            assert isinstance(linear.op, Linear)
            op = scale_rows(linear.op, np.broadcast_to(node.op.factor, linear.shape[-1:]))
            changed[linear.name] = replace(linear, op=op)
        changed[source] = replace(changed.get(source, graph[source]), quant=node.quant)
        aliases[node.name] = source
    removed: dict[str, list[Node]] = {name: [] for name in aliases}
    return substitute(graph, {**{name: [node] for name, node in changed.items()}, **removed}, aliases)


def _terms(structure: Structure, changed: Mapping[str, Node], name: str) -> list[Node] | None:
    """The Linear layers whose unrounded sum a value is, or None if it is no such sum."""
    node = changed.get(name, structure.graph[name])
    if node.quant is not None:
        return None
    if isinstance(node.op, Linear):
        return [node]
    if not isinstance(node.op, Add) or len(set(node.inputs)) < len(node.inputs):
        return None
    terms: list[Node] = []
    for value in node.inputs:
        found = _terms(structure, changed, value)
        if found is None or structure.sole_user(structure.graph[value]) is None:
            return None
        terms += found
    return terms
