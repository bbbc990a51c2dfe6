"""A convolution whose stride is its kernel becomes Patches and Linear. Equal within float rounding."""

from __future__ import annotations

from qvit_hls.ir.float_ops import Conv2d, Linear, Patches, Permute, Reshape
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.rewrite import Structure, substitute


def legalize_patch_embedding(graph: Graph) -> Graph:
    """Conv2d, flatten, transpose -> Patches, Linear; other convolutions stay as they are."""
    structure = Structure(graph)
    replacements: dict[str, list[Node]] = {}
    aliases: dict[str, str] = {}
    for node in graph:
        if not isinstance(node.op, Conv2d):
            continue
        op = node.op
        rows, _, height, width = op.weight.shape
        _, image_height, image_width = structure.producer(node).shape
        if (
            not (height == width == op.stride[0] == op.stride[1])
            or image_height % height
            or image_width % width
        ):
            continue
        flat = structure.sole_user(node)
        tokens = structure.sole_user(flat) if flat is not None and structure.private(flat) else None
        if flat is None or tokens is None or tokens.quant is not None:
            continue
        count = node.shape[1] * node.shape[2]
        if not (isinstance(flat.op, Reshape) and flat.shape == (rows, count)):
            continue
        if not (isinstance(tokens.op, Permute) and tokens.op.order == (1, 0)):
            continue
        patches = Patches(height)
        shape = patches.infer_shape((structure.producer(node).shape,))
        linear = Linear(op.weight.reshape(rows, -1), op.bias, op.row_scale, op.row_bits)
        replacements[node.name] = [
            Node(f"{node.name}.patches", patches, node.inputs, shape, source=node.source),
            Node(node.name, linear, (f"{node.name}.patches",), tokens.shape, node.quant, node.source),
        ]
        replacements[flat.name] = replacements[tokens.name] = []
        aliases[tokens.name] = node.name
    return substitute(graph, replacements, aliases)
