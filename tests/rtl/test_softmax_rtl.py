"""The softmax in SystemVerilog against the integer reference, cycle by cycle.

The bench decides in every cycle whether a step may be taken and which token tiles are ready; it answers with
noise where the unit must not look. Exponents of lanes without a token are compared too: their maximum is just
another number.
"""

from __future__ import annotations

import numpy as np
import pytest
from softmax_cases import TABLE, WRITE, Case, Conditions, Outcome, Shape, run, softmax_case
from vector_bench import Bench

_DESIGN = ("qvit_pkg.sv", "lane_select.sv", "reciprocal.sv", "softmax.sv")
_SHAPES = [
    Shape(12, 50, 1),
    Shape(12, 50, 2),
    Shape(24, 197, 2),
    pytest.param(Shape(40, 197, 1), marks=pytest.mark.slow),
    pytest.param(Shape(40, 197, 2), marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=_SHAPES, ids=lambda s: f"{s.lanes} lanes, {s.keys} keys")
def shape(request: pytest.FixtureRequest) -> Shape:
    return request.param


@pytest.fixture(scope="module")
def bench(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("softmax"), "softmax", shape.parameters, "-O1", _DESIGN)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(17)


_FREE = Conditions()
_CONDITIONS = (
    _FREE,
    Conditions(late=True),
    Conditions(stalls=0.3),
    Conditions(stalls=0.3, late=True),
    Conditions(stalls=0.9),
    Conditions(stalls=0.9, late=True),
)


def shapes_of_interest(shape: Shape) -> list[tuple[int, int]]:
    """Tokens and keys: one, a tile but one, a tile, a tile and one, several with a rest, the most."""
    t = shape.lanes
    return [
        (tokens, keys)
        for tokens in (1, t - 1, t, t + 1, 3 * t, shape.max_tokens)
        for keys in sorted({1, 2, t - 1, t, tokens, shape.max_tokens - 1, shape.max_tokens})
    ]


def check(case: Case, outcome: Outcome) -> None:
    assert np.flatnonzero(outcome.done).tolist() == [case.done]
    assert np.array_equal(outcome.written, case.written)
    assert np.array_equal(outcome.digit, case.digit_after)
    assert np.array_equal(outcome.normalizers, case.normalizers)
    assert outcome.normalized.sum() == case.descriptor.tokens


@pytest.mark.parametrize(
    "conditions", _CONDITIONS, ids=lambda c: f"{c.stalls:.0%} stalls{', late tiles' if c.late else ''}"
)
def test_softmax_equals_the_reference_in_every_cycle(
    bench: Bench, shape: Shape, rng: np.random.Generator, conditions: Conditions
) -> None:
    cases = [
        softmax_case(shape, rng, tokens, keys, None if index else TABLE, conditions)
        for index, (tokens, keys) in enumerate(shapes_of_interest(shape))
    ]
    for case, outcome in zip(cases, run(bench, cases), strict=True):
        check(case, outcome)
        held = np.flatnonzero(~case.advance[: len(case.advance) - WRITE])
        assert not outcome.written[held + WRITE].any(), "a step was taken in a cycle that was not free"


def test_a_table_stays_until_another_comes(bench: Bench, shape: Shape, rng: np.random.Generator) -> None:
    other = np.sort(rng.integers(0, 120, 256))[::-1].astype(np.uint8)
    other[0] = 119
    tokens, keys = shape.lanes + 1, shape.max_tokens
    cases = [softmax_case(shape, rng, tokens, keys, table, _FREE) for table in (other, TABLE, None, other)]
    for case, outcome in zip(cases, run(bench, cases), strict=True):
        check(case, outcome)


def test_tiles_follow_each_other_at_the_stated_rate(shape: Shape, rng: np.random.Generator) -> None:
    """The formula that softmax.sv states."""
    for tokens, keys in shapes_of_interest(shape):
        groups, tiles = -(-keys // shape.keys), shape.tiles(tokens)
        sum_bits = 7 + shape.max_tokens.bit_length()
        formula = groups + (tiles - 1) * max(groups, shape.lanes) + shape.last_tile(tokens)
        case = softmax_case(shape, rng, tokens, keys, None, _FREE)
        assert case.done == formula + 16 + (sum_bits - 1).bit_length()
