"""Recognise multi-head attention: heads split, q k^T scaled, softmax, times v, heads merged.

Equal within float rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

from qvit_hls.ir.float_ops import (
    AttentionContext,
    AttentionScores,
    MatMul,
    Permute,
    Reshape,
    Scale,
    Softmax,
)
from qvit_hls.ir.graph import Graph, Node, with_quant
from qvit_hls.ir.passes.eliminate_dead import eliminate_dead
from qvit_hls.ir.passes.rewrite import Structure, substitute

_SPLIT = (1, 0, 2)  # [tokens, heads, d] -> [heads, tokens, d], and back
_SPLIT_TRANSPOSED = (1, 2, 0)  # [tokens, heads, d] -> [heads, d, tokens]


def fuse_attention(graph: Graph) -> Graph:
    """Replace each recognised attention by AttentionScores, Softmax and AttentionContext."""
    structure = Structure(graph)
    replacements: dict[str, list[Node]] = {}
    aliases: dict[str, str] = {}
    for softmax in graph:
        if not isinstance(softmax.op, Softmax):
            continue
        top = structure.producer(softmax)
        scores = _match_scores(structure, top)
        context = _match_context(structure, softmax)
        if scores is None or context is None or scores.heads != context.heads:
            continue
        prefix = f"{scores.product.source}." if scores.product.source else ""
        scores_op, context_op = AttentionScores(scores.heads, scores.scale), AttentionContext(context.heads)
        names = f"{prefix}scores", f"{prefix}context"
        if any(name in graph.index for name in names):
            names = f"{softmax.name}.scores", f"{softmax.name}.context"
        source = scores.product.source
        replacements[top.name] = [
            Node(names[0], scores_op, (scores.q, scores.k), top.shape, top.quant, source)
        ]
        replacements[context.merged.name] = [
            Node(
                names[1],
                context_op,
                (softmax.name, context.v),
                context.merged.shape,
                context.merged.quant or context.product.quant,
                source,
            )
        ]
        aliases[top.name] = names[0]
        aliases[context.merged.name] = names[1]
    return eliminate_dead(substitute(graph, replacements, aliases))


@dataclass(frozen=True)
class _Scores:
    product: Node
    q: str
    k: str
    heads: int
    scale: float


@dataclass(frozen=True)
class _Context:
    product: Node
    merged: Node
    v: str
    heads: int


def _match_scores(structure: Structure, top: Node) -> _Scores | None:
    """Match ``scale * (q @ k^T)`` ending in ``top``; scalar factors may stand on q, k or the product."""
    if structure.sole_user(top) is None:
        return None
    product, scale = _strip_scale(structure, with_quant(top, None))
    if not isinstance(product.op, MatMul) or (product.name != top.name and not structure.private(product)):
        return None
    q, q_scale = _strip_scale(structure, structure.producer(product, 0))
    k, k_scale = _strip_scale(structure, structure.producer(product, 1))
    queries, keys = _match_split(structure, q, _SPLIT), _match_split(structure, k, _SPLIT_TRANSPOSED)
    if queries is None or keys is None or queries[1] != keys[1]:
        return None
    return _Scores(product, queries[0], keys[0], queries[1], scale * q_scale * k_scale)


def _strip_scale(structure: Structure, node: Node) -> tuple[Node, float]:
    """Walk up through products with a number that are not rounded; the factor they make together."""
    scale = 1.0
    while isinstance(node.op, Scale) and node.op.factor.size == 1 and node.quant is None:
        scale *= float(node.op.factor)
        node = structure.producer(node)
    return node, scale


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


def _match_context(structure: Structure, softmax: Node) -> _Context | None:
    """Match ``merge_heads(softmax @ v)``."""
    product = structure.sole_user(softmax)
    if product is None or not isinstance(product.op, MatMul) or product.inputs[0] != softmax.name:
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
    return _Context(product, merged, value[0], value[1])
