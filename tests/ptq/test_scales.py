"""Steps of activations: what each rule does with a range."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_vit import random_images

from qvit_hls.ir.execute_float import fake_quantize
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.tables import FUNCTIONS
from qvit_hls.ptq.calibration import observe
from qvit_hls.ptq.placement import BitWidths, GridKind, place
from qvit_hls.ptq.scales import SCORE_STEP, FullRange, LeastErrorRange, PercentileRange, find_steps


def samples(seed: int, count: int = 500) -> torch.Tensor:
    """Heavy tails, as activations have."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, generator=generator) ** 3


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999), st.sampled_from([7, 15, 63, 127]))
def test_the_least_error_is_not_above_any_candidates(seed: int, qmax: int) -> None:
    x = samples(seed)
    largest = float(x.abs().max())

    def error(clipping: float) -> float:
        return float((fake_quantize(x, clipping / qmax, qmax) - x).abs().pow(2.4).sum())

    found = LeastErrorRange().clipping(x, largest, qmax, None)
    assert 0 < found <= largest
    assert all(error(found) <= error(largest * percent / 100) * (1 + 1e-6) for percent in range(10, 101))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999), st.floats(50, 100))
def test_a_percentile_leaves_its_share_of_samples_within(seed: int, percentile: float) -> None:
    x = samples(seed)
    found = PercentileRange(percentile).clipping(x, float(x.abs().max()), 63, None)
    within = float((x.abs() <= found).float().mean())
    assert percentile / 100 <= within + 1e-6 <= percentile / 100 + 2 / len(x)


def test_a_percentile_of_mostly_zeros_takes_the_whole_range() -> None:
    x = torch.zeros(100)
    x[3] = 2.0
    assert PercentileRange(90).clipping(x, 2.0, 63, None) == 2.0


def test_what_the_function_flattens_does_not_widen_a_tables_range() -> None:
    """GELU is zero far below zero: an outlier there costs nothing."""
    x = torch.cat([torch.linspace(-1, 3, 400), torch.tensor([-40.0])])
    plain = LeastErrorRange().clipping(x, 40.0, 63, None)
    through = LeastErrorRange().clipping(x, 40.0, 63, FUNCTIONS["gelu"])
    assert through < 5 < plain


def test_wide_grids_cover_what_was_seen(graph: Graph) -> None:
    placement = place(graph, BitWidths())
    seen = observe(graph, placement, random_images(4))
    steps = find_steps(graph, placement, seen, FullRange())
    for grid in placement.grids:
        covered = steps[grid.name] * grid.qmax
        if grid.kind is GridKind.SCORE:
            assert steps[grid.name] == SCORE_STEP
            assert covered >= 1.5 * seen.range_of(grid)
        elif grid.kind in (GridKind.RESIDUAL, GridKind.LOGIT):
            assert covered == pytest.approx(1.5 * seen.range_of(grid))
        else:
            assert covered == pytest.approx(seen.range_of(grid))


def test_scores_beyond_the_usual_range_get_a_coarser_step(graph: Graph) -> None:
    placement = place(graph, BitWidths())
    seen = observe(graph, placement, random_images(2))
    (score, *_) = [grid for grid in placement.grids if grid.kind is GridKind.SCORE]
    seen.largest[score.name] = torch.tensor(200.0)
    step = find_steps(graph, placement, seen, FullRange())[score.name]
    assert step > SCORE_STEP
    assert step * score.qmax == pytest.approx(300.0)
