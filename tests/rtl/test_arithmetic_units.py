"""Requantization, reciprocal and square root in SystemVerilog against Python and the integer reference."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from vector_bench import Bench

from qvit_hls.ir import execute_integer

_MAX_SHIFT = 50
_REQUANTIZE = {14: 0, 24: 1, 27: 2, 32: 3}
_ROUND_BITS, _ROUND = 42, 4
_RECIPROCAL = {2: 10, 10: 11, 15: 12, 24: 13, 28: 14}
_ROOT = {8: 20, 16: 21, 48: 22, 56: 23}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("arithmetic"), "arithmetic", {}, "-O1")


def call(bench: Bench, selector: int, *columns: np.ndarray | int) -> np.ndarray:
    """Results int64 ``[n]`` of one unit for operand columns value, multiplier, shift, qmax."""
    operands = np.zeros((np.size(columns[0]), 4), np.int64)
    for index, column in enumerate(columns):
        operands[:, index] = column
    header = np.array([selector, len(operands)], np.int64)
    return np.frombuffer(bench.run(header.tobytes() + operands.tobytes()), np.int64)


def corner_operands(width: int, qmaxes: list[int]) -> np.ndarray:
    """Every combination of the extremes of value, multiplier, shift and qmax, ``[n, 4]``."""
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    values = [low, low + 1, low // 2, -2, -1, 0, 1, 2, high // 2, high - 1, high]
    multipliers = [0, 1, 2, 32767, 32768, 65535, 65536, 131070, 131071]
    return np.array(list(itertools.product(values, multipliers, range(1, _MAX_SHIFT + 1), qmaxes)), np.int64)


def random_operands(width: int, qmax_bits: int, count: int) -> np.ndarray:
    """Operands ``[count, 4]``; values of every bit length; half of the shifts fit the result."""
    rng = np.random.default_rng(width)
    values = rng.integers(-(1 << (width - 1)), 1 << (width - 1), count) >> rng.integers(0, width, count)
    multipliers = rng.integers(0, 1 << 17, count) >> (rng.integers(0, 17, count) * (rng.random(count) < 0.3))
    shifts = rng.integers(1, _MAX_SHIFT + 1, count)
    # Around the bound: |value * multiplier| >> shift is near qmax.
    length = np.frexp(np.abs(values * multipliers).astype(np.float64))[1]
    near = np.clip(length - qmax_bits + rng.integers(-2, 3, count), 1, _MAX_SHIFT)
    shifts = np.where(rng.random(count) < 0.5, near, shifts)
    return np.stack([values, multipliers, shifts, rng.integers(1, 1 << qmax_bits, count)], axis=1)


def requantized(operands: np.ndarray) -> np.ndarray:
    """The contract on int64; products and roundings stay below 2**50."""
    value, multiplier, shift, qmax = operands.T
    return np.clip((value * multiplier + (np.int64(1) << (shift - 1))) >> shift, -qmax, qmax)


@pytest.mark.parametrize("width", _REQUANTIZE)
def test_requantize_equals_the_contract_at_all_corners(bench: Bench, width: int) -> None:
    operands = corner_operands(width, [1, 2, 7, 63, 127, 32766, 32767])
    assert np.array_equal(call(bench, _REQUANTIZE[width], *operands.T), requantized(operands))


@pytest.mark.parametrize("width", _REQUANTIZE)
def test_requantize_equals_the_contract_on_random_values(bench: Bench, width: int) -> None:
    operands = random_operands(width, 15, 1_000_000 if width == 27 else 200_000)
    expected = requantized(operands)
    inside = np.abs(expected) < operands[:, 3]
    assert 0.1 < inside.mean() < 0.9, "both clamped and unclamped results must be frequent"
    assert np.array_equal(call(bench, _REQUANTIZE[width], *operands.T), expected)


def test_requantize_equals_the_integer_reference(bench: Bench) -> None:
    operands = random_operands(27, 15, 20_000)
    value, multiplier, shift, _ = (torch.from_numpy(column.copy()) for column in operands.T)
    for qmax in (63, 127, 32767):
        expected = execute_integer.requantize(value, multiplier, shift, qmax)
        result = call(bench, _REQUANTIZE[27], *operands[:, :3].T, qmax)
        assert np.array_equal(result, expected.numpy())


def test_round_shift_to_eight_bits_equals_the_contract(bench: Bench) -> None:
    corners = corner_operands(_ROUND_BITS, [1, 2, 7, 31, 63, 126, 127])
    operands = np.concatenate([corners, random_operands(_ROUND_BITS, 7, 300_000)])
    operands[:, 1] = 1
    assert np.array_equal(call(bench, _ROUND, *operands.T), requantized(operands))


def reciprocals(denominators: np.ndarray, multiplier: int, exponent: int) -> np.ndarray:
    """``multiplier << 6 | shift`` of each, by Python's integers; a denominator of 0 counts as 1."""
    packed = []
    for denominator in denominators.tolist():
        divisor = max(denominator, 1)
        z = divisor.bit_length()
        packed.append(((multiplier << z) // divisor) << 6 | (exponent + z))
    return np.array(packed)


def denominators(width: int) -> np.ndarray:
    """All of them, or the powers of two and their neighbours and random ones of every length."""
    if width <= 15:
        return np.arange(1 << width)
    rng = np.random.default_rng(width)
    powers = 1 << np.arange(width)
    random = rng.integers(0, 1 << width, 30_000) >> rng.integers(0, width, 30_000)
    return np.concatenate([powers - 1, powers, np.minimum(powers + 1, (1 << width) - 1), random])


@pytest.mark.parametrize("width", _RECIPROCAL)
def test_reciprocal_equals_floor_division(bench: Bench, width: int) -> None:
    values = denominators(width)
    for multiplier, exponent in ((65535, 3), (32768, 0), (1, 20), (0, 5), (54321, 31)):
        result = call(bench, _RECIPROCAL[width], values, multiplier, exponent)
        assert np.array_equal(result, reciprocals(values, multiplier, exponent))


def test_reciprocal_equals_the_integer_reference(bench: Bench) -> None:
    values = np.maximum(denominators(24), 1)
    multiplier, shift = execute_integer.reciprocal(torch.from_numpy(values), 40_000, 7)
    result = call(bench, _RECIPROCAL[24], values, 40_000, 7)
    assert np.array_equal(result >> 6, multiplier.numpy())
    assert np.array_equal(result & 63, shift.numpy())


@pytest.mark.parametrize("width", _ROOT)
def test_square_root_is_the_integer_square_root(bench: Bench, width: int) -> None:
    if width <= 16:
        values = np.arange(1 << width)
    else:
        rng = np.random.default_rng(width)
        roots = rng.integers(0, 1 << (width // 2), 50_000) >> rng.integers(0, width // 2, 50_000)
        extremes = np.array([0, 1, (1 << width) - 1, 1 << (width - 1)])
        random = rng.integers(0, 1 << width, 50_000) >> rng.integers(0, width, 50_000)
        values = np.concatenate([extremes, roots**2, np.maximum(roots**2 - 1, 0), roots**2 + 1, random])
        values = values[values < 1 << width]
    expected = np.array([math.isqrt(value) for value in values.tolist()])
    assert np.array_equal(call(bench, _ROOT[width], values), expected)
