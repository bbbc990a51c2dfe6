"""Fold convolutions of single pixels before the patches into the patches' layer. Equal within float rounding.

A network that normalises its image, a factor and a term per colour, is imported with one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qvit_hls.ir.float_ops import Conv2d, Linear, Patches
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.eliminate_dead import eliminate_dead
from qvit_hls.ir.passes.rewrite import Structure, substitute


def fold_pixel_convolutions(graph: Graph) -> Graph:
    """``Linear(patches(M x + m)) -> Linear'(patches(x))``, where only such layers read the patches."""
    while (found := _next(graph)) is not None:
        graph = eliminate_dead(substitute(graph, {node.name: [node] for node in found}))
    return graph


def _next(graph: Graph) -> list[Node] | None:
    """Patches of a convolution of single pixels, and the layers that read them, as they are without it."""
    structure = Structure(graph)
    for node in graph:
        if not isinstance(node.op, Patches):
            continue
        pixels, layers = structure.producer(node), structure.users(node)
        if not isinstance(pixels.op, Conv2d) or not pixels.op.of_single_pixels:
            continue
        if pixels.quant is not None or node.quant is not None:
            continue
        if all(isinstance(layer.op, Linear) and layer.op.row_scale is None for layer in layers):
            return [replace(node, inputs=pixels.inputs), *(_folded(layer, pixels) for layer in layers)]
    return None


def _folded(layer: Node, pixels: Node) -> Node:
    assert isinstance(layer.op, Linear) and isinstance(pixels.op, Conv2d)
    mixing = pixels.op.weight[:, :, 0, 0].astype(np.float64)
    by_colour = layer.op.weight.astype(np.float64).reshape(len(layer.op.weight), len(mixing), -1)
    weight = np.einsum("rci,cd->rdi", by_colour, mixing).reshape(len(by_colour), -1)
    bias = np.zeros(len(weight)) if layer.op.bias is None else layer.op.bias.astype(np.float64)
    if pixels.op.bias is not None:
        bias = bias + by_colour.sum(axis=2) @ pixels.op.bias.astype(np.float64)
    return replace(layer, op=replace(layer.op, weight=weight, bias=bias))
