"""Operations of the float graph: what a Vision Transformer is made of, as traced from PyTorch.

Formulas are those of the PyTorch functions of the same name. A value that has been rounded to a grid
carries a ``Quantization`` annotation on its node after ``ir/passes/attach_quantization.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qvit_hls.ir.graph import Op
from qvit_hls.ir.integer_ops import ConcatTokens, Patches, Shape, Slice, TakeToken, _need

__all__ = ["ConcatTokens", "Patches", "Slice", "TakeToken"]  # pure data movement: the same in both graphs


@dataclass(frozen=True, eq=False)
class Input(Op):
    """A float input of the graph."""

    kind: ClassVar[str] = "input"
    shape: Shape

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return self.shape


@dataclass(frozen=True, eq=False)
class Constant(Op):
    """A tensor that does not depend on the input (no batch dimension; broadcast over the batch)."""

    kind: ClassVar[str] = "constant"
    value: np.ndarray

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return tuple(int(n) for n in self.value.shape)


@dataclass(frozen=True, eq=False)
class FakeQuantize(Op):
    """``scale * clamp(floor(x / scale + 1/2), qmax)``; becomes an annotation of its input's producer."""

    kind: ClassVar[str] = "fake_quantize"
    scale: float
    qmax: int

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Linear(Op):
    """``y = x @ weight.T + bias``.

    Attributes:
        weight: ``[rows, k]``; when ``row_scale`` is set, every row is ``row_scale[r]`` times an integer.
        bias: ``[rows]`` or None.
        row_scale: positive step of each row ``[rows]``, or None when the weights are not quantized.
        row_bits: 4 or 8 for each row, uint8 ``[rows]``, or None.
    """

    kind: ClassVar[str] = "linear"
    weight: np.ndarray
    bias: np.ndarray | None = None
    row_scale: np.ndarray | None = None
    row_bits: np.ndarray | None = None

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (x,) = inputs
        rows, k = self.weight.shape
        _need(x[-1] == k, f"weights have {k} columns, the input {x[-1]} channels")
        return *x[:-1], rows


@dataclass(frozen=True, eq=False)
class Conv2d(Op):
    """2-D convolution without padding, groups or dilation: ``[c, h, w] -> [rows, h', w']``.

    Attributes:
        weight: ``[rows, c, kh, kw]``; ``row_scale`` and ``row_bits`` as in Linear.
        stride: ``(sy, sx)``.
    """

    kind: ClassVar[str] = "conv2d"
    weight: np.ndarray
    stride: tuple[int, ...]
    bias: np.ndarray | None = None
    row_scale: np.ndarray | None = None
    row_bits: np.ndarray | None = None

    @property
    def of_single_pixels(self) -> bool:
        """Whether it is a convolution of 1 x 1 with stride 1."""
        return self.weight.shape[2:] == (1, 1) and self.stride == (1, 1)

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        ((c, h, w),) = inputs
        rows, channels, kh, kw = self.weight.shape
        _need(c == channels, f"weights for {channels} channels, the input has {c}")
        return rows, (h - kh) // self.stride[0] + 1, (w - kw) // self.stride[1] + 1


@dataclass(frozen=True, eq=False)
class LayerNorm(Op):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over the last dimension, or over groups of it.

    Attributes:
        weight, bias: ``[N]`` or None.
        groups: so many parts of the last dimension, one after the other, are normalised by themselves.
    """

    kind: ClassVar[str] = "layer_norm"
    eps: float
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    groups: int = 1

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (x,) = inputs
        _need(x[-1] % self.groups == 0, f"{self.groups} groups of {x[-1]} channels")
        return x


@dataclass(frozen=True, eq=False)
class Requantize(Op):
    """``y = x``, on a grid of its own: what is on the residual stream becomes an operand of products."""

    kind: ClassVar[str] = "requantize"

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Elementwise(Op):
    """A function of one variable, by its name in ``ir.tables.FUNCTIONS``."""

    kind: ClassVar[str] = "elementwise"
    function: str

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """Row-major reshape (batch excluded)."""

    kind: ClassVar[str] = "reshape"
    shape: Shape

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        _need(
            np.prod(inputs[0]) == np.prod(self.shape),
            f"cannot reshape {list(inputs[0])} to {list(self.shape)}",
        )
        return self.shape


@dataclass(frozen=True, eq=False)
class Permute(Op):
    """``y.shape[i] = x.shape[order[i]]`` (batch excluded)."""

    kind: ClassVar[str] = "permute"
    order: tuple[int, ...]

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (x,) = inputs
        _need(sorted(self.order) == list(range(len(x))), f"permutation {self.order} of {len(x)} dimensions")
        return tuple(x[i] for i in self.order)


@dataclass(frozen=True, eq=False)
class MatMul(Op):
    """Batched matrix product over the last two dimensions."""

    kind: ClassVar[str] = "matmul"

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        a, b = inputs
        _need(a[:-2] == b[:-2] and a[-1] == b[-2], f"cannot multiply {list(a)} and {list(b)}")
        return *a[:-1], b[-1]


@dataclass(frozen=True, eq=False)
class Add(Op):
    """Sum of two values; the second may be a Constant that broadcasts."""

    kind: ClassVar[str] = "add"

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return tuple(int(n) for n in np.broadcast_shapes(*inputs))


@dataclass(frozen=True, eq=False)
class Scale(Op):
    """Product with a constant: a number, or one factor per channel (LayerScale).

    Attributes:
        factor: ``[]`` or ``[channels]``.
    """

    kind: ClassVar[str] = "scale"
    factor: np.ndarray

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]


@dataclass(frozen=True, eq=False)
class ConcatChannels(Op):
    """Concatenate along the last dimension: ``[.., c1], [.., c2] -> [.., c1 + c2]``."""

    kind: ClassVar[str] = "concat_channels"

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        _need(len({x[:-1] for x in inputs}) == 1, f"cannot concatenate {[list(x) for x in inputs]}")
        return *inputs[0][:-1], sum(x[-1] for x in inputs)


@dataclass(frozen=True, eq=False)
class MeanTokens(Op):
    """Mean over tokens, kept as a sequence of one: ``[tokens, c] -> [1, c]``."""

    kind: ClassVar[str] = "mean_tokens"

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        ((_, channels),) = inputs
        return 1, channels


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """Softmax over the last dimension; quantized when ``step`` is set.

    Quantized: ``y = e / sum(e)`` with ``e = exponent_table(step, levels_per_octave)[min(n, 255)]`` of
    ``ir/tables.py``, n the distance from the row's maximum in steps.

    Attributes:
        step: step of the input scores, or 0.0 for the plain softmax.
        levels_per_octave: 0: exponents are any integers to 119. Otherwise they are, before their own
            rounding, powers of ``2**(1/levels_per_octave)`` to 64: 1 is a log2, 2 a log sqrt(2) quantizer.
    """

    kind: ClassVar[str] = "softmax"
    step: float = 0.0
    levels_per_octave: int = 0

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]


@dataclass(frozen=True, eq=False)
class AttentionScores(Op):
    """``y[h, i, j] = scale * sum_d q[i, h, d] * k[j, h, d] + bias[h, i, j]``.

    Inputs ``[tokens, heads*head_dim]``; queries and keys may be of different numbers of tokens.

    Attributes:
        bias: ``[heads, query tokens, key tokens]`` or None (relative position bias).
    """

    kind: ClassVar[str] = "attention_scores"
    heads: int
    scale: float
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
class AttentionContext(Op):
    """``y[i, h, d] = sum_j p[h, i, j] * v[j, h, d]``; output ``[tokens, heads*head_dim]``."""

    kind: ClassVar[str] = "attention_context"
    heads: int

    def infer_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        p, v = inputs
        _need(p[0] == self.heads and v[-1] % self.heads == 0, f"{self.heads} heads, {v[-1]} value channels")
        return p[1], v[-1]
