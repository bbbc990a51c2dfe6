"""Reshapes and permutations of the image that cut patches become Patches; others stay."""

from __future__ import annotations

import numpy as np
import pytest
from graph_draft import Draft, apply, kinds, linear
from hypothesis import given
from hypothesis import strategies as st

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Quantization
from qvit_hls.ir.passes.patches_from_layout import patches_from_layout


def cut(draft: Draft, order: tuple[int, ...], size: int = 2) -> str:
    """Patches of ``size``, their parts (channel, patch row, row, patch column, column) in some order."""
    channels, height, width = draft.nodes[0].shape
    draft("parts", f.Reshape((channels, height // size, size, width // size, size)), "x")
    draft("permuted", f.Permute(order), "parts")
    return draft("patches", f.Reshape((height * width // size**2, channels * size**2)), "permuted")


@given(st.permutations([0, 2, 4]), st.integers(1, 3))
def test_pixels_of_a_patch_may_be_in_any_order(pixels: list[int], channels: int) -> None:
    draft = Draft(channels, 4, 6)
    patches = cut(draft, (1, 3, *pixels))
    draft("fc", linear(5, channels * 4), patches)
    after = apply(patches_from_layout, draft.graph("fc"))
    assert kinds(after) == ["input", "patches", "linear"]


def test_other_readers_get_the_pixels_in_their_order() -> None:
    draft = Draft(3, 4, 4)
    patches = cut(draft, (1, 3, 2, 4, 0))
    draft("norm", f.LayerNorm(1e-5), patches)
    draft("fc", linear(5, 12), patches)
    after = apply(patches_from_layout, draft.graph("norm", "fc"))
    assert kinds(after) == ["input", "patches", "linear", "layer_norm", "linear"]
    op = after["patches"].op
    assert isinstance(op, f.Linear) and np.array_equal(op.weight.sum(0), np.ones(12))
    assert after["norm"].inputs == ("patches",) and after["fc"].inputs == ("patches.patches",)


def test_pixels_that_are_in_order_need_no_layer() -> None:
    draft = Draft(3, 4, 4)
    draft("norm", f.LayerNorm(1e-5), cut(draft, (1, 3, 0, 2, 4)))
    after = apply(patches_from_layout, draft.graph("norm"), 0)
    assert kinds(after) == ["input", "patches", "layer_norm"]


@pytest.mark.parametrize(
    "order", [(3, 1, 0, 2, 4), (2, 4, 0, 1, 3), (1, 0, 3, 2, 4)], ids=["columns first", "dilated", "mixed"]
)
def test_what_are_no_patches_row_by_row_stays(order: tuple[int, ...]) -> None:
    draft = Draft(4, 4, 4)
    draft("fc", linear(5, 16), cut(draft, order))
    graph = draft.graph("fc")
    assert kinds(apply(patches_from_layout, graph, 0)) == kinds(graph)


def test_a_rounding_on_the_way_stays() -> None:
    draft = Draft(1, 4, 4)
    draft("parts", f.Reshape((1, 2, 2, 2, 2)), "x", quant=Quantization(0.1, 7))
    draft("permuted", f.Permute((1, 3, 0, 2, 4)), "parts")
    draft("patches", f.Reshape((4, 4)), "permuted")
    draft("fc", linear(5, 4), "patches")
    graph = draft.graph("fc")
    assert kinds(patches_from_layout(graph)) == kinds(graph)
