"""Methods with exponents that are powers say so in the graph, and both graphs compute with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from plain_vit import random_images

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.integer_ops import SoftmaxExponents
from qvit_hls.ir.lowering import lower
from qvit_hls.ptq.methods import FqVit, LeastError, Method, RepqVit
from qvit_hls.ptq.quantize import QuantizationSettings, quantize_graph


@pytest.mark.parametrize(
    ("method", "levels"), [(FqVit(), 1), (RepqVit(), 2), (FqVit(softmax_levels=0), 0), (LeastError(), 0)]
)
def test_exponents_are_on_the_methods_grid(method: Method, levels: int, graph: Graph) -> None:
    images = random_images(4)
    quantized = quantize_graph(graph, images, QuantizationSettings(method)).graph
    integer = lower(quantized)
    values, expected = integer.run(images), quantized.run(images)
    softmaxes = [node for node in quantized if isinstance(node.op, f.Softmax)]
    assert len(softmaxes) == 2
    for node in softmaxes:
        assert isinstance(node.op, f.Softmax) and node.op.levels_per_octave == levels
        op = integer[node.name].op
        assert isinstance(op, SoftmaxExponents)
        powers = 64 * 2.0 ** (-np.arange(200) / levels) if levels else np.arange(120)
        assert np.isin(op.table, np.floor(powers + 0.5)).all()
        exponents = values[node.name].double()
        probabilities = exponents / exponents.sum(-1, keepdim=True)
        # The scores of both graphs may round to neighbouring steps, which may be neighbouring powers.
        near = (probabilities - expected[node.name]).abs() < 1e-6
        assert near.float().mean() > 0.8
        if levels:
            assert len(torch.unique(values[node.name])) <= 7 * levels + 1
