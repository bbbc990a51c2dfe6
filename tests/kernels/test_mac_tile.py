"""The MAC tile in both builds is a matrix product: DSP rows, LUT rows, and accumulation over steps."""

from __future__ import annotations

import numpy as np
import pytest
from cpp_driver import FUNCTIONAL, Driver

from qvit_hls.hw.accelerator import CASCADE
from qvit_hls.quant.levels import activation_qmax

_SOURCE = """
#if defined(QVIT_FUNCTIONAL)
#include "mac_functional.hpp"
#else
#include "mac_packed.hpp"
#endif

namespace qvit {

template <int A_BITS, int TOKENS, int ROWS, int DEPTH, int BY_DSP, int LENGTH> struct Tile {
    static constexpr int A = A_BITS, T_N = TOKENS, T_M = ROWS, T_K = DEPTH;
    static constexpr int DSP_ROWS = BY_DSP, CASCADE = LENGTH;
    typedef sint<24> acc_t;
};

// in: tile, atoms, steps; then of every step the weights [T_M][T_K] and activations [T_K][T_N].
// Returns acc [atoms][T_N].
template <class C> std::vector<int64_t> accumulate(const std::vector<int64_t> &in) {
    const int atoms = static_cast<int>(in[1]), steps = static_cast<int>(in[2]);
    typename C::acc_t acc[C::T_M][C::T_N];
    atom_t weight[C::T_M * C::T_K];
    code_t x[C::T_K][C::T_N];
    size_t at = 3;
    for (int step = 0; step < steps; ++step) {
        for (int i = 0; i < C::T_M * C::T_K; ++i) weight[i] = static_cast<int8_t>(in[at++]);
        for (int k = 0; k < C::T_K; ++k)
            for (int n = 0; n < C::T_N; ++n) x[k][n] = static_cast<int8_t>(in[at++]);
        mac_tile<C>(weight, x, acc, atoms, step == 0);
    }
    std::vector<int64_t> out;
    for (int m = 0; m < atoms; ++m)
        for (int n = 0; n < C::T_N; ++n) out.push_back(static_cast<int64_t>(acc[m][n]));
    return out;
}

std::vector<int64_t> run(const std::vector<int64_t> &in) {
    switch (in[0]) {
    TILES
    }
    return {};
}

}  // namespace qvit
"""

#: Activation bits, T_N, T_M, T_K, DSP rows.
TILES = (
    (4, 4, 16, 16, 10),
    (5, 6, 12, 8, 12),
    (6, 2, 8, 4, 0),
    (7, 8, 12, 8, 8),
    (7, 2, 4, 2, 2),
    (8, 6, 16, 2, 9),
    (8, 4, 6, 32, 6),
)


@pytest.fixture(scope="module", params=[FUNCTIONAL, "PACKED"])
def mac_tile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    cases = "\n".join(
        f"case {i}: return accumulate<Tile<{a}, {n}, {m}, {k}, {dsp}, {min(CASCADE[a], k)}>>(in);"
        for i, (a, n, m, k, dsp) in enumerate(TILES)
    )
    return Driver(tmp_path_factory.mktemp("mac"), _SOURCE.replace("TILES", cases), request.param)


@pytest.mark.parametrize("index", range(len(TILES)))
@pytest.mark.parametrize("extreme", [False, True])
def test_the_mac_tile_is_a_matrix_product(mac_tile: Driver, index: int, extreme: bool) -> None:
    bits, tokens, rows, depth, _ = TILES[index]
    qmax = activation_qmax(bits)
    rng = np.random.default_rng(index)
    for atoms in {1, rows - 1, rows}:
        steps = int(rng.integers(1, 6))
        if extreme:  # the largest sums, of both signs
            weight = np.full((steps, rows, depth), -8)
            x = np.where(rng.random((steps, 1, tokens)) < 0.5, qmax, -qmax) * np.ones((1, depth, 1), int)
        else:
            weight = rng.integers(-8, 8, (steps, rows, depth))
            x = rng.integers(-qmax, qmax + 1, (steps, depth, tokens))
        per_step = [part for step in range(steps) for part in (weight[step], x[step])]
        got = mac_tile(index, atoms, steps, *per_step).reshape(atoms, tokens)
        assert np.array_equal(got, (weight @ x).sum(axis=0)[:atoms])
