"""Mean, image loader and the writers in SystemVerilog against the integer reference.

Every case compares all memories as a whole: a write outside its region shows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from vector_bench import Bench, sources, verilator
from vector_memories import Case, Shape, place, random_memories, run

from qvit_hls.hw.descriptor import Descriptor, Memory, Unit
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.execute_integer import INTEGER_RULES

_SHAPES = {
    "12 lanes": Shape(tokens=12, depth=4, max_tokens=50, max_channels=48, pixels=2),
    "24 lanes": Shape(tokens=24, depth=8, max_tokens=197, max_channels=192, pixels=8),
    "40 lanes": Shape(tokens=40, depth=8, max_tokens=197, max_channels=192, pixels=8),
}
_PARAMETERS = [pytest.param(name, marks=[pytest.mark.slow] if name == "40 lanes" else []) for name in _SHAPES]
_STALLS = (0, 60, 200)


@pytest.fixture(scope="module", params=_PARAMETERS)
def shape(request: pytest.FixtureRequest) -> Shape:
    return _SHAPES[request.param]


@pytest.fixture(scope="module")
def bench(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("units"), "units", shape.parameters, "-O0")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(17)


def execute(op: ops.Op, x: np.ndarray) -> np.ndarray:
    """One operation of the integer reference on ``x [tokens, channels]``."""
    return INTEGER_RULES[type(op)](op, torch.from_numpy(x.astype(np.int64))[None])[0].numpy()


def token_counts(shape: Shape) -> list[int]:
    """One token, part of a tile, exactly one, one more, several with a rest."""
    t = shape.tokens
    return [1, t - 1, t, t + 1, 3 * t, shape.max_tokens]


def region(shape: Shape, rng: np.random.Generator, tiles: int, channels: int) -> tuple[int, int, int]:
    """Base, stride and end of a region at whole words, with room between the tiles."""
    base = int(rng.integers(0, 4)) * shape.depth
    stride = shape.padded(channels) + int(rng.integers(0, 3)) * shape.depth
    return base, stride, base + tiles * stride


# ------------------------------------------------------------------------------------------------ mean


def test_mean_over_tokens_equals_the_reference(bench: Bench, shape: Shape, rng: np.random.Generator) -> None:
    cases, expected = [], []
    for tokens in token_counts(shape):
        for channels in (1, shape.max_channels - 1):
            tiles = shape.tiles(tokens)
            x = rng.integers(-32767, 32768, (tokens, channels))
            x[:, 0] = rng.choice([-32767, 32767])
            op = ops.IntegerMeanTokens(int(rng.integers(1, 65536)), int(rng.integers(1, 25)), 32767)
            base, stride, end = region(shape, rng, tiles, channels)
            target = end + shape.depth
            memories = random_memories(shape, rng, target + shape.padded(channels) + shape.depth)
            place(shape, memories[0], x, base, stride)
            descriptor = Descriptor(
                unit=Unit.MEAN_TOKENS,
                tokens=tokens,
                k=channels,
                x_base=base,
                x_stride=stride,
                y_base=target,
                y_stride=shape.padded(channels),
                multiplier=op.multiplier,
                shift=op.shift,
                qmax=op.qmax,
            )
            cases.append(Case("mean", descriptor, *memories))
            after = memories[0].copy()
            place(shape, after, execute(op, x), target, 0)
            expected.append(after)
    levels = (shape.tokens - 1).bit_length()
    for case, after, outcome in zip(cases, expected, run(bench, cases), strict=True):
        assert np.array_equal(outcome.wide, after)
        assert np.array_equal(outcome.activation, case.activation) and np.array_equal(
            outcome.digit, case.digit
        )
        assert outcome.cycles == case.descriptor.k * shape.tiles(case.descriptor.tokens) + 8 + levels


# ------------------------------------------------------------------------------------------------ image


@pytest.mark.parametrize("stall", _STALLS)
def test_image_is_cut_into_patches(bench: Bench, shape: Shape, rng: np.random.Generator, stall: int) -> None:
    cases, expected = [], []
    for channels, rows, columns, groups, first in [
        (1, 1, 1, 1, 0),
        (3, 2, 3, 1, 1),
        (3, 4, 4, 2, 0),
        (2, 5, 7, 2, 2 * shape.tokens + 3),
        (1, 3, 5, 3, shape.tokens),
    ]:
        patch = groups * shape.pixels
        image = rng.integers(-128, 128, (channels, rows * patch, columns * patch)).astype(np.int8)
        tokens = execute(ops.Patches(patch), image)
        stride = shape.padded(tokens.shape[1]) + shape.depth
        base = 2 * shape.depth
        memories = random_memories(shape, rng, base + shape.tiles(first + len(tokens)) * stride + shape.depth)
        stream = image.tobytes()
        stream += rng.bytes(-len(stream) % 16) + rng.bytes(32)
        descriptor = Descriptor(
            unit=Unit.LOAD_IMAGE,
            k=channels,
            y_base=base,
            y_stride=stride,
            first_token=first,
            patch=patch,
            height=image.shape[1],
            width=image.shape[2],
        )
        cases.append(Case("image", descriptor, *memories, image=stream, stall=stall))
        after = memories[1].copy()
        for token, row in enumerate(tokens, first):
            start = base + token // shape.tokens * stride
            after[start : start + len(row), token % shape.tokens] = row
        expected.append(after)
    for case, after, outcome in zip(cases, expected, run(bench, cases), strict=True):
        d = case.descriptor
        pixels = d.k * d.height * d.width
        assert np.array_equal(outcome.activation, after)
        assert np.array_equal(outcome.wide, case.wide) and np.array_equal(outcome.digit, case.digit)
        assert outcome.words_taken == -(-pixels // 16), "the words of the next image must stay in the stream"
        assert outcome.writes == pixels // shape.pixels
        if stall == 0:
            assert outcome.cycles == d.first_token // shape.tokens + pixels // shape.pixels + 2


# ------------------------------------------------------------------------------------------------ writers


@pytest.mark.parametrize("stall", _STALLS)
def test_result_is_streamed(bench: Bench, shape: Shape, rng: np.random.Generator, stall: int) -> None:
    cases = []
    for count in (1, 2, 7, 8, 9, 100):
        memories = random_memories(shape, rng, 32 * shape.depth + 100)
        descriptor = Descriptor(
            unit=Unit.STORE_RESULT, k=count, x_base=int(rng.integers(0, 32)) * shape.depth, tokens=1
        )
        cases.append(Case("result", descriptor, *memories, stall=stall))
    for case, outcome in zip(cases, run(bench, cases), strict=True):
        d = case.descriptor
        assert np.array_equal(outcome.streamed, case.wide[d.x_base : d.x_base + d.k, 0])
        assert outcome.writes == 0
        if stall == 0:
            assert outcome.cycles == d.k + 4


@pytest.mark.parametrize("stall", _STALLS)
def test_trace_is_the_layers_result(bench: Bench, shape: Shape, rng: np.random.Generator, stall: int) -> None:
    cases = []
    for memory in Memory:
        for tokens, channels in [(1, 1), (3, shape.depth + 1), (shape.tokens + 1, 5), (2 * shape.tokens, 17)]:
            base, stride, end = region(shape, rng, shape.tiles(tokens), channels)
            descriptor = Descriptor(
                unit=Unit.GEMM,
                trace_memory=memory,
                trace_base=base,
                trace_stride=stride,
                trace_tokens=tokens,
                trace_channels=channels,
            )
            cases.append(
                Case("trace", descriptor, *random_memories(shape, rng, end + shape.depth), stall=stall)
            )
    for case, outcome in zip(cases, run(bench, cases), strict=True):
        d = case.descriptor
        if d.trace_memory == Memory.NONE:
            assert len(outcome.streamed) == 0 and outcome.cycles == 1
            continue
        source = (case.activation, case.digit, case.wide)[d.trace_memory]
        values = [
            source[d.trace_base + t // shape.tokens * d.trace_stride + c, t % shape.tokens]
            for t in range(d.trace_tokens)
            for c in range(d.trace_channels)
        ]
        assert np.array_equal(outcome.streamed, np.array(values, np.int16))
        if stall == 0:
            assert outcome.cycles == len(values) + 7


# ------------------------------------------------------------------------------------------------ lint


@pytest.mark.parametrize(
    "top", ["layer_norm", "softmax", "mean_tokens", "load_image", "store_result", "store_trace", "requantize"]
)
def test_units_are_clean_in_verilator_lint(top: str, tmp_path: Path) -> None:
    # Of the package a unit uses a part only, and of the sources only what it instantiates.
    result = verilator(
        tmp_path,
        ["--lint-only", "-Wall", "-Wno-UNUSEDPARAM", "-Wno-MULTITOP", "--top-module", top, *sources()],
    )
    assert result.returncode == 0, result.stderr
    assert "%Warning" not in result.stderr
