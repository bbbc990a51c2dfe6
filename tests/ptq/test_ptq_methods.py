"""Each method ends in a graph that lowers, and whose integer form is what its float form says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from plain_vit import CLASSES, plain_graph, plain_vit, random_images

from qvit_hls.errors import QvitError
from qvit_hls.flow.quantize import quantize_module
from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.lowering import lower
from qvit_hls.ir.pipeline import INTEGER_PASSES, run_passes
from qvit_hls.ptq.block_learning import BlockReconstruction
from qvit_hls.ptq.methods import METHODS, Brecq, LeastError, Percentile, method_named
from qvit_hls.ptq.placement import BitWidths
from qvit_hls.ptq.quality import compare
from qvit_hls.ptq.quantize import QuantizationSettings, quantize_graph
from qvit_hls.ptq.rows import AverageBits, EightBitShare, RowBudget


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("fixture", "bits", "budget"),
    [("graph", 7, EightBitShare(0.25)), ("mean_graph", 4, AverageBits(4.5))],
    ids=["cls_w4/8a7", "mean_w4.5a4"],
)
def test_the_integer_graph_follows_the_quantized_one(
    name: str, fixture: str, bits: int, budget: RowBudget, request: pytest.FixtureRequest
) -> None:
    graph: Graph = request.getfixturevalue(fixture)
    method = method_named(name)
    if isinstance(method, Brecq):
        method = Brecq(reconstruction=BlockReconstruction(iterations=20))
    settings = QuantizationSettings(method, BitWidths(activation=bits), budget)
    quantized = quantize_graph(graph, random_images(max(8, method.fewest_images)), settings)
    integer = lower(quantized.graph)
    images = random_images(64, seed=5)
    found, expected = integer(images), quantized.graph(images)
    assert isinstance(found, torch.Tensor) and isinstance(expected, torch.Tensor)
    same = found.flatten(1).argmax(1) == expected.flatten(1).argmax(1)
    assert same.float().mean() >= 0.95
    assert torch.equal(run_passes(integer, INTEGER_PASSES)(images), found)
    if isinstance(budget, AverageBits):
        assert 4.4 <= quantized.average_bits <= 4.5
    else:
        assert all((row == 8).float().mean() == 0.25 for row in quantized.rows.values() if len(row) % 4 == 0)


def test_eight_bits_are_nearer_than_four(graph: Graph) -> None:
    images = random_images(8)
    ratios = []
    for bits, share in ((8, 1.0), (4, 0.0)):
        settings = QuantizationSettings(LeastError(), BitWidths(activation=bits), EightBitShare(share))
        quantized = quantize_graph(graph, images, settings).graph
        layers = compare(graph, quantized, lower(quantized), images).layers
        assert list(layers) == sorted(layers, key=lambda layer: layer.sqnr_db)
        ratios.append({layer.name: layer.sqnr_db for layer in layers}["head"])
    assert ratios[0] > ratios[1] + 15


def test_a_module_is_quantized_as_its_graph_is() -> None:
    images = random_images(2)
    settings = QuantizationSettings(method_named("minmax"))
    graph, quantized = quantize_module(plain_vit(), images, settings, name="plain")
    expected = quantize_graph(plain_graph(), images, settings)
    assert torch.equal(quantized.graph(images), expected.graph(images))
    with torch.no_grad():
        assert torch.allclose(graph(images), plain_vit()(images), atol=1e-4)


def test_quality_counts_what_the_graphs_say(graph: Graph) -> None:
    quantized = quantize_graph(graph, random_images(4), QuantizationSettings(method_named("mse"))).graph
    integer = lower(quantized)
    images = random_images(10, seed=3)
    labels = torch.arange(10) % CLASSES
    found = compare(graph, quantized, integer, images, labels, batch_size=3)
    predictions = [g(images).flatten(1).argmax(1) for g in (graph, quantized, integer)]
    assert found.agreement == float((predictions[0] == predictions[2]).double().mean())
    top1 = (found.float_top1, found.quantized_top1, found.integer_top1)
    assert top1 == tuple(float((p == labels).double().mean()) for p in predictions)
    wanted = graph.run(images)["head"].double().numpy()
    node = integer["head"]
    assert node.quant is not None
    got = integer.run(images)["head"].numpy() * node.quant.scale
    ratio = 10 * np.log10((wanted**2).sum() / ((wanted - got) ** 2).sum())
    (head,) = [layer for layer in found.layers if layer.name == "head"]
    assert head.sqnr_db == pytest.approx(ratio, rel=1e-4)


def test_what_has_no_integer_form_is_said_before_calibration(graph: Graph) -> None:
    """Some channels cannot be taken."""
    nodes = []
    for node in graph:
        nodes.append(node)
        if node.name == "norm":
            nodes.append(Node("part", f.Slice(1, 0, node.shape[1]), (node.name,), node.shape))
        if node.name == "head":
            nodes[-1] = Node("head", node.op, ("part",), node.shape)
    changed = Graph("changed", tuple(nodes[:-1]), ("head",))
    width = graph["norm"].shape[1]
    stages: list[str] = []
    with pytest.raises(QvitError) as error:
        quantize_graph(changed, random_images(8), progress=lambda stage, done, total: stages.append(stage))
    assert error.value.problems == (f"part: it takes {width} of {width} elements of dimension 1.",)
    assert not stages


def test_too_few_images_and_unknown_methods_are_refused(graph: Graph) -> None:
    with pytest.raises(QvitError, match=r"^There are 7 calibration images; the method needs at least 8\.$"):
        quantize_graph(graph, random_images(7))
    with pytest.raises(QvitError) as error:
        method_named("magic")
    assert error.value.problems == (f"There is no method magic; methods are {', '.join(METHODS)}.",)
    with pytest.raises(QvitError, match=r"^The percentile is 20; it should be 50 to 100\.$"):
        Percentile(20)
    with pytest.raises(QvitError, match=r"^The norm is 0; it should be greater than 0\.$"):
        LeastError(0)
