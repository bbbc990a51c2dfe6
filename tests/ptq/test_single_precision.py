"""Weights in float32 are those that the graph ran with before."""

from __future__ import annotations

import numpy as np
import torch
from plain_vit import random_images

from qvit_hls.ir.float_ops import Linear
from qvit_hls.ir.graph import Graph
from qvit_hls.ptq.single_precision import with_single_precision_weights


def test_the_graph_computes_the_same_to_the_last_bit(graph: Graph) -> None:
    assert any(isinstance(node.op, Linear) and node.op.weight.dtype == np.float64 for node in graph)
    single = with_single_precision_weights(graph)
    assert all(node.op.weight.dtype == np.float32 for node in single if isinstance(node.op, Linear))
    images = random_images(3)
    assert torch.equal(single(images), graph(images))
