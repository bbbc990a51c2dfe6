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
from qvit_hls.ptq.placement import COVERING, BitWidths, place
from qvit_hls.ptq.rows import search_rows
from qvit_hls.ptq.scales import FullRange, find_steps
from qvit_hls.ptq.step_search import StepSearch, refine_steps
from qvit_hls.quant.fake_quant import fake_quantize_rows


def test_the_search_brings_linear_outputs_nearer(graph: Graph) -> None:
    images = random_images(4)
    placement = place(graph, BitWidths(activation=4))
    steps = find_steps(graph, placement, observe(graph, placement, images), FullRange())
    weights = {
        node.name: torch.from_numpy(node.op.weight).float() for node in graph if isinstance(node.op, f.Linear)
    }
    rows = {
        name: WeightRows(
            torch.full((len(weight),), 4, dtype=torch.uint8), search_rows(weight, full_range=True).steps[4]
        )
        for name, weight in weights.items()
    }
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
