"""Requantization, reciprocal and square root in both builds of the kernels, against Python integers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cpp_driver import FUNCTIONAL, Driver

from qvit_hls.ir.integer_ops import MAX_SHIFT

_SOURCE = """
#include "requantize.hpp"
#include "gemm_load.hpp"

namespace qvit {

// in: operation, then its operands. Operations: 0 requantize<32>, 1 requantize<45>, 2 reciprocal<24>,
// 3 reciprocal<28>, 4 square root of 56 bits, 5 square root of 34 bits, 6 row parameters.
std::vector<int64_t> run(const std::vector<int64_t> &in) {
    std::vector<int64_t> out;
    for (size_t i = 0; i + 5 <= in.size(); i += 5) {
        const int64_t a = in[i + 1], b = in[i + 2], c = in[i + 3], d = in[i + 4];
        const uint<SHIFT_BITS> shift = static_cast<uint<SHIFT_BITS>>(c);
        const Scaling scaling = {static_cast<uint<MULTIPLIER_BITS>>(b), shift};
        const uint<16> numerator = static_cast<uint<16>>(b);
        const wide_t qmax = static_cast<wide_t>(d);
        Scaling inverse = {0, 0};
        switch (in[i]) {
        case 0:
            out.push_back(static_cast<int64_t>(requantize<32>(static_cast<sint<32>>(a), scaling, qmax)));
            break;
        case 1:
            out.push_back(static_cast<int64_t>(requantize<45>(static_cast<sint<45>>(a), scaling, qmax)));
            break;
        case 2:
        case 3:
            inverse = in[i] == 2 ? reciprocal<24>(static_cast<uint<24>>(a), numerator, shift)
                                 : reciprocal<28>(static_cast<uint<28>>(a), numerator, shift);
            out.push_back(static_cast<int64_t>(inverse.multiplier));
            out.push_back(static_cast<int64_t>(inverse.shift));
            break;
        case 4:
            out.push_back(static_cast<int64_t>(integer_square_root<56>(static_cast<uint<56>>(a))));
            break;
        case 5:
            out.push_back(static_cast<int64_t>(integer_square_root<34>(static_cast<uint<34>>(a))));
            break;
        default:
            const RowParameters row = unpack_row(static_cast<uint64_t>(a));
            out.push_back(static_cast<int64_t>(row.bias));
            out.push_back(static_cast<int64_t>(row.scaling.multiplier));
            out.push_back(static_cast<int64_t>(row.scaling.shift));
            out.push_back(static_cast<int64_t>(row.channel));
        }
    }
    return out;
}

}  // namespace qvit
"""

COUNT = 20_000


@pytest.fixture(scope="module", params=[FUNCTIONAL, "PACKED"])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    return Driver(tmp_path_factory.mktemp("arithmetic"), _SOURCE, request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def call(kernel: Driver, operation: int, *operands: np.ndarray) -> np.ndarray:
    columns = np.zeros((len(operands[0]), 5), np.int64)
    columns[:, 0] = operation
    for index, operand in enumerate(operands):
        columns[:, 1 + index] = operand
    return kernel(columns)


def spread(rng: np.random.Generator, bits: int) -> np.ndarray:
    """Non-negative integers of every magnitude below 2**bits, powers of two and their neighbours first."""
    corners = [p + d for b in range(bits) for p in (1 << b,) for d in (-1, 0, 1)] + [(1 << bits) - 1]
    random = rng.integers(0, 1 << 62, COUNT) >> rng.integers(62 - bits, 62, COUNT)
    return np.concatenate([np.array(corners, np.int64), random])


@pytest.mark.parametrize(("operation", "width"), [(0, 32), (1, 45)])
def test_requantization_is_the_formula(
    kernel: Driver, rng: np.random.Generator, operation: int, width: int
) -> None:
    value = spread(rng, width - 1)
    value = value * rng.choice([-1, 1], len(value))
    largest_multiplier = (1 << 17) - 1
    multiplier = np.where(
        rng.random(len(value)) < 0.1,
        rng.choice([0, 1, largest_multiplier], len(value)),
        rng.integers(0, largest_multiplier + 1, len(value)),
    )
    shift = rng.integers(1, MAX_SHIFT + 1, len(value))
    qmax = rng.choice([7, 63, 119, 127, 511, 32767], len(value))
    got = call(kernel, operation, value, multiplier, shift, qmax)
    expected = [
        max(-q, min(q, (v * m + (1 << (s - 1))) >> s))
        for v, m, s, q in zip(value.tolist(), multiplier.tolist(), shift.tolist(), qmax.tolist(), strict=True)
    ]
    assert got.tolist() == expected


@pytest.mark.parametrize(
    ("acc", "expected"),
    [(1, 1), (-1, 0), (2, 1), (3, 2), (-3, -1), (0, 0), (254, 127), (255, 127), (-256, -127)],
)
def test_halves_are_rounded_up_and_results_clamped(kernel: Driver, acc: int, expected: int) -> None:
    ones = np.ones(1, np.int64)
    assert call(kernel, 0, acc * ones, ones, ones, 127 * ones).tolist() == [expected]


@pytest.mark.parametrize(("operation", "width"), [(2, 24), (3, 28)])
def test_the_reciprocal_is_the_formula(
    kernel: Driver, rng: np.random.Generator, operation: int, width: int
) -> None:
    divisor = np.maximum(spread(rng, width), 1)
    multiplier = rng.choice([0, 1, 1 << 15, 40503, (1 << 16) - 1], len(divisor))
    exponent = rng.integers(0, MAX_SHIFT - width, len(divisor))
    got = call(kernel, operation, divisor, multiplier, exponent).reshape(-1, 2)
    expected = [
        [(m << d.bit_length()) // d, e + d.bit_length()]
        for d, m, e in zip(divisor.tolist(), multiplier.tolist(), exponent.tolist(), strict=True)
    ]
    assert got.tolist() == expected


@pytest.mark.parametrize(("operation", "width"), [(4, 56), (5, 34)])
def test_the_square_root_is_exact(
    kernel: Driver, rng: np.random.Generator, operation: int, width: int
) -> None:
    root = rng.integers(0, 1 << (width // 2), 2000)
    value = np.concatenate(
        [spread(rng, width), root * root, np.maximum(root * root - 1, 0), root * root + root]
    )
    assert call(kernel, operation, value).tolist() == [math.isqrt(v) for v in value.tolist()]


def test_row_parameters_are_unpacked_as_they_are_packed(kernel: Driver, rng: np.random.Generator) -> None:
    from qvit_hls.codegen.stream import pack_parameters
    from qvit_hls.hw.program import RowParameters

    corners = {
        "bias": [-(1 << 29), (1 << 29) - 1, -1, 0],
        "multiplier": [0, 1, (1 << 15), (1 << 16) - 1],
        "shift": [1, 31, 32, MAX_SHIFT],
        "channel": [0, 1, 2048, 4095],
    }
    columns = {
        "bias": rng.integers(-(1 << 29), 1 << 29, 500),
        "multiplier": rng.integers(0, 1 << 16, 500),
        "shift": rng.integers(1, MAX_SHIFT + 1, 500),
        "channel": rng.integers(0, 1 << 12, 500),
    }
    columns = {name: np.concatenate([corners[name], values]) for name, values in columns.items()}
    packed = np.frombuffer(pack_parameters(RowParameters(**columns), slice(None)), "<i8")
    got = call(kernel, 6, packed).reshape(-1, 4)
    assert np.array_equal(got, np.stack(list(columns.values()), axis=1))
