"""The metrics' sums over channels are the cosine and the weighted error of whole outputs."""

from __future__ import annotations

import pytest
import torch
from plain_vit import plain_graph, random_images
from torch.nn import functional
from torch.testing import assert_close

from qvit_hls.ir import float_ops as f
from qvit_hls.ptq.importance import element_importance
from qvit_hls.ptq.metrics import CosineSimilarity, HessianGuided


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_cosine_is_that_of_both_outputs() -> None:
    metric, wanted = CosineSimilarity(), random(0, 300, 7)
    scores, cosines = [], []
    for seed in (1, 2):
        output = wanted + random(seed, 300, 7) * seed
        scores.append(float(metric.score(metric.terms(output, wanted, None).sum(1))))
        cosines.append(float(functional.cosine_similarity(output.flatten(), wanted.flatten(), dim=0)))
    assert scores == pytest.approx(cosines, rel=1e-5)
    assert metric.score(metric.terms(wanted, wanted, None).sum(1)) == pytest.approx(1)


def test_the_weighted_error_counts_what_matters() -> None:
    metric, wanted = HessianGuided(), random(0, 300, 7)
    output, importance = wanted + random(1, 300, 7), random(2, 300, 7).square()
    terms = metric.terms(output, wanted, importance)
    assert terms.shape == (1, 7)
    expected = -(importance.double() * (output - wanted).double().square()).sum()
    assert float(metric.score(terms.sum(1))) == pytest.approx(float(expected), rel=1e-5)
    importance[:, 3] = 0
    far = output.clone()
    far[:, 3] += 100
    assert metric.terms(far, wanted, importance).sum() == metric.terms(output, wanted, importance).sum()


def test_importance_is_the_squared_derivative_at_the_sampled_tokens() -> None:
    """By finite differences of the projected output, in float64."""
    graph, images = plain_graph(blocks=1), random_images(2)
    names = [node.name for node in graph if isinstance(node.op, f.Linear | f.AttentionScores)]
    found = element_importance(graph, images, names, tokens=6, seed=3)
    assert found["head"].shape == (2, 1, 5)
    directions = [random((3 << 32) + i, 5) for i in range(2)]
    assert_close(found["head"].squeeze(1), torch.stack(directions).square())
    assert found["blocks.0.fc1"].shape == (2, 3, 24)
    scores = next(node.name for node in graph if isinstance(node.op, f.AttentionScores))
    assert found[scores].shape == (2, 2, 3, 5)
    # Only the class token of the last block's outputs reaches the head: it is the first one.
    last = found["blocks.0.fc2"]
    assert (last[:, 0] > 0).all() and (last[:, 1:] == 0).all()
    # A change of the last layer before the sum moves the projected output by the derivative.
    step = 1e-3
    values = graph.run(images[:1])
    fc2 = graph["blocks.0.fc2"]
    assert isinstance(fc2.op, f.Linear)
    norm, head = graph["norm"].op, graph["head"].op
    assert isinstance(norm, f.LayerNorm) and isinstance(head, f.Linear)
    (total,) = (node for node in graph if "blocks.0.fc2" in node.inputs)
    x = values[total.name][:, 0].double()
    weight = torch.from_numpy(head.weight).double()

    def projected(x: torch.Tensor) -> float:
        y = functional.layer_norm(x, (x.shape[-1],), eps=norm.eps) @ weight.T
        return float((y @ directions[0].double()).sum())

    for channel in range(3):
        moved = x.clone()
        moved[:, channel] += step
        derivative = (projected(moved) - projected(x)) / step
        assert float(last[0, 0, channel]) == pytest.approx(derivative**2, rel=0.02, abs=1e-6)
