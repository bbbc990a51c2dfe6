"""Operations of the integer graph: the arithmetic contract, one operation per class.

Every formula below is exact integer arithmetic; ``>>`` is an arithmetic shift (rounds toward minus
infinity) and ``//`` is floor division. ``clamp(v, q)`` limits v to ``-q..q``. The PyTorch reference
(``ir/interpreter.py``), the C++ kernels and the RTL implement exactly these.

``requantize(acc, M, s, q) = clamp((acc * M + 2**(s-1)) >> s, q)`` rounds half up.

``reciprocal(d, M0, e) = (M, s)`` with ``M = (M0 << z) // d``, ``s = e + z``, ``z`` the bit length of
d, d >= 1; so that ``M / 2**s`` is ``M0 / 2**e / d`` with M in [M0, 2*M0].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qvit_hls.ir.graph import Op

Shape = tuple[int, ...]

#: Multipliers are unsigned and have this many bits (a reciprocal's has one more).
MULTIPLIER_BITS = 16
#: Largest shift of a requantization; larger ones would lose every accumulator bit anyway.
MAX_SHIFT = 47
#: Biases are signed and have this many bits.
BIAS_BITS = 30
#: A LayerNorm scales a channel by at most 2**-MAX_CHANNEL_SHIFT.
MAX_CHANNEL_SHIFT = 7


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, eq=False)
class QuantizedInput(Op):
    """The image, as codes: ``clamp(floor(x / scale + 1/2), qmax)``, scale and qmax from the node.

    The only place where floating point enters; a host does this before it starts the accelerator.
    Output: the input's shape.
    """

    kind: ClassVar[str] = "quantized_input"
    shape: Shape

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return self.shape


@dataclass(frozen=True, eq=False)
class Patches(Op):
    """Cut ``[C, H, W]`` into ``[H/p * W/p, C*p*p]``: patches row by row; in a patch c, then y, then x."""

    kind: ClassVar[str] = "patches"
    size: int

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        ((c, h, w),) = inputs
        p = self.size
        _need(h % p == 0 and w % p == 0, f"patches of {p} do not divide an image of {h} x {w}")
        return (h // p) * (w // p), c * p * p


@dataclass(frozen=True, eq=False)
class IntegerLinear(Op):
    """``y[t, r] = requantize(sum_k weight[r, k] * x[t, k] + bias[r], multiplier[r], shift[r], qmax)``.

    Attributes:
        weight: codes ``[rows, k]`` int8; rows of 4 bits within +-7, rows of 8 bits within +-119.
        row_bits: 4 or 8 for each row, uint8 ``[rows]``.
        bias: int64 ``[rows]``, within BIAS_BITS.
        multiplier: int64 ``[rows]``, unsigned, MULTIPLIER_BITS.
        shift: int64 ``[rows]``, 1..MAX_SHIFT.
        qmax: largest output code.
    """

    kind: ClassVar[str] = "integer_linear"
    weight: np.ndarray
    row_bits: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    qmax: int

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (x,) = inputs
        rows, k = self.weight.shape
        _need(x[-1] == k, f"weights have {k} columns, the input {x[-1]} channels")
        return *x[:-1], rows


@dataclass(frozen=True, eq=False)
class Table(Op):
    """``y = table[x + qmax_in]``: an elementwise function over all input codes ``-qmax_in..qmax_in``.

    Attributes:
        table: int16 ``[2 * qmax_in + 1]``.
    """

    kind: ClassVar[str] = "table"
    table: np.ndarray

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Embed(Op):
    """Start of the residual stream: ``y[t] = clamp(constant[t] + x[t - offset], qmax)``.

    Tokens before ``offset`` (a class token, registers) are the constant alone.

    Attributes:
        constant: int32 ``[tokens, channels]``: position embedding plus, for tokens before offset, the
            token itself; within +-qmax.
        offset: number of tokens that do not come from patches (class and distillation tokens, registers).
        qmax: largest residual code.
    """

    kind: ClassVar[str] = "embed"
    constant: np.ndarray
    offset: int
    qmax: int

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        ((tokens, channels),) = inputs
        shape = tuple(int(n) for n in self.constant.shape)
        _need(
            shape == (tokens + self.offset, channels),
            f"embedding of shape {list(shape)} for {tokens} patches of {channels} channels and "
            f"{self.offset} other tokens",
        )
        return shape


@dataclass(frozen=True, eq=False)
class IntegerAdd(Op):
    """``y = clamp(a + b, qmax)``: both on the residual stream's scale."""

    kind: ClassVar[str] = "integer_add"
    qmax: int

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        a, b = inputs
        _need(a == b, f"residual add of shapes {list(a)} and {list(b)}")
        return a


@dataclass(frozen=True, eq=False)
class IntegerLayerNorm(Op):
    """Normalisation over N channels of a token; of the affine part a power of two per channel is left.

    ``S = sum(x)``, ``d = N*x - S``, ``V = N*sum(x*x) - S*S + epsilon``, ``q = isqrt(V)``,
    ``(M, s) = reciprocal(q, multiplier, exponent)``, ``y[c] = requantize(d[c], M, s + shifts[c], qmax)``.

    One grid must cover all channels; where some reach much further than others, a factor per channel keeps
    the others' precision (FQ-ViT, arXiv 2111.13824, section 3.3; here of the outputs).

    Attributes:
        epsilon: ``max(1, floor(eps * (N / scale_in)**2 + 1/2))``.
        multiplier, exponent: ``multiplier / 2**exponent`` is ``1 / scale_out``.
        shifts: channel c is scaled by ``2**-shifts[c]``: uint8 ``[N]``, 0..MAX_CHANNEL_SHIFT, or None where
            all are 0. ``s + shifts[c]`` stays within 1..MAX_SHIFT.
        groups: so many parts of the channels, one after the other, are normalised by themselves; N is the
            number of channels in each.
    """

    kind: ClassVar[str] = "integer_layer_norm"
    epsilon: int
    multiplier: int
    exponent: int
    qmax: int
    shifts: np.ndarray | None = None
    groups: int = 1

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (x,) = inputs
        _need(x[-1] % self.groups == 0, f"{self.groups} groups of {x[-1]} channels")
        _need(
            self.shifts is None or len(self.shifts) == x[-1],
            f"{0 if self.shifts is None else len(self.shifts)} shifts for {x[-1]} channels",
        )
        return x


@dataclass(frozen=True, eq=False)
class IntegerRequantize(Op):
    """A value of the residual stream on an operand's grid: ``y = requantize(x, multiplier, shift, qmax)``.

    Attributes:
        multiplier, shift: ``multiplier / 2**shift`` is ``scale_in / scale_out``; the shift is less than
            MAX_SHIFT, because the engine's unit adds one to it.
    """

    kind: ClassVar[str] = "integer_requantize"
    multiplier: int
    shift: int
    qmax: int

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]


@dataclass(frozen=True, eq=False)
class IntegerScores(Op):
    """``y[h, i, j] = requantize(sum_d q[i, h, d] * k[j, h, d], multiplier, shift, qmax)``.

    With a bias, ``y[h, i, j] = clamp(bias[h, i, j] + requantize(..), qmax)``.

    Inputs ``q [queries, heads*head_dim]`` and ``k [keys, heads*head_dim]``; output
    ``[heads, queries, keys]``. The multiplier holds the attention scale. k is split into digits, so its codes
    stay within +-119.

    Attributes:
        bias: int16 ``[heads, queries, keys]`` within +-qmax, or None (relative position bias).
    """

    kind: ClassVar[str] = "integer_scores"
    heads: int
    multiplier: int
    shift: int
    qmax: int
    bias: np.ndarray | None = None

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        q, k = inputs
        _need(
            q[-1] == k[-1] and q[-1] % self.heads == 0,
            f"{self.heads} heads over {q[-1]} and {k[-1]} channels",
        )
        shape = self.heads, q[0], k[0]
        bias = shape if self.bias is None else tuple(int(n) for n in self.bias.shape)
        _need(bias == shape, f"bias of shape {list(bias)} for scores of shape {list(shape)}")
        return shape


@dataclass(frozen=True, eq=False)
class SoftmaxExponents(Op):
    """``y[h, i, j] = table[min(max_j(x[h, i, :]) - x[h, i, j], 255)]``: unnormalised exponents 0..119.

    Attributes:
        table: uint8 ``[256]``, 0..119, the first entry at least 1; see ``exponent_table`` of
            ``ir/tables.py``.
    """

    kind: ClassVar[str] = "softmax_exponents"
    table: np.ndarray

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]


@dataclass(frozen=True, eq=False)
class IntegerContext(Op):
    """Attention times values, normalised here (deferred normalisation of the softmax).

    ``Z[h, i] = sum_j e[h, i, j]``, ``(M, s) = reciprocal(Z, multiplier, exponent)``,
    ``y[i, h, d] = requantize(sum_j e[h, i, j] * v[j, h, d], M, s, qmax)``.

    Inputs ``e [heads, queries, keys]``, ``v [keys, heads*head_dim]``; output ``[queries, heads*head_dim]``.

    Attributes:
        multiplier, exponent: ``multiplier / 2**exponent`` is ``scale_v / scale_out``.
    """

    kind: ClassVar[str] = "integer_context"
    heads: int
    multiplier: int
    exponent: int
    qmax: int

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        e, v = inputs
        _need(e[0] == self.heads and v[-1] % self.heads == 0, f"{self.heads} heads, {v[-1]} value channels")
        _need(e[2] == v[0], f"{e[2]} keys but {v[0]} values")
        return e[1], v[-1]


@dataclass(frozen=True, eq=False)
class TakeToken(Op):
    """``y = x[index]``, kept as a sequence of one token: ``[tokens, c] -> [1, c]``."""

    kind: ClassVar[str] = "take_token"
    index: int

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        ((tokens, channels),) = inputs
        _need(0 <= self.index < tokens, f"token {self.index} of {tokens}")
        return 1, channels


@dataclass(frozen=True, eq=False)
class Slice(Op):
    """Elements ``start .. stop - 1`` of one dimension (batch excluded).

    In the integer graph only tokens are taken: ``axis`` is 0.

    Attributes:
        axis: the dimension, counted from 0 without the batch.
        start, stop: ``0 <= start < stop <= size of the dimension``.
    """

    kind: ClassVar[str] = "slice"
    axis: int
    start: int
    stop: int

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (x,) = inputs
        _need(self.axis < len(x), f"slice of dimension {self.axis} of {list(x)}")
        _need(
            self.start < self.stop <= x[self.axis],
            f"slice {self.start}:{self.stop} of dimension {self.axis}, which has {x[self.axis]} elements",
        )
        return *x[: self.axis], self.stop - self.start, *x[self.axis + 1 :]


@dataclass(frozen=True, eq=False)
class ConcatTokens(Op):
    """Concatenate along the token dimension: ``[t1, c], [t2, c] -> [t1 + t2, c]``."""

    kind: ClassVar[str] = "concat_tokens"

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        _need(len({x[1] for x in inputs}) == 1, f"cannot concatenate {[list(x) for x in inputs]}")
        return sum(x[0] for x in inputs), inputs[0][1]


@dataclass(frozen=True, eq=False)
class IntegerMeanTokens(Op):
    """``y = requantize(sum_t x[t], multiplier, shift, qmax)``: ``[tokens, c] -> [1, c]``."""

    kind: ClassVar[str] = "integer_mean_tokens"
    multiplier: int
    shift: int
    qmax: int

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        ((_, channels),) = inputs
        return 1, channels
