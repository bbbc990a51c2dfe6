"""Give each part that is cut out of one Linear (fused q, k and v) a Linear of its own rows.

Equal within float rounding (matrix products of other shapes may sum in another order).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from qvit_hls.ir.float_ops import Linear, Permute, Reshape, Slice
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.eliminate_dead import eliminate_dead
from qvit_hls.ir.passes.layout_indices import MOVEMENT, moved
from qvit_hls.ir.passes.linear_rows import take_rows
from qvit_hls.ir.passes.merge_layout import merge_layout
from qvit_hls.ir.passes.rewrite import Structure, substitute


def split_fused_linear(graph: Graph) -> Graph:
    """Linear, reshapes, permutations and a Slice of channels -> Linear of the rows taken, Reshape, Permute.

    Whatever order the rows were in, ``(3, heads, head_dim)`` or ``(heads, head_dim, 3)``, they are in the
    order of the value's last dimensions afterwards. A Linear whose rows are all read through slices goes.
    """
    structure = Structure(graph)
    replacements: dict[str, list[Node]] = {}
    parts: dict[str, list[tuple[Node, _Part]]] = {}
    for node in graph:
        ends_here = any(not isinstance(user.op, MOVEMENT) for user in structure.users(node))
        if not isinstance(node.op, MOVEMENT) or not (ends_here or node.name in graph.outputs):
            continue
        chain = _movements(structure, node)
        if chain is None or not any(isinstance(step.op, Slice) for step in chain):
            continue
        linear = structure.producer(chain[0])
        part = _part(linear, chain)
        if part is not None:
            parts.setdefault(linear.name, []).append((node, part))
    for name, ends in parts.items():
        replacements.update(_rebuilt(graph[name], ends))
    return merge_layout(eliminate_dead(substitute(graph, replacements)))


def _movements(structure: Structure, node: Node) -> list[Node] | None:
    """The run of unrounded movements that ends in ``node``, first one first, if a Linear stands before it."""
    chain = [node]
    while isinstance(structure.producer(chain[0]).op, MOVEMENT):
        chain.insert(0, structure.producer(chain[0]))
        if chain[0].quant is not None:
            return None
    return chain if isinstance(structure.producer(chain[0]).op, Linear) else None


@dataclass(frozen=True, eq=False)
class _Part:
    """Rows of a Linear that are one value: ``[tokens, rows]``, reshaped to ``split``, then permuted."""

    rows: np.ndarray
    split: tuple[int, ...]
    order: tuple[int, ...]


def _part(linear: Node, chain: list[Node]) -> _Part | None:
    """What ``chain`` takes out of ``linear``, if that is all tokens of some rows.

    Found by moving an array of indices: every dimension of the result has to walk over tokens or over
    rows, independently of the others.
    """
    channels = linear.shape[-1]
    index = np.arange(math.prod(linear.shape)).reshape(linear.shape)
    for step in chain:
        index = moved(step, index)
    edges = [np.moveaxis(index, axis, 0).reshape(index.shape[axis], -1)[:, 0] for axis in range(index.ndim)]
    over_tokens = [len(edge) > 1 and not ((edge - edge[0]) % channels).any() for edge in edges]
    tokens = [axis for axis, is_token in enumerate(over_tokens) if is_token]
    others = [axis for axis, is_token in enumerate(over_tokens) if not is_token]
    split = (*(index.shape[axis] for axis in tokens), *(index.shape[axis] for axis in others))
    flat = index.transpose(tokens + others).reshape(math.prod(split[: len(tokens)]), -1)
    rows = flat[0] % channels
    token_count = math.prod(linear.shape[:-1])
    everything = np.arange(token_count)[:, None] * channels + rows
    if flat.shape != everything.shape or not np.array_equal(flat, everything):
        return None
    order = tuple(int(i) for i in np.argsort(tokens + others))
    return _Part(rows, split, order)


def _rebuilt(linear: Node, ends: list[tuple[Node, _Part]]) -> dict[str, list[Node]]:
    """``linear`` and the Linear of each set of rows, in their order, and the movements up to each end."""
    assert isinstance(linear.op, Linear)
    row_sets = sorted({tuple(part.rows.tolist()) for _, part in ends})
    names = {rows: f"{linear.name}.{i}" for i, rows in enumerate(row_sets)}
    replacements = {linear.name: [linear]}
    for rows, name in names.items():
        op = take_rows(linear.op, np.array(rows))
        shape = (*linear.shape[:-1], len(rows))
        replacements[linear.name].append(replace(linear, name=name, op=op, shape=shape))
    for end, part in ends:
        source, split = names[tuple(part.rows.tolist())], f"{end.name}.split"
        replacements[end.name] = [
            Node(split, Reshape(part.split), (source,), part.split, source=linear.source),
            replace(end, op=Permute(part.order), inputs=(split,)),
        ]
    return replacements
