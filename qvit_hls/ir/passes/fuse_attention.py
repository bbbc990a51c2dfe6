"""Recognise multi-head attention: heads split, q k^T scaled, softmax, times v, heads merged.

Equal within float rounding.
"""

from __future__ import annotations

from qvit_hls.ir.float_ops import AttentionContext, AttentionScores, Softmax
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.attention_pattern import attention_names, match_context, match_scores
from qvit_hls.ir.passes.eliminate_dead import eliminate_dead
from qvit_hls.ir.passes.rewrite import Structure, substitute


def fuse_attention(graph: Graph) -> Graph:
    """Replace each recognised attention by AttentionScores, Softmax and AttentionContext.

    Queries may be fewer than keys (class attention), and a constant may be added to the scores.
    """
    structure = Structure(graph)
    replacements: dict[str, list[Node]] = {}
    aliases: dict[str, str] = {}
    for softmax in graph:
        if not isinstance(softmax.op, Softmax):
            continue
        top = structure.producer(softmax)
        scores = match_scores(structure, top)
        context = match_context(structure, softmax)
        if scores is None or context is None or scores.heads != context.heads:
            continue
        names, source = attention_names(structure, scores, softmax), scores.product.source
        scores_op = AttentionScores(scores.heads, scores.scale, scores.bias)
        replacements[top.name] = [
            Node(names[0], scores_op, (scores.q, scores.k), top.shape, top.quant, source)
        ]
        replacements[context.merged.name] = [
            Node(
                names[1],
                AttentionContext(context.heads),
                (softmax.name, context.v),
                context.merged.shape,
                context.merged.quant or context.product.quant,
                source,
            )
        ]
        aliases[top.name] = names[0]
        aliases[context.merged.name] = names[1]
    return eliminate_dead(substitute(graph, replacements, aliases))
