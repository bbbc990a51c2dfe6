"""A linear layer that reads joined channels becomes a sum of layers. Equal within float rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qvit_hls.ir.float_ops import Add, ConcatChannels, Linear
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.eliminate_dead import eliminate_dead
from qvit_hls.ir.passes.linear_rows import take_columns
from qvit_hls.ir.passes.rewrite import substitute


def split_joined_channels(graph: Graph) -> Graph:
    """``Linear(concat(a, b)) -> Linear(a) + Linear(b)``, each of its columns; DINOv2 has such classifiers.

    Layers whose weights are quantized stay: the parts would have to share the grid of their sum.
    """
    replacements: dict[str, list[Node]] = {}
    for node in graph:
        if not isinstance(node.op, Linear) or node.op.row_scale is not None:
            continue
        joined = graph[node.inputs[0]]
        if not isinstance(joined.op, ConcatChannels) or joined.quant is not None:
            continue
        ends = np.cumsum([graph[name].shape[-1] for name in joined.inputs])
        parts: list[Node] = []
        for index, (name, columns) in enumerate(
            zip(joined.inputs, np.split(np.arange(ends[-1]), ends[:-1]), strict=True)
        ):
            op = take_columns(node.op, columns)
            op = op if index == 0 else replace(op, bias=None)
            parts.append(Node(f"{node.name}.{index}", op, (name,), node.shape, source=node.source))
        sums: list[Node] = []
        for index, part in enumerate(parts[1:], start=1):
            last = index == len(parts) - 1
            before = sums[-1].name if sums else parts[0].name
            name = node.name if last else f"{node.name}.sum{index}"
            quant = node.quant if last else None
            sums.append(Node(name, Add(), (before, part.name), node.shape, quant, node.source))
        replacements[node.name] = [parts[0], *(n for pair in zip(parts[1:], sums, strict=True) for n in pair)]
    return eliminate_dead(substitute(graph, replacements))
