"""The golden reference equals the contract's formulas, written as plain loops over Python integers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.execute_integer import bit_length, integer_sqrt
from qvit_hls.ir.graph import Graph, Node, Op, Quantization
from qvit_hls.ir.interpreter import run
from qvit_hls.ir.tables import exponent_table

seeds = st.integers(0, 2**32 - 1)
small = st.integers(1, 5)
qmaxes = st.sampled_from([7, 31, 63, 119, 127])


def clamp(value: int, qmax: int) -> int:
    return max(-qmax, min(qmax, value))


def requantize(acc: int, multiplier: int, shift: int, qmax: int) -> int:
    return clamp((acc * multiplier + (1 << (shift - 1))) >> shift, qmax)


def reciprocal(divisor: int, multiplier: int, exponent: int) -> tuple[int, int]:
    bits = divisor.bit_length()
    return (multiplier << bits) // divisor, exponent + bits


def evaluate(op: Op, *codes: np.ndarray) -> np.ndarray:
    """Run ``op`` alone through the interpreter, on codes ``[*shape]`` of a batch of one."""
    nodes = [
        Node(f"x{i}", ops.QuantizedInput(x.shape), (), x.shape, Quantization(1.0, 1 << 20))
        for i, x in enumerate(codes)
    ]
    names = tuple(node.name for node in nodes)
    nodes.append(Node("y", op, names, op.infer_shape(tuple(x.shape for x in codes))))
    graph = Graph("one", tuple(nodes), ("y",))
    y = run(graph, tuple(torch.from_numpy(x[None].astype(np.float32)) for x in codes))["y"]
    assert y.dtype == torch.int64
    assert tuple(y.shape) == (1, *graph["y"].shape)
    return y[0].numpy()


def random_codes(rng: np.random.Generator, qmax: int, *shape: int) -> np.ndarray:
    return rng.integers(-qmax, qmax + 1, shape)


@given(seeds, small, st.integers(1, 40), small, qmaxes, st.integers(1, 47))
def test_linear_is_the_formula(seed: int, tokens: int, k: int, rows: int, qmax: int, shift: int) -> None:
    rng = np.random.default_rng(seed)
    x = random_codes(rng, qmax, tokens, k)
    op = ops.IntegerLinear(
        weight=random_codes(rng, 119, rows, k).astype(np.int8),
        row_bits=np.full(rows, 8, np.uint8),
        bias=random_codes(rng, (1 << 29) - 1, rows),
        multiplier=rng.integers(0, 1 << 16, rows),
        shift=np.clip(shift + rng.integers(-3, 4, rows), 1, 47),
        qmax=32767,
    )
    expected = [
        [
            requantize(
                sum(int(op.weight[r, i]) * int(x[t, i]) for i in range(k)) + int(op.bias[r]),
                int(op.multiplier[r]),
                int(op.shift[r]),
                op.qmax,
            )
            for r in range(rows)
        ]
        for t in range(tokens)
    ]
    assert evaluate(op, x).tolist() == expected


@given(seeds, small, small, st.integers(1, 3), st.integers(1, 4))
def test_patches_run_row_by_row_and_hold_c_then_y_then_x(seed: int, h: int, w: int, c: int, p: int) -> None:
    x = random_codes(np.random.default_rng(seed), 63, c, h * p, w * p)
    expected = [
        [
            int(x[channel, row * p + dy, column * p + dx])
            for channel in range(c)
            for dy in range(p)
            for dx in range(p)
        ]
        for row in range(h)
        for column in range(w)
    ]
    assert evaluate(ops.Patches(p), x).tolist() == expected


@given(seeds, small, small, st.integers(1, 127))
def test_table_covers_every_code(seed: int, tokens: int, channels: int, qmax: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(-127, 128, 2 * qmax + 1).astype(np.int16)
    x = random_codes(rng, qmax, tokens, channels)
    assert evaluate(ops.Table(table), x).tolist() == [
        [int(table[v + qmax]) for v in row] for row in x.tolist()
    ]


@given(seeds, small, small, st.integers(0, 1))
def test_embed_adds_the_constant_and_saturates(seed: int, patches: int, channels: int, offset: int) -> None:
    rng = np.random.default_rng(seed)
    constant = random_codes(rng, 2047, patches + offset, channels).astype(np.int32)
    x = random_codes(rng, 2047, patches, channels)
    expected = [
        [
            clamp(int(constant[t, c]) + (int(x[t - offset, c]) if t >= offset else 0), 2047)
            for c in range(channels)
        ]
        for t in range(patches + offset)
    ]
    assert evaluate(ops.Embed(constant, offset, 2047), x).tolist() == expected


@given(seeds, small, small)
def test_residual_add_saturates(seed: int, tokens: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = random_codes(rng, 32767, tokens, channels), random_codes(rng, 32767, tokens, channels)
    expected = [
        [clamp(p + q, 32767) for p, q in zip(r, s, strict=True)]
        for r, s in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert evaluate(ops.IntegerAdd(32767), a, b).tolist() == expected


@given(
    seeds,
    small,
    st.integers(1, 40),
    st.sampled_from([1, 100, 32767]),
    st.integers(1, 21),
    st.integers(1, 10**6),
    st.booleans(),
)
def test_layer_norm_is_the_formula(
    seed: int, tokens: int, n: int, size: int, exponent: int, epsilon: int, shifted: bool
) -> None:
    rng = np.random.default_rng(seed)
    x = random_codes(rng, size, tokens, n)
    shifts = rng.integers(0, 8, n)
    multiplier_0 = int(rng.integers(1 << 15, 1 << 16))
    op = ops.IntegerLayerNorm(
        epsilon, multiplier_0, exponent, 63, shifts.astype(np.uint8) if shifted else None
    )
    extra = shifts.tolist() if shifted else [0] * n
    expected = []
    for token in x.tolist():
        total = sum(token)
        variance = n * sum(v * v for v in token) - total * total + epsilon
        multiplier, shift = reciprocal(math.isqrt(variance), op.multiplier, exponent)
        expected.append(
            [requantize(n * v - total, multiplier, shift + a, 63) for v, a in zip(token, extra, strict=True)]
        )
    assert evaluate(op, x).tolist() == expected


@given(seeds, small, st.integers(1, 3), st.integers(1, 8), qmaxes, st.integers(1, 30))
def test_scores_are_the_formula(seed: int, tokens: int, heads: int, d: int, qmax: int, shift: int) -> None:
    rng = np.random.default_rng(seed)
    q, k = random_codes(rng, qmax, tokens, heads * d), random_codes(rng, 119, tokens, heads * d)
    op = ops.IntegerScores(heads, int(rng.integers(1 << 15, 1 << 16)), shift, 2047)
    expected = [
        [
            [
                requantize(
                    sum(int(q[i, h * d + c]) * int(k[j, h * d + c]) for c in range(d)),
                    op.multiplier,
                    shift,
                    2047,
                )
                for j in range(tokens)
            ]
            for i in range(tokens)
        ]
        for h in range(heads)
    ]
    assert evaluate(op, q, k).tolist() == expected


@given(seeds, st.integers(1, 3), small)
def test_exponents_share_the_last_entry_beyond_255(seed: int, heads: int, tokens: int) -> None:
    x = random_codes(np.random.default_rng(seed), 2047, heads, tokens, tokens)
    table = exponent_table(1 / 32)
    expected = [[[int(table[min(max(row) - v, 255)]) for v in row] for row in head] for head in x.tolist()]
    assert evaluate(ops.SoftmaxExponents(table), x).tolist() == expected


@given(seeds, small, st.integers(1, 3), st.integers(1, 6), st.integers(1, 29))
def test_context_is_the_formula(seed: int, tokens: int, heads: int, d: int, exponent: int) -> None:
    rng = np.random.default_rng(seed)
    e = rng.integers(0, 120, (heads, tokens, tokens))
    e[..., 0] = 119  # a row's largest exponent always is
    v = random_codes(rng, 127, tokens, heads * d)
    op = ops.IntegerContext(heads, int(rng.integers(1 << 15, 1 << 16)), exponent, 63)
    expected = []
    for i in range(tokens):
        row = []
        for h in range(heads):
            multiplier, shift = reciprocal(int(e[h, i].sum()), op.multiplier, exponent)
            for c in range(d):
                acc = sum(int(e[h, i, j]) * int(v[j, h * d + c]) for j in range(tokens))
                row.append(requantize(acc, multiplier, shift, 63))
        expected.append(row)
    assert evaluate(op, e, v).tolist() == expected


@given(seeds, small, small, st.integers(1, 47))
def test_mean_is_the_formula(seed: int, tokens: int, channels: int, shift: int) -> None:
    rng = np.random.default_rng(seed)
    x = random_codes(rng, 32767, tokens, channels)
    op = ops.IntegerMeanTokens(int(rng.integers(1 << 15, 1 << 16)), shift, 32767)
    sums = [sum(column) for column in zip(*x.tolist(), strict=True)]
    assert evaluate(op, x).tolist() == [[requantize(s, op.multiplier, shift, 32767) for s in sums]]


@given(seeds, st.data())
def test_take_token_keeps_a_sequence_of_one(seed: int, data: st.DataObject) -> None:
    x = random_codes(np.random.default_rng(seed), 63, 4, 3)
    index = data.draw(st.integers(0, 3))
    assert evaluate(ops.TakeToken(index), x).tolist() == [x[index].tolist()]


@settings(max_examples=300)
@given(
    st.one_of(
        st.integers(0, 2**53 - 1),
        st.integers(1, 94906265).flatmap(lambda r: st.integers(-1, 1).map(lambda d: r * r + d)),
    )
)
def test_square_root_is_exact_next_to_squares(value: int) -> None:
    assert int(integer_sqrt(torch.tensor([value]))) == math.isqrt(value)


@given(st.integers(1, 52).flatmap(lambda b: st.sampled_from([2**b - 1, 2**b, 2**b + 1])))
def test_bit_length_is_exact_next_to_powers_of_two(value: int) -> None:
    assert int(bit_length(torch.tensor([value]))) == value.bit_length()


def test_an_accumulator_beyond_32_bits_is_refused() -> None:
    op = ops.IntegerLinear(
        np.ones((1, 1), np.int8),
        np.array([8], np.uint8),
        np.array([2**31 - 1]),
        np.array([1]),
        np.array([1]),
        7,
    )
    with pytest.raises(OverflowError) as error:
        evaluate(op, np.array([[1]]))
    assert str(error.value) == "y: an accumulator reaches 2147483648, more than 32 bits hold"


def test_a_code_outside_a_table_is_refused() -> None:
    with pytest.raises(OverflowError) as error:
        evaluate(ops.Table(np.zeros(15, np.int16)), np.array([[-8]]))
    assert str(error.value) == "y: code 8 is outside a table of +-7"
