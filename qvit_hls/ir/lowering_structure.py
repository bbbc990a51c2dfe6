"""What the engine has no operation for, whatever the grids of the values are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qvit_hls.ir import float_ops as ops
from qvit_hls.ir.dyadic import channel_shifts
from qvit_hls.ir.graph import Graph, Node, Op
from qvit_hls.ir.integer_ops import MAX_CHANNEL_SHIFT
from qvit_hls.ir.passes.fold_layer_norm_affine import folding_obstacle
from qvit_hls.ir.passes.rewrite import LAYOUT_OPS


def structural_obstacle(graph: Graph, node: Node) -> str | None:
    """Why ``node`` of a float graph cannot run on the engine, or None; follows its name and a colon."""
    rule = _OBSTACLES.get(type(node.op))
    return rule(graph, node) if rule is not None else None


def explained_by(graph: Graph, node: Node, reported: set[str]) -> bool:
    """Whether ``node`` only moves data to or from a node that is reported already, or is one such step."""
    if not isinstance(node.op, LAYOUT_OPS):
        return False
    users = graph.users()
    seen, waiting = {node.name}, [node.name]
    while waiting:
        current = graph[waiting.pop()]
        for name in (*current.inputs, *(user.name for user in users[current.name])):
            if name in reported:
                return True
            if name not in seen and isinstance(graph[name].op, LAYOUT_OPS):
                seen.add(name)
                waiting.append(name)
    return False


def _layer_norm(graph: Graph, node: Node) -> str | None:
    assert isinstance(node.op, ops.LayerNorm)
    if len(node.shape) != 2:
        return f"it normalises values of shape {list(node.shape)}; the engine normalises whole tokens"
    weight, bias = node.op.weight, node.op.bias
    if bias is None and (weight is None or channel_shifts(weight) is not None):
        return None
    reason = folding_obstacle(graph, node)
    obstacle = (
        f"weight and bias cannot be folded into the next layers, because {reason}"
        if reason
        else "weight and bias have not been folded into the next layers"
    )
    allowed = f"no bias, and weights that are powers of two from 2**-{MAX_CHANNEL_SHIFT} to 1"
    return f"{obstacle}; the engine's LayerNorm has {allowed}"


def _slice(graph: Graph, node: Node) -> str | None:
    assert isinstance(node.op, ops.Slice)
    size = graph[node.inputs[0]].shape[node.op.axis]
    if node.op.axis == 0 and len(node.shape) == 2:
        return None
    return f"it takes {node.op.stop - node.op.start} of {size} elements of dimension {node.op.axis}"


def _conv2d(graph: Graph, node: Node) -> str:
    assert isinstance(node.op, ops.Conv2d)
    height, width = node.op.weight.shape[2:]
    image = graph[node.inputs[0]].shape[1:]
    if height == width == node.op.stride[0] == node.op.stride[1] and (image[0] % height or image[1] % width):
        return (
            f"its patches of {height} x {width} pixels do not divide the image of {image[0]} x {image[1]}; "
            "take an image whose sides are multiples"
        )
    return "a convolution is supported only as patch embedding, its stride equal to its square kernel"


def _concat_tokens(graph: Graph, node: Node) -> str | None:
    constant = [isinstance(graph[name].op, ops.Constant) for name in node.inputs]
    if constant == sorted(constant, reverse=True):
        return None
    return "it joins a constant behind tokens that depend on the image; it must be before"


def _matmul(graph: Graph, node: Node) -> str:
    if isinstance(graph[node.inputs[0]].op, ops.Constant):
        return (
            "its queries are the same for every image (attention pooling); the engine has one such query, of "
            "keys that are a linear layer"
        )
    return "the product is not part of an attention of the form softmax(scale * q k^T) v over heads"


def _always(reason: str) -> Callable[[Graph, Node], str]:
    return lambda graph, node: reason


#: What may stand against each operation. Embeddings are recognised before.
_OBSTACLES: Mapping[type[Op], Callable[[Graph, Node], str | None]] = {
    ops.LayerNorm: _layer_norm,
    ops.Slice: _slice,
    ops.FakeQuantize: _always(
        "the value is rounded to two grids, or is also read unrounded; "
        "a value must be rounded to one grid for all that read it"
    ),
    ops.Conv2d: _conv2d,
    ops.ConcatTokens: _concat_tokens,
    ops.MatMul: _matmul,
    ops.ConcatChannels: _always("it joins channels for other readers than linear layers"),
    ops.Scale: _always("the factor does not follow a linear layer or attention scores directly"),
}
