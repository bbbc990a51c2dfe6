"""Means of successive tokens in both builds of the C++ engine, by equality with the integer reference.

Memories are compared as a whole: a write to another lane, token or channel shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from cpp_driver import FUNCTIONAL, Driver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qvit_hls.hw.descriptor import Descriptor, Unit
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.execute_integer import INTEGER_RULES

MAX_TOKENS = 50
DEPTH = 256
LANES = (2, 6, 8)
QMAX = (1 << 15) - 1

_SOURCE = """
#include "mean_tokens.hpp"

namespace qvit {

template <int TOKENS> struct Config {
    static constexpr int T_N = TOKENS, T_M = 4, T_K = 2, A = 7, PORTS = 1;
    static constexpr int ACTIVATION_DEPTH = 2, DIGIT_DEPTH = 2, WIDE_DEPTH = DEPTH_OF_WIDE;
    static constexpr int MAX_TOKENS = MOST_TOKENS, TOKEN_TILES = ceil_div(MAX_TOKENS, T_N);
    static constexpr int DRAIN_GROUP = 1, TABLE_SIZE = 1, EXPONENTS = 1, MAX_CHANNELS = 1;
    static constexpr bool HAS_NORM_SHIFTS = false;
    static constexpr bool HAS_STREAM_OPERANDS = false;
};

// in: config, descriptor, wide memory [WIDE_DEPTH][T_N]. Returns the memory afterwards.
template <class C> std::vector<int64_t> run_means(const std::vector<int64_t> &in) {
    static Memories<C> memory;
    hls::stream<uint32_t> words;
    size_t at = 1;
    for (int i = 0; i < DESCRIPTOR_WORDS; ++i) words.write(static_cast<uint32_t>(in[at++]));
    for (int address = 0; address < C::WIDE_DEPTH; ++address)
        for (int n = 0; n < C::T_N; ++n) memory.wide[address][n] = static_cast<int16_t>(in[at++]);
    mean_tokens<C>(read_descriptor(words), memory);
    std::vector<int64_t> out;
    for (int address = 0; address < C::WIDE_DEPTH; ++address)
        for (int n = 0; n < C::T_N; ++n) out.push_back(static_cast<int64_t>(memory.wide[address][n]));
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


@dataclass(frozen=True)
class Means:
    """A drawn case.

    Attributes:
        descriptor: whose source and result lie apart.
        wide: the memory before, int64 ``[DEPTH, T_n]``.
    """

    lanes: int
    descriptor: Descriptor
    wide: np.ndarray

    def place(self, token: int, base: int, stride: int) -> tuple[slice, int]:
        """Where the channels of a token lie: addresses, and the lane."""
        start = base + token // self.lanes * stride
        return slice(start, start + self.descriptor.k), token % self.lanes

    def expected(self) -> np.ndarray:
        """The memory afterwards, by the reference."""
        d, wide = self.descriptor, self.wide.copy()
        op = ops.IntegerMeanTokens(d.multiplier, d.shift, d.qmax)
        for j in range(d.rows):
            first = d.first_token + j
            window = [self.wide[self.place(t, d.x_base, d.x_stride)] for t in range(first, first + d.tokens)]
            mean = INTEGER_RULES[type(op)](op, torch.from_numpy(np.stack(window))[None])
            wide[self.place(d.patch + j, d.y_base, d.y_stride)] = mean[0, 0].numpy()
        return wide


@st.composite
def means(draw: st.DrawFn) -> Means:
    """Windows of any length on any lane; all that they touch, and room between the tiles, fits the memory."""
    lanes = draw(st.sampled_from(LANES))
    most = min(MAX_TOKENS, 8 * lanes)
    tokens = draw(st.sampled_from([1, 1, 2, lanes, draw(st.integers(1, most))]))
    rows = draw(st.integers(1, most - tokens + 1))
    first = draw(st.integers(0, most - tokens - rows + 1))
    first_result = draw(st.integers(0, most - rows))
    channels = draw(st.integers(1, 9))
    stride = channels + draw(st.integers(0, 4))
    result_stride = channels + draw(st.integers(0, 4))
    base = draw(st.integers(0, 8))
    below = base + -(-(first + rows + tokens - 1) // lanes) * stride
    copies = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    d = Descriptor(
        unit=Unit.MEAN_TOKENS,
        tokens=tokens,
        k=channels,
        rows=rows,
        x_base=base,
        x_stride=stride,
        y_base=below,
        y_stride=result_stride,
        first_token=first,
        patch=first_result,
        multiplier=1 << 15 if copies else draw(st.integers(0, (1 << 16) - 1)),
        shift=15 if copies else draw(st.integers(1, 30)),
        qmax=QMAX if copies else draw(st.sampled_from([QMAX, 2047])),
    )
    return Means(lanes, d, rng.integers(-QMAX, QMAX + 1, (DEPTH, lanes)))


@pytest.fixture(scope="module", params=[FUNCTIONAL, "PACKED"])
def engine_unit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    cases = "\n".join(f"case {n}: return run_means<Config<{n}>>(in);" for n in LANES)
    source = _SOURCE.replace("CONFIGS", cases)
    source = source.replace("DEPTH_OF_WIDE", str(DEPTH)).replace("MOST_TOKENS", str(MAX_TOKENS))
    return Driver(tmp_path_factory.mktemp("means"), source, request.param)


@settings(max_examples=150, suppress_health_check=[HealthCheck.differing_executors])
@given(case=means())
def test_means_of_successive_tokens_equal_the_reference(engine_unit: Driver, case: Means) -> None:
    got = engine_unit(case.lanes, case.descriptor.words(), case.wide).reshape(case.wide.shape)
    assert np.array_equal(got, case.expected())


def test_a_mean_of_one_token_with_the_factor_one_is_a_copy(engine_unit: Driver) -> None:
    lanes, count = 6, 20
    d = Descriptor(
        unit=Unit.MEAN_TOKENS,
        tokens=1,
        k=3,
        rows=count,
        x_stride=3,
        y_base=50,
        y_stride=4,
        first_token=5,
        patch=11,
        multiplier=1 << 15,
        shift=15,
        qmax=QMAX,
    )
    case = Means(lanes, d, np.random.default_rng(2).integers(-QMAX, QMAX + 1, (DEPTH, lanes)))
    case.wide[:4] = [[QMAX], [-QMAX], [0], [-1]]
    got = engine_unit(lanes, d.words(), case.wide).reshape(case.wide.shape)
    for j in range(count):
        copy, source = case.place(11 + j, 50, 4), case.place(5 + j, 0, 3)
        assert np.array_equal(got[copy], case.wide[source])
