"""Normalise the channels of each head before the heads are split, as groups of channels. Exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qvit_hls.ir.float_ops import LayerNorm, Permute, Reshape
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.merge_layout import merge_layout
from qvit_hls.ir.passes.rewrite import Structure, substitute

_SPLIT = (1, 0, 2)  # [tokens, heads, d] -> [heads, tokens, d]


def norms_of_heads(graph: Graph) -> Graph:
    """``LayerNorm(split_heads(x)) -> split_heads(LayerNorm(x))``, over groups (normalised queries, keys)."""
    structure = Structure(graph)
    replacements: dict[str, list[Node]] = {}
    for node in graph:
        if not isinstance(node.op, LayerNorm) or len(node.shape) != 3:
            continue
        split = structure.producer(node)
        layout: tuple[Node, ...] = ()
        if isinstance(split.op, Permute) and split.op.order == _SPLIT and split.quant is None:
            layout, split = (split,), structure.producer(split)
        whole = structure.producer(split) if isinstance(split.op, Reshape) else split
        if split.quant is not None or len(split.shape) != 3 or len(whole.shape) != 2:
            continue
        tokens, heads, width = split.shape
        if whole.shape != (tokens, heads * width):
            continue
        weight, bias = (None if a is None else np.tile(a, heads) for a in (node.op.weight, node.op.bias))
        op = LayerNorm(node.op.eps, weight, bias, heads)
        made = [
            Node(f"{node.name}.heads", op, (whole.name,), whole.shape, node.quant, node.source),
            replace(split, name=f"{node.name}.split", inputs=(f"{node.name}.heads",)),
        ]
        made += [replace(step, name=f"{node.name}.order", inputs=(made[-1].name,)) for step in layout]
        made[-1] = replace(made[-1], name=node.name)
        replacements[node.name] = made
    return merge_layout(substitute(graph, replacements))
