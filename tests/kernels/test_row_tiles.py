"""The engine cuts a matrix product into the tiles, and takes the cycles, that the scheduler says."""

from __future__ import annotations

import numpy as np
import pytest
from cpp_driver import Driver
from engine import ENGINES

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import Descriptor, Destination, DigitSource, Unit
from qvit_hls.hw.gemm_timing import ceil_div, drain_cycles, load_cycles, row_tiles

_SOURCE = """
#include "gemm_load.hpp"

namespace qvit {

template <int TOKENS, int ROWS, int DEPTH, int WEIGHT_PORTS> struct Config {
    static constexpr int T_N = TOKENS, T_M = ROWS, T_K = DEPTH, PORTS = WEIGHT_PORTS;
    static constexpr int ROWS_PER_BEAT = 32 * PORTS / T_K;
    static constexpr int DRAIN_GROUP = T_N / T_K, DIGIT_GROUP = gcd(T_N, T_M / 2);
};

// in: config, then descriptors. Returns for each the number of its tiles, and of every tile first row, rows
// of two digits, rows, atoms, load cycles and drain cycles.
template <class C> std::vector<int64_t> plan(const std::vector<int64_t> &in) {
    std::vector<int64_t> out;
    for (size_t at = 1; at + DESCRIPTOR_WORDS <= in.size(); at += DESCRIPTOR_WORDS) {
        hls::stream<uint32_t> words;
        for (int i = 0; i < DESCRIPTOR_WORDS; ++i) words.write(static_cast<uint32_t>(in[at + i]));
        const Descriptor d = read_descriptor(words);
        out.push_back(row_tiles<C>(d));
        for (int i = 0; i < row_tiles<C>(d); ++i) {
            const TilePlan plan = plan_tile<C>(d, i);
            for (int value : {plan.tile.first_row, plan.tile.rows8, plan.tile.rows, plan.tile.atoms,
                              plan.load_cycles, plan.drain_cycles})
                out.push_back(value);
        }
    }
    return out;
}

std::vector<int64_t> run(const std::vector<int64_t> &in) {
    switch (in[0]) {
    CONFIGS
    }
    return {};
}

}  // namespace qvit
"""


@pytest.fixture(scope="module")
def configs() -> list[AcceleratorConfig]:
    return [shape.config() for shape in ENGINES.values()]


@pytest.fixture(scope="module")
def plan(configs: list[AcceleratorConfig], tmp_path_factory: pytest.TempPathFactory) -> Driver:
    cases = "\n".join(
        f"case {i}: return plan<Config<{n}, {m}, {k}, {ports}>>(in);"
        for i, (n, m, k, ports) in enumerate(
            (c.tile_tokens, c.tile_rows, c.tile_depth, c.weight_ports) for c in configs
        )
    )
    return Driver(tmp_path_factory.mktemp("plan"), _SOURCE.replace("CONFIGS", cases))


def random_descriptors(rng: np.random.Generator, count: int) -> list[Descriptor]:
    found = []
    for _ in range(count):
        rows = int(rng.integers(1, 150))
        found.append(
            Descriptor(
                unit=Unit.GEMM,
                rows=rows,
                rows8=int(rng.choice([0, rows, rng.integers(0, rows + 1)])),
                k_steps=int(rng.integers(1, 40)),
                digit_source=int(rng.choice(DigitSource)),
                destination=int(rng.choice(Destination)),
            )
        )
    return found


@pytest.mark.parametrize("index", range(len(ENGINES)))
def test_tiles_and_their_cycles_are_those_of_the_scheduler(
    plan: Driver, configs: list[AcceleratorConfig], index: int
) -> None:
    config = configs[index]
    descriptors = random_descriptors(np.random.default_rng(index), 400)
    got = plan(index, *(d.words() for d in descriptors)).tolist()
    expected = []
    for d in descriptors:
        tiles = row_tiles(d.rows, d.rows8, config.tile_rows)
        expected.append(ceil_div(d.rows + d.rows8, config.tile_rows))
        for tile in tiles:
            load = load_cycles(config, tile, d.k_steps, from_memory=d.digit_source == DigitSource.MEMORY)
            drain = drain_cycles(config, tile, d.destination == Destination.ACTIVATION_TRANSPOSED)
            expected += [tile.first_row, tile.rows8, tile.rows, tile.atoms, load, drain]
    assert got == expected
