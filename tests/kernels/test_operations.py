"""Every integer operation on every executor, by equality of codes.

The executors are the PyTorch integer reference, the C++ engine with native integers, the C++ engine with
packed DSP arithmetic, the RTL engine with its DSP and LUT primitives and, where float64 holds every
intermediate exactly, the formula in real numbers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engine import VARIANTS, Engine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from op_graphs import GraphBuilder

from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Graph, Op
from qvit_hls.verify.rtl.stalls import Stalls


def rounded(real: np.ndarray, qmax: int) -> np.ndarray:
    return np.clip(np.floor(real + 0.5), -qmax, qmax).astype(np.int64)


def divisors(channels: int) -> list[int]:
    """Into how many groups channels may be normalised, an even number in each; 1 for all."""
    return [1, *(n for n in range(2, channels // 2 + 1) if channels % (2 * n) == 0)]


class OperationContract:
    """What holds for every operation; a subclass says which one, and draws graphs around it."""

    op: type[Op]
    #: Whether the engine stores the operation's own result, or hands it on within a layer.
    traced = True

    def graph(self, draw: st.DrawFn, builder: GraphBuilder) -> Graph:
        raise NotImplementedError

    def in_reals(self, op: Any, *inputs: np.ndarray) -> np.ndarray | None:
        """The operation's codes by its formula in float64, or None where float64 does not hold it exactly."""
        return None

    @settings(max_examples=25, suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.data())
    def test_every_executor_gives_the_same_codes(self, engine: Engine, data: st.DataObject) -> None:
        rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32), label="seed"))
        bits = data.draw(st.integers(4, engine.config.activation_bits), label="activation bits")
        builder = GraphBuilder(rng, bits, data.draw(st.sampled_from([12, 16]), label="residual bits"))
        graph = self.graph(data.draw, builder)
        tested = [node for node in graph if type(node.op) is self.op]
        assert tested
        image = next(node for node in graph if isinstance(node.op, ops.QuantizedInput))
        codes = rng.integers(-builder.qmax, builder.qmax + 1, (2, *image.shape))
        codes[1] = np.sign(codes[1]) * builder.qmax
        values = {name: value.numpy() for name, value in graph.run(torch.from_numpy(codes).float()).items()}
        assert np.array_equal(values[image.name], codes)

        share = data.draw(st.sampled_from([0.0, 0.0, 0.1, 0.4, 0.8]), label="stalls of the RTL's streams")
        stalls = Stalls(share, data.draw(st.integers(0, 1 << 32), label="their seed"))

        seen = set()
        with tempfile.TemporaryDirectory() as folder:
            for variant, entry, got in engine.traces(graph, codes, Path(folder), stalls):
                expected = entry.expected(values[entry.node])
                assert np.array_equal(got, expected), f"{entry.node} in the {variant} build"
                seen.add((variant, entry.node))
        if self.traced:
            assert seen >= {(variant, node.name) for variant in VARIANTS for node in tested}
        for node in tested:
            in_reals = self.in_reals(node.op, *(values[name] for name in node.inputs))
            if in_reals is not None:
                assert np.array_equal(in_reals, values[node.name]), f"{node.name} in real numbers"


class TestPatches(OperationContract):
    op = ops.Patches

    def graph(self, draw: st.DrawFn, builder: GraphBuilder) -> Graph:
        grid = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
        builder.patches(draw(st.integers(1, 3)), grid, draw(st.integers(1, 5)))
        return builder.finish_stream(builder.embed(4, prefix=draw(st.integers(0, 9))))

    def in_reals(self, op: ops.Patches, x: np.ndarray) -> np.ndarray:
        n, c, h, w = x.shape
        p = op.size
        return x.reshape(n, c, h // p, p, w // p, p).transpose(0, 2, 4, 1, 3, 5).reshape(n, -1, c * p * p)


class TestLinear(OperationContract):
    op = ops.IntegerLinear

    def graph(self, draw: st.DrawFn, builder: GraphBuilder) -> Graph:
        builder.patches()
        x = builder.norm("norm", builder.embed(draw(st.integers(1, 40)), prefix=draw(st.integers(0, 9))))
        for layer in range(draw(st.integers(1, 3))):
            share = draw(st.sampled_from([0.0, 0.3, 1.0]))
            rows = draw(st.integers(1, 60))
            x = builder.linear(f"linear{layer}", x, rows, builder.qmax, share, extreme=draw(st.booleans()))
        return builder.finish_stream(builder.residual("sum", "embed", x))

    @property
    def traced(self) -> bool:
        return False  # those into the embedding and the sum are stored with them

    def in_reals(self, op: ops.IntegerLinear, x: np.ndarray) -> np.ndarray:
        acc = (x @ op.weight.T.astype(np.int64) + op.bias).astype(np.float64)
        return rounded(acc * op.multiplier * 2.0**-op.shift, op.qmax)


class TestTable(OperationContract):
    op = ops.Table

    def graph(self, draw: st.DrawFn, builder: GraphBuilder) -> Graph:
        builder.patches()
        x = builder.norm("norm", builder.embed(7))
        for layer in range(draw(st.integers(1, 2))):
            before = (1 << (draw(st.integers(4, 10)) - 1)) - 1
            x = builder.linear(f"before{layer}", x, draw(st.integers(1, 30)), before)
            entries = builder.rng.integers(-builder.qmax, builder.qmax + 1, 2 * before + 1).astype(np.int16)
            x = builder.add(f"table{layer}", ops.Table(entries), x, qmax=builder.qmax)
        return builder.finish_stream(builder.residual("sum", "embed", x))

    def in_reals(self, op: ops.Table, x: np.ndarray) -> np.ndarray:
        codes = np.arange(len(op.table)) - len(op.table) // 2
        return np.interp(x, codes, op.table).astype(np.int64)


class TestEmbed(OperationContract):
    op = ops.Embed

    def graph(self, draw: st.DrawFn, builder: GraphBuilder) -> Graph:
        builder.patches(grid=(draw(st.integers(1, 4)), draw(st.integers(1, 4))))
        normalised, saturating = draw(st.booleans(), label="normalised"), draw(st.booleans())
        prefix = draw(st.integers(0, 9))
        x = builder.embed(draw(st.integers(1, 30)), prefix, saturating=saturating, normalised=normalised)
        if draw(st.booleans(), label="more tokens in front of the stream"):
            tokens, channels = builder.shape(x)
            constant = np.zeros((tokens + draw(st.integers(1, 9)), channels), np.int32)
            added = len(constant) - tokens
            constant[:added] = builder.rng.integers(-builder.wide, builder.wide + 1, (added, channels))
            x = builder.add("more", ops.Embed(constant, added, builder.wide), x, qmax=builder.wide)
        return builder.finish_stream(x)

    def in_reals(self, op: ops.Embed, x: np.ndarray) -> np.ndarray:
        padded = np.pad(x.astype(float), ((0, 0), (op.offset, 0), (0, 0)))
        return rounded(op.constant + padded, op.qmax)


class TestAdd(OperationContract):
    op = ops.IntegerAdd

    def graph(self, draw: st.DrawFn, builder: GraphBuilder) -> Graph:
        builder.patches()
        x = builder.embed(draw(st.integers(1, 20)), saturating=draw(st.booleans()))
        for layer in range(draw(st.integers(1, 3))):
            x = builder.residual(f"sum{layer}", x, builder.norm(f"norm{layer}", x))
        if draw(st.booleans(), label="two classifiers"):
            x = builder.norm("last", builder.take_token(x))
            parts = (builder.linear(f"head{i}", x, 7, builder.wide) for i in range(2))
            return builder.graph(
                builder.add("logits", ops.IntegerAdd(builder.wide), *parts, qmax=builder.wide)
            )
        return builder.finish_stream(x)

    def in_reals(self, op: ops.IntegerAdd, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return rounded(a.astype(float) + b, op.qmax)


class TestLayerNorm(OperationContract):
    op = ops.IntegerLayerNorm

    def graph(self, draw: st.DrawFn, builder: GraphBuilder) -> Graph:
        builder.patches()
        width = draw(st.integers(1, 100))
        x = builder.embed(width, saturating=draw(st.booleans()))
        epsilon = draw(st.sampled_from([1, 1000, 1 << 20, 1 << 44]))
        for layer in range(draw(st.integers(1, 3))):
            groups = draw(st.sampled_from(divisors(width)), label="groups")
            norm = builder.norm(f"norm{layer}", x, epsilon, shifted=draw(st.booleans()), groups=groups)
            x = builder.residual(f"sum{layer}", x, norm)
        return builder.finish_stream(x)


class TestRequantize(OperationContract):
    op = ops.IntegerRequantize

    def graph(self, draw: st.DrawFn, builder: GraphBuilder) -> Graph:
        builder.patches()
        x = builder.embed(draw(st.integers(1, 100)), prefix=draw(st.integers(0, 9)))
        for layer in range(draw(st.integers(1, 3))):
            multiplier = draw(st.sampled_from([None, 0, 1, (1 << 16) - 1]))
            shift = draw(st.sampled_from([None, None, 1, ops.MAX_SHIFT - 1]))
            # Moments of the addition are on chip, before and behind.
            if draw(st.booleans(), label="normalised before"):
                x = builder.residual(f"first{layer}", x, builder.norm(f"norm{layer}", x))
            operand = builder.operand(f"operand{layer}", x, multiplier, shift)
            again = builder.norm(f"again{layer}", x) if draw(st.booleans(), label="normalised") else None
            x = builder.residual(f"sum{layer}", x, operand)
            if again is not None:
                x = builder.residual(f"more{layer}", x, again)
        return builder.finish_stream(x)

    def in_reals(self, op: ops.IntegerRequantize, x: np.ndarray) -> np.ndarray:
        return rounded(x.astype(np.float64) * op.multiplier * 2.0**-op.shift, op.qmax)


class TestScores(OperationContract):
    op = ops.IntegerScores

    def graph(self, draw: st.DrawFn, builder: GraphBuilder) -> Graph:
        builder.patches(grid=(draw(st.integers(1, 5)), draw(st.integers(1, 5))), size=1)
        x = builder.embed(6, prefix=draw(st.integers(0, 9)))
        for layer in range(draw(st.integers(1, 2))):
            share = draw(st.sampled_from([0.0, 0.5, 1.0]))
            heads, head_dim = draw(st.integers(1, 3)), draw(st.integers(1, 18))
            of_first, biased = (
                draw(st.booleans(), label="of the first token"),
                draw(st.booleans(), label="bias"),
            )
            norm = builder.norm(f"norm{layer}", x)
            y = builder.attention(
                f"attn{layer}", norm, heads, head_dim, share, of_first_token=of_first, biased=biased
            )
            if of_first:
                x = builder.take_token(x, name=f"asking{layer}")
            # Behind the attention, moments of the additions before it are still there.
            again = (
                builder.norm(f"again{layer}", x) if draw(st.booleans(), label="normalised again") else None
            )
            x = builder.residual(f"sum{layer}", x, y)
            if again is not None:
                x = builder.residual(f"more{layer}", x, again)
        return builder.finish_stream(x)

    def in_reals(self, op: ops.IntegerScores, q: np.ndarray, k: np.ndarray) -> np.ndarray:
        q, k = (x.reshape(*x.shape[:2], op.heads, -1).transpose(0, 2, 1, 3) for x in (q, k))
        y = rounded((q @ k.swapaxes(2, 3)).astype(float) * op.multiplier * 2.0**-op.shift, op.qmax)
        return y if op.bias is None else np.clip(y + op.bias, -op.qmax, op.qmax)


class TestSoftmaxExponents(TestScores):
    op = ops.SoftmaxExponents

    def in_reals(self, op: ops.SoftmaxExponents, x: np.ndarray) -> np.ndarray:  # type: ignore[override]
        return np.interp(x.max(axis=-1, keepdims=True) - x, np.arange(len(op.table)), op.table).astype(
            np.int64
        )


class TestContext(TestScores):
    op = ops.IntegerContext

    in_reals = OperationContract.in_reals  # the reciprocal is rounded: not the quotient in real numbers


class TestTakeToken(OperationContract):
    op = ops.TakeToken
    traced = False

    def graph(self, draw: st.DrawFn, builder: GraphBuilder) -> Graph:
        builder.patches(grid=(draw(st.integers(1, 4)), draw(st.integers(1, 5))))
        x = builder.embed(draw(st.integers(1, 20)))
        taken = builder.take_token(x, draw(st.integers(0, builder.shape(x)[0] - 1)), "picked")
        if draw(st.booleans(), label="added to"):
            taken = builder.residual("sum", taken, builder.norm("norm", taken))
        return builder.finish_stream(taken)

    def in_reals(self, op: ops.TakeToken, x: np.ndarray) -> np.ndarray:
        return x[:, op.index : op.index + 1]


class TestSlice(OperationContract):
    op = ops.Slice
    traced = False  # a mean reads its tokens where they are

    def graph(self, draw: st.DrawFn, builder: GraphBuilder) -> Graph:
        builder.patches(grid=(draw(st.integers(1, 5)), draw(st.integers(1, 5))), size=1)
        x = builder.embed(draw(st.integers(1, 20)), prefix=draw(st.integers(0, 9)), saturating=True)
        start = draw(st.integers(0, builder.shape(x)[0] - 1))
        stop = draw(st.integers(start + 1, builder.shape(x)[0]))
        x = builder.tokens("some", x, start, stop)
        if draw(st.booleans(), label="averaged"):
            mean = ops.IntegerMeanTokens(draw(st.sampled_from([(1 << 16) - 1, 1 << 15])), 17, builder.wide)
            return builder.finish_stream(builder.add("mean", mean, x, qmax=builder.wide))
        return builder.finish_stream(builder.residual("sum", x, builder.norm("norm", x)))

    def in_reals(self, op: ops.Slice, x: np.ndarray) -> np.ndarray:
        return x[:, op.start : op.stop]


class TestConcatTokens(OperationContract):
    op = ops.ConcatTokens

    def graph(self, draw: st.DrawFn, builder: GraphBuilder) -> Graph:
        builder.patches(grid=(draw(st.integers(1, 5)), draw(st.integers(1, 5))), size=1)
        x = builder.embed(draw(st.integers(1, 20)), prefix=draw(st.integers(0, 9)), saturating=True)
        tokens = builder.shape(x)[0]
        parts = [x]
        for i in range(draw(st.integers(1, 2))):
            start = draw(st.integers(0, tokens - 1))
            part = builder.tokens(f"part{i}", x, start, draw(st.integers(start + 1, tokens)))
            parts.insert(draw(st.integers(0, len(parts))), part)
        x = builder.add("joined", ops.ConcatTokens(), *parts, qmax=builder.wide)
        y = builder.attention("attn", builder.norm("norm", x), 2, 3)
        return builder.finish_stream(builder.residual("sum", x, y))

    def in_reals(self, op: ops.ConcatTokens, *x: np.ndarray) -> np.ndarray:
        return np.concatenate(x, axis=1)


class TestMeanTokens(OperationContract):
    op = ops.IntegerMeanTokens

    def graph(self, draw: st.DrawFn, builder: GraphBuilder) -> Graph:
        builder.patches(grid=(draw(st.integers(1, 6)), draw(st.integers(1, 5))), size=1)
        x = builder.embed(draw(st.integers(1, 20)), prefix=draw(st.integers(0, 9)), saturating=True)
        multiplier, shift = draw(st.sampled_from([(1 << 16) - 1, 1 << 15, 1, 0])), draw(st.integers(14, 30))
        mean = ops.IntegerMeanTokens(multiplier, shift, builder.wide)
        return builder.finish(builder.norm("norm", builder.add("mean", mean, x, qmax=builder.wide)))

    def in_reals(self, op: ops.IntegerMeanTokens, x: np.ndarray) -> np.ndarray:
        return rounded(x.sum(axis=1, keepdims=True) * float(op.multiplier) * 2.0**-op.shift, op.qmax)
