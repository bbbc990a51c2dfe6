"""Convolutions of single pixels go into the layer of the patches."""

from __future__ import annotations

import pytest
from graph_draft import RNG, Draft, apply, kinds, linear, quantized_linear

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.passes.fold_pixel_convolutions import fold_pixel_convolutions
from qvit_hls.ir.pipeline import FLOAT_PASSES, run_passes


def pixels(rows: int, channels: int, bias: bool = True) -> f.Conv2d:
    weight = RNG.standard_normal((rows, channels, 1, 1))
    return f.Conv2d(weight, (1, 1), RNG.standard_normal(rows) if bias else None)


@pytest.mark.parametrize("bias", [False, True])
def test_several_go_into_every_layer_of_the_patches(bias: bool) -> None:
    draft = Draft(3, 4, 6)
    draft("first", pixels(2, 3, bias), "x")
    draft("second", pixels(3, 2), "first")
    draft("patches", f.Patches(2), "second")
    draft("one", linear(5, 12), "patches")
    draft("two", f.Linear(RNG.standard_normal((4, 12))), "patches")
    after = apply(fold_pixel_convolutions, draft.graph("one", "two"))
    assert kinds(after) == ["input", "patches", "linear", "linear"]


def test_a_network_that_normalises_its_patches_too_keeps_none() -> None:
    draft = Draft(3, 4, 6)
    draft("pixels", pixels(3, 3), "x")
    draft("patches", f.Patches(2), "pixels")
    draft("norm", f.LayerNorm(1e-5), "patches")
    draft("fc", linear(5, 12), "norm")
    after = run_passes(draft.graph("fc"), FLOAT_PASSES, verify=True)
    assert kinds(after) == ["input", "patches", "linear", "layer_norm", "linear"]


@pytest.mark.parametrize("op", [f.LayerNorm(1e-5), quantized_linear(5, 12)])
def test_other_readers_keep_them(op: f.LayerNorm | f.Linear) -> None:
    draft = Draft(3, 4, 6)
    draft("pixels", pixels(3, 3), "x")
    draft("patches", f.Patches(2), "pixels")
    draft("reader", op, "patches")
    graph = draft.graph("reader")
    assert kinds(apply(fold_pixel_convolutions, graph, 0)) == kinds(graph)
