"""Small integer graphs around one operation: what the engine needs before it and after it, all random."""

from __future__ import annotations

import numpy as np

from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Graph, Node, Op, Quantization
from qvit_hls.ir.tables import exponent_table
from qvit_hls.quant.levels import activation_qmax, digit_operand_qmax

CLASSES = 5


class GraphBuilder:
    """Appends nodes with random parameters; every value has the scale 1, so codes are the values.

    Attributes:
        qmax: of activations.
        wide: of the residual stream.
    """

    def __init__(self, rng: np.random.Generator, activation_bits: int, residual_bits: int = 16) -> None:
        self.rng = rng
        self.bits = activation_bits
        self.qmax = activation_qmax(activation_bits)
        self.wide = activation_qmax(residual_bits)
        self._nodes: dict[str, Node] = {}

    def shape(self, name: str) -> tuple[int, ...]:
        return self._nodes[name].shape

    def add(self, name: str, op: Op, *inputs: str, qmax: int) -> str:
        shape = op.infer_shape(tuple(self.shape(value) for value in inputs))
        self._nodes[name] = Node(name, op, inputs, shape, Quantization(1.0, qmax))
        return name

    def patches(self, channels: int = 1, grid: tuple[int, int] = (2, 3), size: int = 2) -> str:
        image = (channels, grid[0] * size, grid[1] * size)
        self.add("image", ops.QuantizedInput(image), qmax=self.qmax)
        return self.add("patches", ops.Patches(size), "image", qmax=self.qmax)

    def linear(
        self, name: str, x: str, rows: int, qmax: int, share_8bit: float = 0.5, extreme: bool = False
    ) -> str:
        """Rows of both widths. ``extreme`` gives some of them the limits of bias, multiplier and shift."""
        rng, k = self.rng, self.shape(x)[-1]
        row_bits = np.where(rng.random(rows) < share_8bit, 8, 4).astype(np.uint8)
        limit = np.where(row_bits == 8, 119, 7)[:, None]
        weight = rng.integers(-limit, limit + 1, (rows, k))
        spread = np.maximum(1.0, np.sqrt(k) * limit[:, 0] * self.qmax / 3)
        multiplier = rng.integers(1 << 15, 1 << 16, rows)
        shift = np.clip(np.round(np.log2(spread / qmax * multiplier * rng.uniform(0.5, 4, rows))), 1, 47)
        bias = np.round(rng.normal(0, spread))
        if extreme:
            weight[::3] = limit[::3] * rng.choice([-1, 1], (len(weight[::3]), k))
            some = rng.random(rows) < 0.3
            bias[some] = rng.choice([-(1 << 29) + 1, (1 << 29) - 1], some.sum())
            some = rng.random(rows) < 0.3
            multiplier[some] = rng.choice([0, 1, (1 << 16) - 1], some.sum())
            some = rng.random(rows) < 0.3
            shift[some] = rng.choice([1, ops.MAX_SHIFT], some.sum())
        op = ops.IntegerLinear(
            weight.astype(np.int8),
            row_bits,
            bias.astype(np.int64),
            multiplier.astype(np.int64),
            shift.astype(np.int64),
            qmax,
        )
        return self.add(name, op, x, qmax=qmax)

    def embed(
        self, channels: int, prefix: int = 1, saturating: bool = False, normalised: bool = False
    ) -> str:
        """The residual stream's start, ``embed``: patches behind their linear layer, tokens before them.

        ``normalised``: behind a LayerNorm and another layer.
        """
        x = self.linear("patch_embed", "patches", channels, self.wide)
        if normalised:
            x = self.linear("embedded", self.norm("embed_norm", x), channels, self.wide)
        tokens = self.shape(x)[0] + prefix
        reach = self.wide if saturating else self.wide // 3
        constant = self.rng.integers(-reach, reach + 1, (tokens, channels)).astype(np.int32)
        return self.add("embed", ops.Embed(constant, prefix, self.wide), x, qmax=self.wide)

    def norm(
        self, name: str, x: str, epsilon: int | None = None, shifted: bool = False, groups: int = 1
    ) -> str:
        """A LayerNorm; ``shifted`` gives it a shift for every channel."""
        epsilon = int(self.rng.integers(1, 50)) if epsilon is None else epsilon
        multiplier = int(self.rng.integers(1 << 15, 1 << 16))
        exponent = 16 - self.bits + int(self.rng.integers(3))
        shifts = self.rng.integers(0, ops.MAX_CHANNEL_SHIFT + 1, self.shape(x)[-1], np.uint8)
        constants = (epsilon, multiplier, exponent, self.qmax, shifts if shifted else None, groups)
        return self.add(name, ops.IntegerLayerNorm(*constants), x, qmax=self.qmax)

    def operand(self, name: str, x: str, multiplier: int | None = None, shift: int | None = None) -> str:
        """The stream on an operand's grid."""
        multiplier = int(self.rng.integers(1 << 15, 1 << 16)) if multiplier is None else multiplier
        shift = 32 - self.bits - int(self.rng.integers(4)) if shift is None else shift
        return self.add(name, ops.IntegerRequantize(multiplier, shift, self.qmax), x, qmax=self.qmax)

    def attention(
        self,
        name: str,
        x: str,
        heads: int,
        head_dim: int,
        share_8bit: float = 0.5,
        *,
        of_first_token: bool = False,
        biased: bool = False,
    ) -> str:
        """From normalised tokens to the context, through scores and exponents.

        With ``of_first_token`` only that one asks (class attention).
        """
        rng, width = self.rng, heads * head_dim
        key_qmax = digit_operand_qmax(self.bits)
        asking = self.add(f"{name}.first", ops.TakeToken(0), x, qmax=self.qmax) if of_first_token else x
        q = self.linear(f"{name}.q", asking, width, self.qmax, share_8bit)
        k = self.linear(f"{name}.k", x, width, key_qmax, share_8bit)
        v = self.linear(f"{name}.v", x, width, self.qmax, share_8bit)
        v = self._heads_grouped(v, heads)
        shift = int(np.clip(15 + np.log2(np.sqrt(head_dim) * self.qmax * key_qmax / 100), 1, 47))
        shape = (heads, self.shape(q)[0], self.shape(k)[0])
        bias = rng.integers(-self.wide, self.wide + 1, shape).astype(np.int16) if biased else None
        scores = ops.IntegerScores(heads, int(rng.integers(1 << 15, 1 << 16)), shift, (1 << 15) - 1, bias)
        s = self.add(f"{name}.scores", scores, q, k, qmax=scores.qmax)
        table = exponent_table(float(rng.uniform(0.02, 0.5)))
        e = self.add(f"{name}.softmax", ops.SoftmaxExponents(table), s, qmax=119)
        context = ops.IntegerContext(
            heads, int(rng.integers(1 << 15, 1 << 16)), int(rng.integers(14, 17)), self.qmax
        )
        return self.add(f"{name}.context", context, e, v, qmax=self.qmax)

    def _heads_grouped(self, name: str, heads: int) -> str:
        """Rows of the values with two digits first in every head, as the compiler orders them."""
        node = self._nodes[name]
        assert isinstance(node.op, ops.IntegerLinear)
        bits = node.op.row_bits.reshape(heads, -1)
        order = (
            np.argsort(bits != 8, axis=1, kind="stable") + np.arange(heads)[:, None] * bits.shape[1]
        ).reshape(-1)
        per_row = (node.op.weight, node.op.row_bits, node.op.bias, node.op.multiplier, node.op.shift)
        op = ops.IntegerLinear(*(np.ascontiguousarray(a[order]) for a in per_row), node.op.qmax)
        self._nodes[name] = Node(name, op, node.inputs, node.shape, node.quant)
        return name

    def residual(self, name: str, x: str, branch: str) -> str:
        """``x`` plus a linear layer of ``branch``."""
        y = self.linear(f"{name}.linear", branch, self.shape(x)[-1], self.wide)
        return self.add(name, ops.IntegerAdd(self.wide), x, y, qmax=self.wide)

    def take_token(self, x: str, index: int = 0, name: str = "take") -> str:
        return self.add(name, ops.TakeToken(index), x, qmax=self.wide)

    def tokens(self, name: str, x: str, start: int, stop: int) -> str:
        """Tokens ``start .. stop - 1``."""
        return self.add(name, ops.Slice(0, start, stop), x, qmax=self.wide)

    def finish(self, x: str, qmax: int | None = None) -> Graph:
        """A graph whose logits are a linear layer of ``x``, one token in the activation memory."""
        return self.graph(self.linear("head", x, CLASSES, self.wide if qmax is None else qmax))

    def graph(self, logits: str) -> Graph:
        """Everything so far."""
        return Graph("operation", tuple(self._nodes.values()), (logits,))

    def finish_stream(self, x: str) -> Graph:
        """The same from the residual stream ``x``."""
        return self.finish(self.norm("last_norm", self.take_token(x)))


def smallest_graph(activation_bits: int) -> Graph:
    """Image to logits with nothing that can be left out."""
    builder = GraphBuilder(np.random.default_rng(0), activation_bits)
    builder.patches()
    return builder.finish_stream(builder.embed(6))
