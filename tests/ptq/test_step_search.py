"""The search of steps never leaves the outputs further from the float ones than it found them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from plain_vit import random_images
from torch.nn import functional

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.execute_float import fake_quantize
from qvit_hls.ir.graph import Graph
from qvit_hls.ptq.annotate import WeightRows
from qvit_hls.ptq.calibration import observe
from qvit_hls.ptq.importance import element_importance
from qvit_hls.ptq.metrics import HessianGuided
from qvit_hls.ptq.placement import COVERING, BitWidths, Placement, place
from qvit_hls.ptq.rows import search_rows
from qvit_hls.ptq.scales import FullRange, find_steps
from qvit_hls.ptq.step_search import StepSearch, refine_steps
from qvit_hls.quant.fake_quant import fake_quantize_rows


def linear_weights(graph: Graph) -> dict[str, torch.Tensor]:
    return {
        node.name: torch.from_numpy(node.op.weight).float() for node in graph if isinstance(node.op, f.Linear)
    }


def full_range(
    graph: Graph, placement: Placement, images: torch.Tensor
) -> tuple[dict[str, float], dict[str, WeightRows]]:
    """Steps that cover everything, rows of 4 bits."""
    steps = find_steps(graph, placement, observe(graph, placement, images), FullRange())
    rows = {
        name: WeightRows(
            torch.full((len(weight),), 4, dtype=torch.uint8), search_rows(weight, full_range=True).steps[4]
        )
        for name, weight in linear_weights(graph).items()
    }
    return steps, rows


def test_the_search_brings_linear_outputs_nearer(graph: Graph) -> None:
    images = random_images(4)
    placement = place(graph, BitWidths(activation=4))
    steps, rows = full_range(graph, placement, images)
    weights = linear_weights(graph)
    found, found_rows = refine_steps(graph, placement, images, steps, rows, StepSearch())
    values = graph.run(images)

    def similarity(name: str, step: float, layer: WeightRows) -> float:
        x = values[graph[name].inputs[0]].flatten(0, -2)
        rounded = fake_quantize(x, step, 7)
        output = rounded @ fake_quantize_rows(weights[name], layer.step, layer.bits).T
        return float(functional.cosine_similarity(output.flatten(), (x @ weights[name].T).flatten(), dim=0))

    def similarities(step: Mapping[str, float], layers: Mapping[str, WeightRows]) -> dict[str, float]:
        """By grid, the sum over the layers that read it."""
        total: dict[str, float] = {}
        for name in weights:
            source = graph[name].inputs[0]
            grid = source if source in step else "images"  # the patches of the image
            total[grid] = total.get(grid, 0.0) + similarity(name, step[grid], layers[name])
        return total

    before, after = similarities(steps, rows), similarities(found, found_rows)
    assert all(after[grid] >= before[grid] - 1e-6 for grid in before)
    assert sum(after[grid] > before[grid] for grid in before) >= 0.8 * len(before)
    changed = {name for name in steps if found[name] != steps[name]}
    assert changed
    wide = {grid.name for grid in placement.grids if grid.kind in COVERING}
    assert not changed & wide
    assert all(torch.equal(found_rows[name].bits, rows[name].bits) for name in rows)


def test_the_hessian_guided_search_lowers_the_weighted_error_of_every_layer(graph: Graph) -> None:
    """Also where steps of least plain error are worse: those of rows that hardly matter do not count."""
    images = random_images(8)
    placement = place(graph, BitWidths(activation=4))
    steps, rows = full_range(graph, placement, images)
    search = StepSearch(HessianGuided(), tokens=1024, rounds=3, candidates=40, low=0.3, high=1.2)
    found, found_rows = refine_steps(graph, placement, images, steps, rows, search)
    weights, values = linear_weights(graph), graph.run(images)
    importance = element_importance(graph, images, list(weights), 1024)

    def errors(step: Mapping[str, float], layers: Mapping[str, WeightRows]) -> dict[str, float]:
        """By grid, over the layers that read it."""
        total: dict[str, float] = {}
        for name, weight in weights.items():
            source = graph[name].inputs[0]
            grid, x = source if source in step else "images", values[source].flatten(0, -2)
            output = (
                fake_quantize(x, step[grid], 7)
                @ fake_quantize_rows(weight, layers[name].step, layers[name].bits).T
            )
            weighted = importance[name].flatten(0, -2) * (output - x @ weight.T).square()
            total[grid] = total.get(grid, 0.0) + float(weighted.sum())
        return total

    before, after = errors(steps, rows), errors(found, found_rows)
    assert all(after[grid] <= before[grid] * (1 + 1e-5) for grid in before)
    assert sum(after.values()) < 0.8 * sum(before.values())


def test_a_second_search_finds_nothing_better_than_a_single_operand_had(graph: Graph) -> None:
    """Steps of functions and of attention's values depend on no other step."""
    images = random_images(4)
    placement = place(graph, BitWidths(activation=4))
    steps, rows = full_range(graph, placement, images)
    one = refine_steps(graph, placement, images, steps, rows, StepSearch(rounds=1))[0]
    more = refine_steps(graph, placement, images, steps, rows, StepSearch(rounds=4))[0]
    alone = [node.inputs[-1] for node in graph if isinstance(node.op, f.Elementwise | f.AttentionContext)]
    assert alone and all(one[name] == more[name] for name in alone)
    assert any(one[name] != steps[name] for name in alone)
