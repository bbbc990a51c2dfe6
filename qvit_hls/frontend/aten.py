"""How each operator of an exported program becomes operations of the float graph, one handler each.

A handler gets the builder, the fx node, and the node's arguments with values in place of fx nodes.
Operators whose arguments are all constant never get here: the importer computes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from qvit_hls.frontend.builder import Folded, GraphBuilder, Symbol, Unsupported, Value
from qvit_hls.ir import float_ops as ops

Handler = Callable[..., Value]
HANDLERS: dict[str, Handler] = {}


def _handles(*operators: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(operators, handler))
        return handler

    return register


def supported_operators() -> list[str]:
    """Names of the operators that have a handler, without overloads and internal ones."""
    names = {operator.split(".")[1] for operator in HANDLERS}
    return sorted(name for name in names if not name.startswith("_"))


def _output_shape(builder: GraphBuilder, node: fx.Node) -> tuple[int, ...]:
    shape = tuple(int(n) for n in node.meta["val"].shape)
    if not shape or shape[0] != builder.batch:
        raise Unsupported("where it moves or merges the batch dimension")
    return shape[1:]


def _axis(axis: int, rank: int) -> int:
    """A dimension counted from 0 without the batch; ``rank`` includes the batch."""
    axis = axis % rank
    if axis == 0:
        raise Unsupported("over the batch dimension")
    return axis - 1


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise Unsupported(what)


# ---------------------------------------------------------------- layers


@_handles("aten.linear.default")
def _linear(b: GraphBuilder, node: fx.Node, x: Symbol, weight: Folded, bias: Folded | None = None) -> Value:
    _require(isinstance(x, Symbol) and isinstance(weight, Folded), "with weights that depend on the input")
    array = None if bias is None else bias.array
    return b.emit(ops.Linear(weight.array, array, weight.row_scale, weight.row_bits), x)


@_handles("aten.conv2d.default")
def _conv2d(
    b: GraphBuilder,
    node: fx.Node,
    x: Symbol,
    weight: Folded,
    bias: Folded | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] | str = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Value:
    _require(isinstance(weight, Folded), "with weights that depend on the input")
    plain = padding in ("valid", [0], [0, 0], (0, 0)) and all(d == 1 for d in dilation) and groups == 1
    _require(plain, "with padding, dilation or groups")
    strides = (stride[0], stride[-1])
    array = None if bias is None else bias.array
    return b.emit(ops.Conv2d(weight.array, strides, array, weight.row_scale, weight.row_bits), x)


@_handles("aten.layer_norm.default")
def _layer_norm(
    b: GraphBuilder,
    node: fx.Node,
    x: Symbol,
    normalized_shape: Sequence[int],
    weight: Folded | None = None,
    bias: Folded | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Value:
    _require(len(normalized_shape) == 1, "over more than the last dimension")
    arrays = [None if a is None else a.array for a in (weight, bias)]
    return b.emit(ops.LayerNorm(eps, *arrays), x)


@_handles("aten.softmax.int", "aten._softmax.default")
def _softmax(b: GraphBuilder, node: fx.Node, x: Symbol, dim: int, dtype: object = None) -> Value:
    _require(_axis(dim, len(x.shape) + 1) == len(x.shape) - 1, "over another dimension than the last")
    return b.emit(ops.Softmax(), x)


@_handles("aten.gelu.default")
def _gelu(b: GraphBuilder, node: fx.Node, x: Symbol, approximate: str = "none") -> Value:
    return b.emit(ops.Elementwise("gelu" if approximate == "none" else "gelu_tanh"), x)


@_handles("aten.silu.default")
def _silu(b: GraphBuilder, node: fx.Node, x: Symbol) -> Value:
    return b.emit(ops.Elementwise("silu"), x)


@_handles("aten.relu.default")
def _relu(b: GraphBuilder, node: fx.Node, x: Symbol) -> Value:
    return b.emit(ops.Elementwise("relu"), x)


# ---------------------------------------------------------------- products and sums


@_handles("aten.matmul.default")
def _matmul(b: GraphBuilder, node: fx.Node, x: Value, y: Value) -> Value:
    if isinstance(x, Symbol) and isinstance(y, Folded) and y.tensor.dim() == 2:
        return b.emit(ops.Linear(np.ascontiguousarray(y.array.T)), x)
    _require(isinstance(x, Symbol) and isinstance(y, Symbol), "with these constant operands")
    return b.emit(ops.MatMul(), x, y)


@_handles("aten.scaled_dot_product_attention.default")
def _attention(
    b: GraphBuilder,
    node: fx.Node,
    q: Symbol,
    k: Symbol,
    v: Symbol,
    attn_mask: object = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    _require(attn_mask is None and not is_causal and not enable_gqa, "with a mask or grouped queries")
    rank = len(k.shape)
    keys = b.emit(ops.Permute((*range(rank - 2), rank - 1, rank - 2)), k)
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = b.emit(ops.Scale(np.array(factor)), b.emit(ops.MatMul(), q, keys))
    return b.emit(ops.MatMul(), b.emit(ops.Softmax(), scores), v)


@_handles("aten.add.Tensor")
def _add(b: GraphBuilder, node: fx.Node, x: Value | float, y: Value | float, alpha: float = 1) -> Value:
    _require(alpha == 1, "with alpha")
    if not isinstance(x, Symbol):
        x, y = y, x
    assert isinstance(x, Symbol)  # the importer folds what is all constant
    return b.emit(ops.Add(), x, _operand(b, x, y))


def _operand(b: GraphBuilder, x: Symbol, y: Value | float) -> Value:
    """``y`` to be broadcast against ``x``: constants without their batch dimension."""
    if isinstance(y, Symbol):
        return y
    if not isinstance(y, Folded):
        return Folded(torch.tensor(float(y)))
    rank = len(x.shape) + 1
    _require(y.tensor.dim() <= rank, "with a constant of more dimensions than its input")
    return Folded(b.strip_batch(y.tensor, rank), y.origin)


@_handles("aten.mul.Tensor")
def _mul(b: GraphBuilder, node: fx.Node, x: Value | float, y: Value | float) -> Value:
    if not isinstance(x, Symbol):
        x, y = y, x
    assert isinstance(x, Symbol)
    return b.emit(ops.Scale(_factor(b, x, y)), x)


@_handles("aten.div.Tensor")
def _div(b: GraphBuilder, node: fx.Node, x: Value | float, y: Value | float) -> Value:
    if not isinstance(x, Symbol):
        raise Unsupported("by a value that depends on the input")
    return b.emit(ops.Scale(1.0 / _factor(b, x, y)), x)


def _factor(b: GraphBuilder, x: Symbol, y: Value | float) -> np.ndarray:
    """A constant factor of ``x`` in float64: ``[]`` or ``[channels]``."""
    if isinstance(y, Symbol):
        raise Unsupported("with two values that depend on the input")
    if not isinstance(y, Folded):
        return np.array(float(y))
    factor = b.strip_batch(y.tensor, len(x.shape) + 1).detach().cpu().double().numpy()
    if factor.size == 1:
        return factor.reshape(())
    per_channel = factor.size == x.shape[-1] == factor.shape[-1]
    _require(per_channel, "with anything but a number or one factor per channel")
    return factor.reshape(-1)


# ---------------------------------------------------------------- data movement


@_handles(
    "aten.reshape.default",
    "aten.view.default",
    "aten._unsafe_view.default",
    "aten.flatten.using_ints",
    "aten.unflatten.int",
    "aten.squeeze.default",
    "aten.squeeze.dim",
    "aten.squeeze.dims",
    "aten.unsqueeze.default",
)
def _reshape(b: GraphBuilder, node: fx.Node, x: Symbol, *_: Any, **__: Any) -> Value:
    shape = _output_shape(b, node)
    return x if shape == x.shape else b.emit(ops.Reshape(shape), x)


@_handles("aten.permute.default")
def _permute(b: GraphBuilder, node: fx.Node, x: Symbol, dims: Sequence[int]) -> Value:
    rank = len(x.shape) + 1
    order = [d % rank for d in dims]
    _require(order[0] == 0, "where it moves or merges the batch dimension")
    return b.emit(ops.Permute(tuple(d - 1 for d in order[1:])), x)


@_handles("aten.transpose.int")
def _transpose(b: GraphBuilder, node: fx.Node, x: Symbol, dim0: int, dim1: int) -> Value:
    rank = len(x.shape) + 1
    i, j = (_axis(d, rank) for d in (dim0, dim1))
    order = list(range(rank - 1))
    order[i], order[j] = j, i
    return b.emit(ops.Permute(tuple(order)), x)


@_handles("aten.expand.default", "aten.expand_as.default")
def _expand(b: GraphBuilder, node: fx.Node, x: Symbol, *_: Any, **__: Any) -> Value:
    _require(_output_shape(b, node) == x.shape, "on a value that depends on the input")
    return x


@_handles("aten.cat.default")
def _cat(b: GraphBuilder, node: fx.Node, parts: Sequence[Value], dim: int = 0) -> Value:
    rank = len(node.meta["val"].shape)
    _require(rank == 3 and _axis(dim, rank) == 0, "along anything but the token dimension")
    return b.emit(ops.ConcatTokens(), *parts)


@_handles("aten.select.int")
def _select(b: GraphBuilder, node: fx.Node, x: Symbol, dim: int, index: int) -> Value:
    _require(len(x.shape) == 2 and _axis(dim, 3) == 0, "along anything but the token dimension")
    token = b.emit(ops.TakeToken(index % x.shape[0]), x)
    return b.emit(ops.Reshape(token.shape[1:]), token)


@_handles("aten.slice.Tensor")
def _slice(
    b: GraphBuilder,
    node: fx.Node,
    x: Symbol,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Value:
    if tuple(node.meta["val"].shape) == (b.batch, *x.shape):
        return x
    _require(len(x.shape) == 2 and _axis(dim, 3) == 0, "along anything but the token dimension")
    taken = range(x.shape[0])[slice(start, end, step)]
    _require(len(taken) == 1, "of more than one token")
    return b.emit(ops.TakeToken(taken[0]), x)


@_handles("aten.mean.dim")
def _mean(
    b: GraphBuilder,
    node: fx.Node,
    x: Symbol,
    dims: Sequence[int],
    keepdim: bool = False,
    dtype: object = None,
) -> Value:
    token_axis = len(x.shape) == 2 and [_axis(d, 3) for d in dims] == [0]
    _require(token_axis, "over anything but the token dimension")
    mean = b.emit(ops.MeanTokens(), x)
    return mean if keepdim else b.emit(ops.Reshape(mean.shape[1:]), mean)


@_handles(
    "aten.contiguous.default",
    "aten.clone.default",
    "aten.alias.default",
    "aten.detach.default",
    "aten.dropout.default",
    "aten.to.dtype",
    "aten.to.dtype_layout",
    "aten._to_copy.default",
)
def _identity(b: GraphBuilder, node: fx.Node, x: Symbol, *_: Any, **__: Any) -> Value:
    _require(node.meta["val"].dtype.is_floating_point, "to an integer type")
    return x


# ---------------------------------------------------------------- quantizers (quant/fake_quant.py)


def _number(value: Value | float) -> float:
    """A constant scalar, exactly."""
    _require(not isinstance(value, Symbol), "with a step that depends on the input")
    if isinstance(value, Folded):
        _require(value.tensor.numel() == 1, "with anything but one step per tensor")
        return float(value.tensor)
    return float(value)  # type: ignore[arg-type]


@_handles("qvit.fake_quantize.default")
def _fake_quantize(b: GraphBuilder, node: fx.Node, x: Symbol, scale: Value, qmax: int) -> Value:
    return b.emit(ops.FakeQuantize(_number(scale), int(qmax)), x)


@_handles("qvit.fake_softmax.default")
def _fake_softmax(b: GraphBuilder, node: fx.Node, x: Symbol, step: Value) -> Value:
    return b.emit(ops.Softmax(_number(step)), x)
