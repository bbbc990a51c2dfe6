"""Shifts of LayerNorm channels change nothing in float, and much on grids where channels differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from outlier_vit import outlier_graph
from plain_vit import random_images

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.integer_ops import IntegerLayerNorm
from qvit_hls.ir.lowering import lower
from qvit_hls.ptq.channel_shifts import (
    EqualRanges,
    LeastChannelError,
    LeastOutputError,
    ShiftRule,
    reparameterize,
)
from qvit_hls.ptq.methods import Auto, Erq, FqVit, LeastError, Method, RepqVit
from qvit_hls.ptq.placement import BitWidths
from qvit_hls.ptq.quality import compare
from qvit_hls.ptq.quantize import QuantizationSettings, quantize_graph
from qvit_hls.ptq.rows import EightBitShare

RULES: list[ShiftRule] = [EqualRanges(), LeastChannelError(), LeastOutputError()]


@pytest.fixture(scope="module")
def outliers() -> Graph:
    return outlier_graph()


def channel_shifts(graph: Graph) -> dict[str, np.ndarray]:
    """Of each LayerNorm of a float graph."""
    return {
        node.name: np.zeros(node.shape[-1]) if node.op.weight is None else -np.log2(node.op.weight)
        for node in graph
        if isinstance(node.op, f.LayerNorm)
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_the_float_network_stays_what_it_was(rule: ShiftRule, outliers: Graph) -> None:
    images = random_images(4).double()
    changed = reparameterize(outliers, images.float(), 63, rule)
    shifts = channel_shifts(changed)
    assert len(shifts) == 5
    for values in shifts.values():
        assert np.isin(values, np.arange(8)).all()
        # The two wide channels are those that are divided the most, of three that reach nearly as far.
        assert values[:2].min() >= 1 and values[:2].min() >= np.median(values[2:])
    before, after = outliers.run(images), changed.run(images)
    assert torch.equal(before["head"], after["head"])
    assert not torch.equal(before["norm"], after["norm"])


def test_equal_ranges_are_within_a_factor_of_two(outliers: Graph) -> None:
    images = random_images(8)
    changed = reparameterize(outliers, images, 63, EqualRanges())
    for graph, most in ((outliers, None), (changed, 2.0)):
        ranges = graph.run(images)["blocks.0.norm1"].abs().amax((0, 1))
        spread = float(ranges.max() / ranges.min())
        assert spread > 4 if most is None else spread <= most


def test_the_power_of_two_factor_has_the_least_error_of_each_channel() -> None:
    """Against all factors, one channel at a time."""
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [8.0, 4.0, 2.0, 1.0, 0.5, 0]
    )
    found = LeastChannelError(3).shifts(x, torch.ones(1, 6), 7)
    step = float(x.abs().max()) / 7 / 8
    for channel in range(6):
        value = x[:, channel].double()
        errors = []
        for factor in (1, 2, 4, 8):
            codes = torch.floor(value / (step * factor) + 0.5).clamp(-7, 7)
            errors.append(float((codes * step * factor - value).square().sum()))
        assert errors[int(found[channel])] <= min(errors) * (1 + 1e-5)
    assert found.tolist()[0] == 3 and found.tolist()[5] == 0
    assert sorted(found.tolist(), reverse=True) == found.tolist()


def test_ranges_that_differ_by_more_than_shifts_reach_leave_the_smallest_smaller() -> None:
    x = torch.tensor([[2.0**12, 2.0**8, 2.0**5, 1.0, 0.0]])
    assert EqualRanges().shifts(x, torch.ones(1, 5), 63).tolist() == [7, 3, 0, 0, 0]


def test_nothing_is_shifted_where_that_gains_little() -> None:
    """Where channels are alike, and weights are what would suffer."""
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(256, 16, generator=generator), torch.randn(8, 16, generator=generator)
    assert LeastOutputError().shifts(x, weight, 63).sum() == 0
    x[:, 3] *= 16
    weight[:, 3] /= 16
    assert LeastOutputError().shifts(x, weight, 7)[3] >= 2
    assert LeastOutputError(least_gain=0.999).shifts(x, weight, 7).sum() == 0


def test_only_linear_layers_may_read_a_shifted_layer_norm() -> None:
    weight = np.eye(4, dtype=np.float32)
    graph = Graph(
        "g",
        (
            Node("x", f.Input((3, 4)), (), (3, 4)),
            Node("read", f.LayerNorm(1e-6), ("x",), (3, 4)),
            Node("added", f.LayerNorm(1e-6), ("x",), (3, 4)),
            Node("own", f.LayerNorm(1e-6, np.full(4, 2.0, np.float32)), ("x",), (3, 4)),
            Node("a", f.Linear(weight), ("read",), (3, 4)),
            Node("b", f.Linear(weight), ("added",), (3, 4)),
            Node("c", f.Linear(weight), ("own",), (3, 4)),
            Node("sum", f.Add(), ("a", "added"), (3, 4)),
        ),
        ("b", "c", "sum"),
    )
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 1, 1, 1])
    changed = reparameterize(graph, x, 63, EqualRanges())
    assert {node.name for node, old in zip(changed, graph, strict=True) if node.op is not old.op} == {
        "read",
        "a",
    }


def head_sqnr(graph: Graph, method: Method, bits: int) -> float:
    settings = QuantizationSettings(method, BitWidths(activation=bits), EightBitShare(0.25))
    quantized = quantize_graph(graph, random_images(16), settings)
    integer = lower(quantized.graph)
    layers = compare(quantized.reference, quantized.graph, integer, random_images(64, seed=9)).layers
    norms = [node.op for node in integer if isinstance(node.op, IntegerLayerNorm)]
    has_shifts = not isinstance(method, LeastError | Erq) or method.recipe.shifts is not None
    assert all((op.shifts is not None) == has_shifts for op in norms)
    # Values are compared with those of the shifted float network, so none is off by a factor.
    assert all(layer.sqnr_db > 5 for layer in layers)
    return {layer.name: layer.sqnr_db for layer in layers}["head"]


@pytest.mark.parametrize("bits", [5, 7])
def test_shifts_make_up_for_outlier_channels(bits: int, outliers: Graph) -> None:
    """In decibels of the integer graph's logits, over the same method without."""
    plain, ridge = (head_sqnr(outliers, method, bits) for method in (LeastError(), Erq()))
    assert head_sqnr(outliers, FqVit(), bits) > plain + 4
    assert head_sqnr(outliers, Erq(shifts=LeastOutputError()), bits) > ridge + 3
    assert head_sqnr(outliers, Auto(), bits) > ridge + 3
    # Equal ranges leave more to the weights, which is worth it where the inputs' bits are few.
    assert head_sqnr(outliers, RepqVit(), bits) > plain + (2 if bits == 5 else 0.5)
