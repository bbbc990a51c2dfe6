"""The whole of post-training quantization: from a float graph and images to an annotated graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qvit_hls.ir.float_ops import Linear
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.lowering import lower
from qvit_hls.ptq.annotate import WeightRows, annotate
from qvit_hls.ptq.calibration import CalibrationSettings, Progress, check_images, observe
from qvit_hls.ptq.channel_shifts import reparameterize
from qvit_hls.ptq.cycle_budget import CycleBudget, RowCost, widths_within
from qvit_hls.ptq.diagnostics import LayerError, ValueRange, layer_errors, value_ranges
from qvit_hls.ptq.methods import Auto, Method, Recipe
from qvit_hls.ptq.observations import Observations
from qvit_hls.ptq.placement import BitWidths, GridKind, Placement, place
from qvit_hls.ptq.reconstruction import reconstruct
from qvit_hls.ptq.ridge import correct_weights
from qvit_hls.ptq.rows import EightBitShare, RowBudget, RowSteps, average_bits, choose_widths, search_rows
from qvit_hls.ptq.scales import FullRange, find_steps
from qvit_hls.ptq.step_search import refine_steps


@dataclass(frozen=True)
class QuantizationSettings:
    """What to quantize to, and how.

    Attributes:
        method: with its settings.
        widths: bits of the activations.
        budget: of 8-bit rows.
        calibration: how the images run.
    """

    method: Method = field(default_factory=Auto)
    widths: BitWidths = field(default_factory=BitWidths)
    budget: RowBudget | CycleBudget = field(default_factory=lambda: EightBitShare(0.25))
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized network.

    Attributes:
        graph: annotated float graph, which ``ir.lowering.lower`` takes.
        reference: the float graph that its values compare to: the one that was given, with the channels of
            some LayerNorms rescaled where the method does that. It computes the same.
        average_bits: of a weight.
        rows: widths of the rows, uint8 ``[R]``, by linear layer.
        ranges: of the values with a grid.
        errors: of the rows, by linear layer.
        cost: of the rows in cycles, where they were chosen by that.
    """

    graph: Graph
    reference: Graph
    average_bits: float
    rows: Mapping[str, Tensor]
    ranges: tuple[ValueRange, ...]
    errors: Mapping[str, LayerError]
    cost: RowCost | None = None


@torch.no_grad()
def quantize_graph(
    graph: Graph,
    images: Tensor,
    settings: QuantizationSettings | None = None,
    cache: Path | None = None,
    progress: Progress = lambda stage, done, total: None,
    check: Callable[[Graph], None] = lambda integer: None,
) -> Quantized:
    """Quantize a float graph.

    Args:
        graph: float, after FLOAT_PASSES, without annotations.
        images: calibration images, float ``[n, *shape of the input]``, as the network takes them.
        settings: defaults where left out.
        cache: folder in which calibration keeps what it has seen, to go on after a stop.
        progress: told how far each stage is.
        check: raises QvitError where a graph of this structure cannot be used; asked before the work.

    Raises:
        QvitError: images that do not fit or are too few; a graph that has no integer counterpart, or that
            ``check`` refuses; a budget of cycles that 4-bit rows miss; values that are not finite, or always
            zero. All problems of the stage that fails.
    """
    settings = settings or QuantizationSettings()
    recipe = settings.method.recipe
    check_images(graph, images, settings.method.fewest_images)
    placement = place(graph, settings.widths)
    four_bit = _lowered_once(graph, placement, images[:1], settings.calibration)
    check(four_bit)
    cost = settings.budget.cost_of(four_bit, None) if isinstance(settings.budget, CycleBudget) else None
    del four_bit  # its memory is wanted
    if recipe.shifts is not None:
        qmax = settings.widths.qmax(GridKind.OPERAND)
        graph = reparameterize(graph, images, qmax, recipe.shifts, progress=progress)
    reference = graph
    seen = observe(graph, placement, images, settings.calibration, cache, progress)
    seen.check_ranges(placement)
    steps = find_steps(graph, placement, seen, recipe.range_rule)
    layers = _row_steps(graph, seen, recipe)
    if isinstance(settings.budget, CycleBudget):
        # Tables of the softmax, and of shifts, take cycles too, and are known only now.
        rows = _rows(layers, choose_widths(layers, EightBitShare(0)))
        four_bit = lower(annotate(graph, placement, steps, rows, recipe.softmax_levels))
        cost = settings.budget.cost_of(four_bit, cost)
        widths = widths_within(layers, cost)
        del four_bit
    else:
        widths = choose_widths(layers, settings.budget)
    errors = layer_errors(layers, widths)
    rows = _rows(layers, widths)
    if recipe.search is not None:
        steps, rows = refine_steps(graph, placement, images, steps, rows, recipe.search, progress)
    best = graph
    if recipe.correction is not None:
        best = correct_weights(graph, placement, images, steps, rows, recipe.correction, progress)
    if recipe.reconstruction is not None:
        found = reconstruct(graph, best, placement, images, steps, rows, recipe.reconstruction, progress)
        best, steps = found.graph, dict(found.steps)
    columns = {node.name: node.op.weight.shape[1] for node in graph if isinstance(node.op, Linear)}
    bits = {name: layer.bits for name, layer in rows.items()}
    return Quantized(
        graph=annotate(best, placement, steps, rows, recipe.softmax_levels),
        reference=reference,
        average_bits=average_bits(bits, columns),
        rows=bits,
        ranges=value_ranges(placement, seen, steps),
        errors=errors,
        cost=cost,
    )


def _lowered_once(
    graph: Graph, placement: Placement, image: Tensor, calibration: CalibrationSettings
) -> Graph:
    """The integer graph with 4-bit rows and the steps of one image.

    What the graph's structure rules out shows before the work.

    Raises:
        QvitError: what lowering says.
    """
    seen = observe(graph, placement, image, calibration)
    for name, largest in seen.largest.items():
        if not largest:
            seen.largest[name] = torch.ones(())
    steps = find_steps(graph, placement, seen, FullRange())
    layers = _row_steps(graph, seen, Recipe(FullRange(), search_rows=False))
    rows = _rows(layers, choose_widths(layers, EightBitShare(0)))
    return lower(annotate(graph, placement, steps, rows))


def _row_steps(graph: Graph, seen: Observations, recipe: Recipe) -> dict[str, RowSteps]:
    found = {}
    for node in graph:
        if not isinstance(node.op, Linear):
            continue
        moments = None
        if recipe.row_error != "weight":
            moments = seen.moments[node.inputs[0]]
            moments = moments.diagonal() if recipe.row_error == "diagonal" else moments
        found[node.name] = search_rows(
            torch.from_numpy(np.asarray(node.op.weight, np.float32)),
            moments,
            # Both are sums over tokens; what is wanted is one sum, of the products.
            seen.sensitivity[node.name] / seen.tokens[node.inputs[0]],
            full_range=not recipe.search_rows,
        )
    return found


def _rows(layers: Mapping[str, RowSteps], widths: Mapping[str, Tensor]) -> dict[str, WeightRows]:
    return {name: WeightRows(widths[name], rows.chosen(widths[name])) for name, rows in layers.items()}
