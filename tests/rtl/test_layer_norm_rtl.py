"""The LayerNorm in SystemVerilog against the integer reference, cycle by cycle.

The bench plays the drain, which adds to the residual stream and takes cycles from the unit, and answers with
noise where the unit must not look. The activation memory is compared as a whole: a write outside its region
shows. Lanes without a token may hold anything.
"""

from __future__ import annotations

import numpy as np
import pytest
from layer_norm_cases import Around, Shape, layer, run
from vector_bench import Bench

_DESIGN = (
    *("qvit_pkg.sv", "lane_select.sv", "round_shift.sv", "primitives/DSP48E2.sv", "multiply_add.sv"),
    *(
        "reciprocal.sv",
        "square_root.sv",
        "layer_norm_lane.sv",
        "layer_norm_moments.sv",
        "layer_norm_scale.sv",
    ),
    "layer_norm.sv",
)
_SHAPES = [
    Shape(4, 22, 97, 2, shifts=True),
    Shape(12, 50, 48, 1, shifts=True),
    Shape(12, 50, 192, 2),
    pytest.param(Shape(24, 197, 192, 2), marks=pytest.mark.slow),
    pytest.param(Shape(40, 197, 192, 1, shifts=True), marks=pytest.mark.slow),
    pytest.param(Shape(40, 197, 192, 2), marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=_SHAPES, ids=lambda s: f"{s.lanes} lanes, {s.channels} channels")
def shape(request: pytest.FixtureRequest) -> Shape:
    return request.param


@pytest.fixture(scope="module")
def bench(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("layer_norm")
    return Bench(folder, "layer_norm", shape.parameters, "-O1", _DESIGN)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(17)


@pytest.mark.parametrize("stalls", [0.0, 0.3, 0.9])
def test_the_reference_is_met_with_moments_of_its_own(
    bench: Bench, shape: Shape, rng: np.random.Generator, stalls: float
) -> None:
    arounds = (Around(stalls=stalls), Around(stalls=stalls, pause=4 * shape.max_channels, early=0.1))
    cases = [
        layer(shape, rng, tokens, channels, around)
        for tokens in shape.token_counts
        for channels in shape.channel_counts
        for around in arounds
    ]
    run(bench, shape, cases)


@pytest.mark.parametrize("stalls", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("early", [0.0, 0.7, 1.0, 1.5])
def test_the_reference_is_met_with_moments_from_the_drain(
    bench: Bench, shape: Shape, rng: np.random.Generator, stalls: float, early: float
) -> None:
    cases = [
        layer(shape, rng, tokens, channels, Around(True, stalls, early, most_rows, pause))
        for tokens in shape.token_counts
        for channels in shape.channel_counts
        for most_rows, pause in ((1, 0), (10, 3), (24, 0))
    ]
    run(bench, shape, cases)


def test_early_tiles_are_normalized_while_later_ones_are_added(
    bench: Bench, shape: Shape, rng: np.random.Generator
) -> None:
    """A slow drain: the pauses of its last row tile leave room for passes of complete token tiles."""
    around = Around(True, early=0.5, most_rows=12, pause=3 * shape.lanes + shape.max_channels)
    cases = [layer(shape, rng, shape.max_tokens, channels, around) for channels in shape.channel_counts[2:]]
    assert sum(outcome.inside for outcome in run(bench, shape, cases)) > 0


@pytest.mark.parametrize("stalls", [0.0, 0.3])
def test_a_class_token_alone_is_normalized_out_of_all_that_were_added(
    bench: Bench, shape: Shape, rng: np.random.Generator, stalls: float
) -> None:
    cases = [
        layer(shape, rng, 1, channels, Around(True, stalls, early, other_tokens=others))
        for channels in shape.channel_counts
        for early in (0.0, 0.9, 1.5)
        for others in (shape.lanes - 1, shape.max_tokens - 1)
    ]
    run(bench, shape, cases)


def test_layers_with_and_without_moments_of_their_own_follow_each_other(
    bench: Bench, shape: Shape, rng: np.random.Generator
) -> None:
    cases = [
        layer(shape, rng, tokens, shape.max_channels, Around(added=added, early=0.5))
        for tokens in (shape.max_tokens, shape.lanes)
        for added in (False, True, True, False)
    ]
    run(bench, shape, cases)


def test_cycles_are_those_that_the_unit_states(bench: Bench, shape: Shape, rng: np.random.Generator) -> None:
    cases, expected = [], []
    channels = shape.max_channels
    steps, scaling = shape.steps(channels), shape.scaling
    for tokens in shape.token_counts:
        tiles, lanes = shape.tiles(tokens), min(tokens, shape.lanes)
        if tiles == 1 or steps >= 10 + shape.lanes + scaling:
            cases.append(layer(shape, rng, tokens, channels, Around()))
            expected.append(2 * steps + 19 + scaling + lanes if tiles == 1 else 2 * steps * tiles + 9)
        if tiles == 1 or (steps > shape.lanes and 2 * steps >= shape.lanes + scaling + 4):
            cases.append(layer(shape, rng, tokens, channels, Around(True)))
            expected.append(steps * tiles + 17 + scaling + lanes)
    assert [outcome.cycles for outcome in run(bench, shape, cases)] == expected
    assert max(shape.tiles(case.descriptor.tokens) for case in cases) > 1
