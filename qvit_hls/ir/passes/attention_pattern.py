"""How multi-head attention looks in a traced graph: what the passes that fuse it look for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qvit_hls.ir.float_ops import Add, Constant, MatMul, Permute, Reshape, Scale
from qvit_hls.ir.graph import Node, with_quant
from qvit_hls.ir.passes.rewrite import Structure

_SPLIT = (1, 0, 2)  # [tokens, heads, d] -> [heads, tokens, d], and back
_SPLIT_TRANSPOSED = (1, 2, 0)  # [tokens, heads, d] -> [heads, d, tokens]


@dataclass(frozen=True, eq=False)
class Scores:
    """``scale * q @ k^T + bias``.

    Attributes:
        product: the matrix product.
        q, k: names of the values ``[tokens, heads * head_dim]``.
        bias: ``[heads, queries, keys]`` or None.
    """

    product: Node
    q: str
    k: str
    heads: int
    scale: float
    bias: np.ndarray | None


@dataclass(frozen=True)
class Context:
    """``merge_heads(probabilities @ v)``.

    Attributes:
        product: the matrix product.
        merged: the node that makes its value ``[tokens, heads * head_dim]``.
        v: name of the value ``[tokens, heads * head_dim]``.
    """

    product: Node
    merged: Node
    v: str
    heads: int


def match_scores(structure: Structure, top: Node) -> Scores | None:
    """Match scores ending in ``top``.

    Factors may stand on q, k or the product, and constants may be added behind it.
    """
    if structure.sole_user(top) is None:
        return None
    product, scale, bias = _strip_affine(structure, with_quant(top, None))
    if not isinstance(product.op, MatMul) or (product.name != top.name and not structure.private(product)):
        return None
    q, q_scale, q_bias = _strip_affine(structure, structure.producer(product, 0))
    k, k_scale, k_bias = _strip_affine(structure, structure.producer(product, 1))
    queries, keys = _match_split(structure, q, _SPLIT), _match_split(structure, k, _SPLIT_TRANSPOSED)
    if queries is None or keys is None or queries[1] != keys[1] or q_bias is not None or k_bias is not None:
        return None
    if bias is not None:
        bias = np.broadcast_to(bias, product.shape).copy()
    return Scores(product, queries[0], keys[0], queries[1], scale * q_scale * k_scale, bias)


def _strip_affine(structure: Structure, node: Node) -> tuple[Node, float, np.ndarray | None]:
    """Walk up through unrounded products with numbers and sums with constants; ``scale * value + bias``."""
    scale, bias = 1.0, None
    while node.quant is None:
        if isinstance(node.op, Scale) and node.op.factor.size == 1:
            scale *= float(node.op.factor)
        elif isinstance(node.op, Add) and isinstance(structure.producer(node, 1).op, Constant):
            constant = structure.producer(node, 1).op
            assert isinstance(constant, Constant)
            term = scale * constant.value.astype(np.float64)
            bias = term if bias is None else bias + term
        else:
            break
        node = structure.producer(node)
    return node, scale, bias


def _match_split(structure: Structure, node: Node, order: tuple[int, ...]) -> tuple[str, int] | None:
    """Match Reshape ``[tokens, heads, d]`` and Permute; the value before it and the number of heads."""
    if not isinstance(node.op, Permute) or node.op.order != order or node.quant is not None:
        return None
    split = structure.producer(node)
    if not isinstance(split.op, Reshape) or split.quant is not None or len(split.shape) != 3:
        return None
    tokens, heads, head_dim = split.shape
    whole = structure.producer(split)
    return (whole.name, heads) if whole.shape == (tokens, heads * head_dim) else None


def match_context(structure: Structure, probabilities: Node) -> Context | None:
    """Match the product with values that alone reads ``probabilities``."""
    product = structure.sole_user(probabilities)
    if product is None or not isinstance(product.op, MatMul) or product.inputs[0] != probabilities.name:
        return None
    value = _match_split(structure, structure.producer(product, 1), _SPLIT)
    permute = structure.sole_user(product)
    merged = structure.sole_user(permute) if permute is not None else None
    if value is None or permute is None or merged is None:
        return None
    if not isinstance(permute.op, Permute) or permute.op.order != _SPLIT or permute.quant is not None:
        return None
    tokens, heads, head_dim = permute.shape
    if not isinstance(merged.op, Reshape) or merged.shape != (tokens, heads * head_dim):
        return None
    if merged.quant is not None and product.quant is not None:
        return None
    return Context(product, merged, value[0], value[1])


def attention_names(structure: Structure, scores: Scores, softmax: Node) -> tuple[str, str]:
    """Names for the scores and the context: after the module, or the softmax where that is taken."""
    prefix = f"{scores.product.source}." if scores.product.source else ""
    names = f"{prefix}scores", f"{prefix}context"
    if any(name in structure.graph.index for name in names):
        names = f"{softmax.name}.scores", f"{softmax.name}.context"
    return names
