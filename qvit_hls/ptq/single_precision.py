"""Weights of a float graph in the precision in which it runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qvit_hls.ir.float_ops import Linear
from qvit_hls.ir.graph import Graph


def with_single_precision_weights(graph: Graph) -> Graph:
    """``graph`` with the weights of its linear layers in float32; biases stay.

    Passes fold factors into weights in float64. Graphs run in float32: each run would round all weights
    again, and hold both.
    """
    nodes = []
    for node in graph:
        if isinstance(node.op, Linear):
            weight = node.op.weight.astype(np.float32, copy=False)
            node = replace(node, op=replace(node.op, weight=weight))
        nodes.append(node)
    return graph.with_nodes(nodes)
