"""What reports show: quantiles of the samples beside the grid's limit, and errors by the rows' widths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from plain_vit import random_images

from qvit_hls.ir.graph import Graph
from qvit_hls.ptq.calibration import observe
from qvit_hls.ptq.diagnostics import QUANTILES, layer_errors
from qvit_hls.ptq.methods import LeastError
from qvit_hls.ptq.placement import COVERING, BitWidths, GridKind, place
from qvit_hls.ptq.quantize import QuantizationSettings, quantize_graph
from qvit_hls.ptq.rows import AverageBits, EightBitShare, choose_widths, search_rows


def test_ranges_are_those_of_the_samples_and_the_chosen_grids(graph: Graph) -> None:
    images = random_images(6)
    found = quantize_graph(graph, images, QuantizationSettings(LeastError(), budget=EightBitShare(0.5)))
    placement = place(graph, BitWidths())
    seen = observe(graph, placement, images)
    by_value = placement.by_value()
    assert {value.name for value in found.ranges} == set(by_value)
    clipped = 0
    for value in found.ranges:
        quant, kind = found.graph[value.name].quant, GridKind(value.use)
        assert quant is not None and kind == by_value[value.name].kind
        assert value.limit == pytest.approx(quant.scale * quant.qmax)
        assert value.largest == float(seen.largest[value.name])
        assert (value.quantiles is None) == (kind in COVERING)
        if value.quantiles is not None:
            samples = seen.samples[value.name].numpy()
            np.testing.assert_allclose(value.quantiles, np.quantile(samples, QUANTILES), rtol=1e-4, atol=1e-5)
            clipped += value.largest > value.limit
    assert clipped > 0  # least error clips some


def test_errors_by_width_enclose_those_of_the_widths_chosen() -> None:
    generator = torch.Generator().manual_seed(0)
    layers = {name: search_rows(torch.randn(6, 8, generator=generator)) for name in ("a", "b")}
    widths = choose_widths(layers, AverageBits(6))
    errors = layer_errors(layers, widths)
    for name, error in errors.items():
        assert error.eight_bit <= error.chosen <= error.four_bit
        four, eight = layers[name].errors[4], layers[name].errors[8]
        wanted = sum(float(eight[i] if bits == 8 else four[i]) for i, bits in enumerate(widths[name]))
        assert error.chosen == pytest.approx(wanted)
        assert error.to_json()["four_bit_error"] == pytest.approx(float(four.sum()))
    assert sum(error.chosen for error in errors.values()) < sum(error.four_bit for error in errors.values())
