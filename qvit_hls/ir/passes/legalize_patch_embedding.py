"""A convolution whose stride is its kernel becomes Patches and Linear. Equal within float rounding."""

from __future__ import annotations

import math

import numpy as np

from qvit_hls.ir.float_ops import Conv2d, Linear, Patches
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.layout_indices import MOVEMENT, moved
from qvit_hls.ir.passes.rewrite import Structure, substitute


def legalize_patch_embedding(graph: Graph) -> Graph:
    """Conv2d, movements to ``[patches, channels]`` -> Patches, Linear; other convolutions stay."""
    structure = Structure(graph)
    replacements: dict[str, list[Node]] = {}
    aliases: dict[str, str] = {}
    for node in graph:
        if not isinstance(node.op, Conv2d):
            continue
        op = node.op
        rows, _, height, width = op.weight.shape
        image = structure.producer(node)
        if (
            not (height == width == op.stride[0] == op.stride[1])
            or image.shape[1] % height
            or image.shape[2] % width
        ):
            continue
        steps = _to_tokens(structure, node)
        if steps is None:
            continue
        patches = Patches(height)
        shape = patches.infer_shape((image.shape,))
        linear = Linear(op.weight.reshape(rows, -1), op.bias, op.row_scale, op.row_bits)
        replacements[node.name] = [
            Node(f"{node.name}.patches", patches, node.inputs, shape, source=node.source),
            Node(node.name, linear, (f"{node.name}.patches",), steps[-1].shape, node.quant, node.source),
        ]
        for step in steps:
            replacements[step.name] = []
        aliases[steps[-1].name] = node.name
    return substitute(graph, replacements, aliases)


def _to_tokens(structure: Structure, convolution: Node) -> list[Node] | None:
    """The unrounded movements behind a convolution that put its channels last and its patches in one row."""
    index = np.arange(math.prod(convolution.shape)).reshape(convolution.shape)
    tokens = index.reshape(convolution.shape[0], -1).T
    steps: list[Node] = []
    last = convolution
    while not np.array_equal(index, tokens):
        step = structure.sole_user(last)
        if step is None or not isinstance(step.op, MOVEMENT) or step.quant is not None:
            return None
        index, last = moved(step, index), step
        steps.append(step)
    return steps
