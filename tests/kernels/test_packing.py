"""Packed multiplications are products: every corner, and a million random ones for each activation width.

The largest loops run in C++ beside plain multiplication and report what differs, so that they take seconds.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from cpp_driver import Driver

from qvit_hls.hw.accelerator import CASCADE
from qvit_hls.quant.levels import activation_qmax

_SOURCE = """
#include <random>

#include "mac_packed.hpp"

namespace qvit {

template <int A_BITS, int LENGTH> struct Chain {
    static constexpr int A = A_BITS, T_K = LENGTH, CASCADE = LENGTH;
};

// Rows of weights and tokens of activations of one DSP cascade (or, with a LUT lane, one row and token).
template <class C> struct Operands {
    int w[3][C::T_K], x[2][C::T_K];
};

enum Lane { DSP, LUT };

// Whether the lane's sums are the sums of the plain products.
template <class C> bool equal(Lane lane, const Operands<C> &operands) {
    constexpr int WIDE = C::A == 8 ? 3 : 2, TALL = C::A == 8 ? 1 : 2;
    ap_int<4> w[3][C::T_K];
    ap_int<C::A> x[2][C::T_K];
    for (int k = 0; k < C::T_K; ++k) {
        for (int m = 0; m < 3; ++m) w[m][k] = operands.w[m][k];
        for (int n = 0; n < 2; ++n) x[n][k] = operands.x[n][k];
    }
    ap_int<16> sum[4] = {0, 0, 0, 0};
    if (lane == LUT) {
        for (int m = 0; m < WIDE; ++m)
            for (int n = 0; n < TALL; ++n) sum[m * TALL + n] = lut_lane<C>(w[m], x[n]);
    } else if (C::A == 8) {
        ap_int<16> three[3];
        dsp_three_by_one<C>(w[0], w[1], w[2], x[0], three);
        for (int m = 0; m < 3; ++m) sum[m] = three[m];
    } else {
        dsp_two_by_two<C>(w[0], w[1], x[0], x[1], sum);
    }
    for (int m = 0; m < WIDE; ++m) {
        for (int n = 0; n < TALL; ++n) {
            int plain = 0;
            for (int k = 0; k < C::T_K; ++k) plain += operands.w[m][k] * operands.x[n][k];
            if (sum[m * TALL + n].to_int() != plain) return false;
        }
    }
    return true;
}

// in: lane, mode, count, seed; then the weights the activations to choose from, each list
// preceded by its length.
// Mode 0: `count` chains of random choices. Mode 1: every combination of choices, the same in every link.
// Mode 2: every combination of choices in every link. Returns {chains tried, chains that differ}.
template <class C> std::vector<int64_t> check(const std::vector<int64_t> &in) {
    const Lane lane = static_cast<Lane>(in[1]);
    const int64_t mode = in[2], count = in[3];
    const size_t weights = in[5];
    const std::vector<int64_t> weight(in.begin() + 6, in.begin() + 6 + weights);
    const std::vector<int64_t> activation(in.begin() + 7 + weights, in.end());
    constexpr int ROWS = C::A == 8 ? 3 : 2, TOKENS = C::A == 8 ? 1 : 2;
    std::mt19937_64 random(in[4]);
    Operands<C> operands = {};
    int64_t tried = 0, different = 0;
    if (mode == 0) {
        for (; tried < count; ++tried) {
            for (int k = 0; k < C::T_K; ++k) {
                for (int m = 0; m < ROWS; ++m) operands.w[m][k] = weight[random() % weight.size()];
                for (int n = 0; n < TOKENS; ++n) operands.x[n][k] = activation[random() % activation.size()];
            }
            different += !equal<C>(lane, operands);
        }
        return {tried, different};
    }
    // An odometer over the free choices.
    const int links = mode == 1 ? 1 : C::T_K;
    std::vector<size_t> digit(links * (ROWS + TOKENS), 0);
    for (bool more = true; more;) {
        for (int k = 0; k < C::T_K; ++k) {
            const size_t *at = &digit[(mode == 1 ? 0 : k) * (ROWS + TOKENS)];
            for (int m = 0; m < ROWS; ++m) operands.w[m][k] = weight[at[m]];
            for (int n = 0; n < TOKENS; ++n) operands.x[n][k] = activation[at[ROWS + n]];
        }
        ++tried;
        different += !equal<C>(lane, operands);
        more = false;
        for (size_t i = 0; i < digit.size() && !more; ++i) {
            const bool is_weight = static_cast<int>(i % (ROWS + TOKENS)) < ROWS;
            const size_t choices = is_weight ? weight.size() : activation.size();
            if (++digit[i] < choices)
                more = true;
            else
                digit[i] = 0;
        }
    }
    return {tried, different};
}

std::vector<int64_t> run(const std::vector<int64_t> &in) {
    switch (in[0]) {
    CHAINS
    }
    return {};
}

}  // namespace qvit
"""

DSP, LUT = 0, 1
RANDOM, SAME_IN_EVERY_LINK, EVERY_COMBINATION = 0, 1, 2
WEIGHTS = (-8, -7, -1, 0, 1, 7)
BITS = sorted(CASCADE)
LANES = list(product(BITS, ("DSP", "LUT")))


def corners(bits: int) -> tuple[int, ...]:
    q = activation_qmax(bits)
    return (-q, -1, 0, 1, q)


class Chains:
    """The chains of every activation width at its cascade's length, and at twice that."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def differing(
        self,
        bits: int,
        length: int,
        lane: int,
        mode: int,
        weights: object,
        activations: object,
        count: int = 0,
    ) -> tuple[int, int]:
        """How many chains were tried and how many differ from plain products."""
        w, x = np.asarray(weights), np.asarray(activations)
        tried, different = self._driver(100 * bits + length, lane, mode, count, 17, len(w), w, len(x), x)
        return int(tried), int(different)


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Chains:
    built = {(a, c) for a, c in CASCADE.items()} | {(a, 2 * c) for a, c in CASCADE.items() if a < 8}
    cases = "\n".join(f"case {100 * a + c}: return check<Chain<{a}, {c}>>(in);" for a, c in sorted(built))
    return Chains(Driver(tmp_path_factory.mktemp("packing"), _SOURCE.replace("CHAINS", cases)))


@pytest.mark.parametrize(("bits", "lane"), LANES)
def test_every_corner_is_exact(chains: Chains, bits: int, lane: str) -> None:
    found = chains.differing(bits, CASCADE[bits], globals()[lane], SAME_IN_EVERY_LINK, WEIGHTS, corners(bits))
    assert found == (6**3 * 5 if bits == 8 else 6**2 * 5**2, 0)


@pytest.mark.parametrize("bits", [7, 8])
def test_every_combination_of_corners_within_a_cascade_is_exact(chains: Chains, bits: int) -> None:
    found = chains.differing(bits, CASCADE[bits], DSP, EVERY_COMBINATION, WEIGHTS, corners(bits))
    assert found == (6**3 * 5 if bits == 8 else (6**2 * 5**2) ** 2, 0)


@pytest.mark.parametrize("bits", [6])
def test_every_combination_of_extremes_within_a_longer_cascade_is_exact(chains: Chains, bits: int) -> None:
    q = activation_qmax(bits)
    assert chains.differing(bits, CASCADE[bits], DSP, EVERY_COMBINATION, (-8, 7), (-q, q)) == (16**4, 0)


@pytest.mark.parametrize(("bits", "lane"), LANES)
def test_mixed_corners_are_exact(chains: Chains, bits: int, lane: str) -> None:
    found = chains.differing(bits, CASCADE[bits], globals()[lane], RANDOM, WEIGHTS, corners(bits), 200_000)
    assert found == (200_000, 0)


def all_operands(bits: int) -> tuple[range, range]:
    q = activation_qmax(bits)
    return range(-8, 8), range(-q, q + 1)


@pytest.mark.parametrize(("bits", "lane"), LANES)
def test_a_million_random_products_are_exact(chains: Chains, bits: int, lane: str) -> None:
    count = max(1_000_000 // CASCADE[bits], 250_000)
    found = chains.differing(bits, CASCADE[bits], globals()[lane], RANDOM, *all_operands(bits), count)
    assert found == (count, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "lane"), LANES)
def test_ten_million_random_cascades_are_exact(chains: Chains, bits: int, lane: str) -> None:
    found = chains.differing(bits, CASCADE[bits], globals()[lane], RANDOM, *all_operands(bits), 10_000_000)
    assert found == (10_000_000, 0)


def test_all_operands_of_three_rows_by_one_token_are_exact(chains: Chains) -> None:
    assert chains.differing(8, 1, DSP, EVERY_COMBINATION, *all_operands(8)) == (16**3 * 255, 0)


@pytest.mark.parametrize("bits", [4, 5, 6, 7])
def test_a_cascade_of_twice_the_length_overflows_its_fields(chains: Chains, bits: int) -> None:
    tried, different = chains.differing(
        bits, 2 * CASCADE[bits], DSP, SAME_IN_EVERY_LINK, WEIGHTS, corners(bits)
    )
    assert tried == 900
    assert different > 100


def test_an_activation_beyond_the_narrow_range_overflows_its_field(chains: Chains) -> None:
    assert chains.differing(8, 1, DSP, SAME_IN_EVERY_LINK, (-8,), (-128,)) == (1, 1)


@pytest.mark.parametrize("bits", BITS)
def test_cascades_are_the_longest_powers_of_two_that_fit(bits: int) -> None:
    largest = CASCADE[bits] * 8 * activation_qmax(bits)
    assert largest < 1024 <= 2 * largest
