"""Talking-heads attention (arXiv 2003.02436) as plain attention of wider heads. Equal in real numbers.

Talking heads mix the scores of all heads by a linear layer W before the softmax, and the probabilities P
by a linear layer U with bias b behind it. Both are moved into the layers around the attention:

- ``sum_h W[g, h] q_h k_h^T`` is one product over the channels of all heads: head g reads all keys, and
  queries whose rows are scaled by ``W[g, h]``. W's bias is the same for all keys and the softmax drops it.
- ``(sum_g U[h, g] P_g) v_h`` summed over h by the next linear layer is ``P_g`` times the channels of all
  heads, scaled by ``U[h, g]``, summed over g by that layer, whose columns are repeated.
- b adds ``b[h] sum_j v_h[j]``: one more head whose queries are 0, so that its probabilities are 1/N each,
  and whose values are ``N b[h] v_h``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qvit_hls.ir.float_ops import AttentionContext, AttentionScores, Linear, Permute, Softmax
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.attention_pattern import (
    Context,
    Scores,
    attention_names,
    match_context,
    match_scores,
)
from qvit_hls.ir.passes.eliminate_dead import eliminate_dead
from qvit_hls.ir.passes.linear_rows import scale_rows, take_rows
from qvit_hls.ir.passes.rewrite import Structure, substitute

_HEADS_LAST = (1, 2, 0)  # [heads, queries, keys] -> [queries, keys, heads]
_HEADS_FIRST = (2, 0, 1)


def unmix_talking_heads(graph: Graph) -> Graph:
    """Replace attention with a linear layer over the heads before or behind its softmax.

    Left as it is where a value inside is rounded, or where the layers around it are not Linear.
    """
    structure = Structure(graph)
    replacements: dict[str, list[Node]] = {}
    aliases: dict[str, str] = {}
    for node in graph:
        attention = _match(structure, node) if isinstance(node.op, Softmax) else None
        if attention is not None:
            _rewrite(structure, attention, replacements, aliases)
    return eliminate_dead(substitute(graph, replacements, aliases))


@dataclass(frozen=True, eq=False)
class _TalkingHeads:
    """Attention whose heads are mixed.

    Attributes:
        softmax: the softmax.
        before: the layer W over the heads of the scores, or None.
        behind: the layer U over the heads of the probabilities, or None.
        scores, context: the products, as in plain attention.
        readers: the Linear layers that read the context.
    """

    softmax: Node
    before: Linear | None
    behind: Linear | None
    scores: Scores
    context: Context
    readers: list[Node]

    @property
    def uniform(self) -> np.ndarray | None:
        """b, if it makes a head of equal probabilities necessary."""
        bias = None if self.behind is None else self.behind.bias
        return bias if bias is not None and bias.any() else None


def _match(structure: Structure, softmax: Node) -> _TalkingHeads | None:
    assert isinstance(softmax.op, Softmax)
    mixed = _mixing_up(structure, structure.producer(softmax))
    top, before = mixed or (structure.producer(softmax), None)
    mixing = _mixing_down(structure, softmax)
    probabilities, behind = mixing or (softmax, None)
    if before is None and behind is None:
        return None
    scores, context = match_scores(structure, top), match_context(structure, probabilities)
    if scores is None or context is None or softmax.op.step or softmax.quant is not None:
        return None
    readers = structure.users(context.merged)
    unrounded = context.merged.quant is None and context.product.quant is None and top.quant is None
    values = [structure.graph[name] for name in (scores.q, scores.k, context.v)]
    linear = all(isinstance(node.op, Linear) for node in (*values, *readers))
    if not (unrounded and linear and readers) or any(value.quant is not None for value in values):
        return None
    if context.merged.name in structure.graph.outputs:
        return None
    return _TalkingHeads(softmax, before, behind, scores, context, readers)


def _mixing_up(structure: Structure, top: Node) -> tuple[Node, Linear] | None:
    """The scores whose heads a Linear has mixed into ``top``, and the Linear."""
    linear = structure.producer(top) if _permutes(structure, top, _HEADS_FIRST) else None
    if linear is None or not isinstance(linear.op, Linear) or not structure.private(linear):
        return None
    permute = structure.producer(linear)
    if not _permutes(structure, permute, _HEADS_LAST) or linear.op.row_scale is not None:
        return None
    return structure.producer(permute), linear.op


def _mixing_down(structure: Structure, probabilities: Node) -> tuple[Node, Linear] | None:
    """The value into which a Linear mixes the heads of ``probabilities``, and the Linear."""
    permute = structure.sole_user(probabilities)
    linear = structure.sole_user(permute) if permute is not None else None
    mixed = structure.sole_user(linear) if linear is not None else None
    if permute is None or linear is None or mixed is None:
        return None
    if not _permutes(structure, permute, _HEADS_LAST) or not _permutes(structure, mixed, _HEADS_FIRST):
        return None
    if not isinstance(linear.op, Linear) or linear.quant is not None or linear.op.row_scale is not None:
        return None
    return mixed, linear.op


def _permutes(structure: Structure, node: Node, order: tuple[int, ...]) -> bool:
    return isinstance(node.op, Permute) and node.op.order == order and structure.private(node)


def _rewrite(
    structure: Structure,
    attention: _TalkingHeads,
    replacements: dict[str, list[Node]],
    aliases: dict[str, str],
) -> None:
    """Put plain attention in the place of ``attention``; see the top of this file."""
    softmax, scores, context = attention.softmax, attention.scores, attention.context
    q, k, v = (structure.graph[name] for name in (scores.q, scores.k, context.v))
    assert isinstance(q.op, Linear) and isinstance(k.op, Linear) and isinstance(v.op, Linear)
    queries, keys, scores_op = _unmixed_scores(attention, q.op, k.op)
    values = _unmixed_values(attention, v.op, k.shape[0])
    new_q, new_k, new_v = (
        replace(node, name=f"{node.name}.{part}", op=op, shape=(*node.shape[:-1], len(op.weight)))
        for node, part, op in ((q, "queries", queries), (k, "keys", keys), (v, "values", values))
    )
    names, source = attention_names(structure, scores, softmax), scores.product.source
    shape = scores_op.infer_shape((new_q.shape, new_k.shape))
    merged = q.shape[0], len(values.weight)
    top = structure.producer(softmax)
    replacements[top.name] = [
        new_q,
        new_k,
        Node(names[0], scores_op, (new_q.name, new_k.name), shape, source=source),
    ]
    replacements[softmax.name] = [replace(softmax, shape=shape)]
    context_op = AttentionContext(scores_op.heads)
    replacements[context.merged.name] = [
        new_v,
        Node(names[1], context_op, (softmax.name, new_v.name), merged, source=source),
    ]
    aliases[top.name], aliases[context.merged.name] = names
    for reader in attention.readers:
        assert isinstance(reader.op, Linear)
        weight = np.tile(reader.op.weight, (1, merged[1] // reader.op.weight.shape[1]))
        replacements[reader.name] = [replace(reader, op=replace(reader.op, weight=weight))]


def _unmixed_scores(attention: _TalkingHeads, q: Linear, k: Linear) -> tuple[Linear, Linear, AttentionScores]:
    """Layers of queries and keys, and scores, that need no W; with a head of zeros if b is there."""
    heads, bias = attention.scores.heads, attention.scores.bias
    channels = len(q.weight)
    if attention.before is not None:
        weight = attention.before.weight.astype(np.float64)
        factor = np.repeat(weight, channels // heads, axis=1)
        heads = len(weight)
        everything = np.tile(np.arange(channels), heads)
        q, k = scale_rows(take_rows(q, everything), factor.reshape(-1)), take_rows(k, everything)
        bias = None if bias is None else np.einsum("gh,hij->gij", weight, bias)
    if attention.uniform is not None:
        rows = len(q.weight)
        extended = np.append(np.arange(rows), np.arange(rows // heads))
        q = scale_rows(take_rows(q, extended), (np.arange(len(extended)) < rows).astype(np.float64))
        k = take_rows(k, extended)
        bias = None if bias is None else np.concatenate([bias, np.zeros_like(bias[:1])])
        heads += 1
    return q, k, AttentionScores(heads, attention.scores.scale, bias)


def _unmixed_values(attention: _TalkingHeads, v: Linear, key_count: int) -> Linear:
    """The layer of values that needs no U: for each of its inputs, all channels, scaled; and those of b."""
    if attention.behind is None:
        return v
    channels = len(v.weight)
    factor = attention.behind.weight.astype(np.float64).T
    if attention.uniform is not None:
        factor = np.concatenate([factor, key_count * attention.uniform.astype(np.float64)[None]])
    per_row = np.repeat(factor, channels // attention.context.heads, axis=1)
    return scale_rows(take_rows(v, np.tile(np.arange(channels), len(factor))), per_row.reshape(-1))
