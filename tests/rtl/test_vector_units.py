"""Means of tokens, image loader and the writers in SystemVerilog against the integer reference.

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
from qvit_hls.hw.timing.constants import MEAN_TOKENS
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


def region(shape: Shape, rng: np.random.Generator, tiles: int, channels: int) -> tuple[int, int, int]:
    """Base, stride and end of a region at whole words, with room between the tiles."""
    base = int(rng.integers(0, 4)) * shape.depth
    stride = shape.padded(channels) + int(rng.integers(0, 3)) * shape.depth
    return base, stride, base + tiles * stride


# ------------------------------------------------------------------------------------------------ mean


def windows(shape: Shape) -> list[tuple[int, int, int, int]]:
    """Tokens of each mean, how many means, first token of the source and of the result.

    All tokens of a tensor; copies of tokens between lanes, over borders of tiles on either side; windows that
    slide over a border, that end at one, and that are a tile and more.
    """
    t, most = shape.tokens, shape.max_tokens
    whole = [(tokens, 1, 0, 0) for tokens in (1, t - 1, t, t + 1, 3 * t, most)]
    copies = [
        (1, 1, t - 1, 0),
        (1, 1, 0, t - 1),
        (1, t + 2, 1, 0),
        (1, 2 * t, 0, 1),
        (1, 5, t - 2, 3 * t - 1),
    ]
    slides = [(2, t + 1, t - 2, t + 3), (t - 1, 3, 1, 2 * t), (t, 2, t, 0), (t, 3, 2, 5), (t + 2, t, 3, 0)]
    return [*whole, *copies, *slides, (most - 5, 4, 2, 1)]


def slid_means(op: ops.IntegerMeanTokens, x: np.ndarray, tokens: int, count: int, first: int) -> np.ndarray:
    """The reference's means of so many successive windows of ``x [all tokens, channels]``."""
    return np.concatenate([execute(op, x[first + j : first + j + tokens]) for j in range(count)])


def test_means_of_successive_tokens_equal_the_reference(
    bench: Bench, shape: Shape, rng: np.random.Generator
) -> None:
    cases, expected = [], []
    for tokens, count, first, first_result in windows(shape):
        for channels in (1, shape.max_channels - 1) if count == 1 else (1, 5):
            last = first + count + tokens - 1
            x = rng.integers(-32767, 32768, (last + int(rng.integers(0, 3)), channels))
            x[:, 0] = rng.choice([-32767, 32767])
            op = ops.IntegerMeanTokens(int(rng.integers(1, 65536)), int(rng.integers(1, 25)), 32767)
            base, stride, end = region(shape, rng, shape.tiles(len(x)), channels)
            offset, result_stride, _ = region(shape, rng, 0, channels)
            target = end + offset
            result_tiles = shape.tiles(first_result + count)
            memories = random_memories(shape, rng, target + result_tiles * result_stride + shape.depth)
            place(shape, memories[0], x, base, stride)
            descriptor = Descriptor(
                unit=Unit.MEAN_TOKENS,
                tokens=tokens,
                k=channels,
                rows=count,
                first_token=first,
                patch=first_result,
                x_base=base,
                x_stride=stride,
                y_base=target,
                y_stride=result_stride,
                multiplier=op.multiplier,
                shift=op.shift,
                qmax=op.qmax,
            )
            cases.append(Case("mean", descriptor, *memories))
            after = memories[0].copy()
            means = slid_means(op, x, tokens, count, first)
            place(shape, after, means, target, result_stride, first_result)
            expected.append(after)
    levels = (shape.tokens - 1).bit_length()
    for case, after, outcome in zip(cases, expected, run(bench, cases), strict=True):
        d = case.descriptor
        assert np.array_equal(outcome.wide, after)
        assert np.array_equal(outcome.activation, case.activation)
        assert np.array_equal(outcome.digit, case.digit)
        assert outcome.writes == d.rows * d.k
        tiles = sum(shape.tiles((d.first_token + j) % shape.tokens + d.tokens) for j in range(d.rows))
        seek = max(d.first_token, d.patch) // shape.tokens
        assert outcome.cycles == d.k * tiles + seek + MEAN_TOKENS + levels


def test_a_mean_of_one_token_with_the_factor_one_is_a_copy(
    bench: Bench, shape: Shape, rng: np.random.Generator
) -> None:
    x = rng.integers(-32767, 32768, (2 * shape.tokens, 3))
    x[:2, 0] = -32767, 32767
    stride = shape.padded(3)
    target = 2 * stride
    memories = random_memories(shape, rng, target + 3 * stride)
    place(shape, memories[0], x, 0, stride)
    descriptor = Descriptor(
        unit=Unit.MEAN_TOKENS,
        tokens=1,
        k=3,
        rows=len(x),
        patch=shape.tokens - 1,
        x_stride=stride,
        y_base=target,
        y_stride=stride,
        multiplier=1 << 15,
        shift=15,
        qmax=32767,
    )
    after = memories[0].copy()
    place(shape, after, x, target, stride, shape.tokens - 1)
    (outcome,) = run(bench, [Case("mean", descriptor, *memories)])
    assert np.array_equal(outcome.wide, after)


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
