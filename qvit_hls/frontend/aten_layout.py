"""Handlers of the operators that move data, and of those that do nothing here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import fx

from qvit_hls.frontend.builder import GraphBuilder, Symbol, Value
from qvit_hls.frontend.registry import axis_without_batch, handles, output_shape, require
from qvit_hls.ir import float_ops as ops


@handles(
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
    shape = output_shape(b, node)
    return x if shape == x.shape else b.emit(ops.Reshape(shape), x)


@handles("aten.permute.default")
def _permute(b: GraphBuilder, node: fx.Node, x: Symbol, dims: Sequence[int]) -> Value:
    rank = len(x.shape) + 1
    order = [d % rank for d in dims]
    require(order[0] == 0, "where it moves or merges the batch dimension")
    return b.emit(ops.Permute(tuple(d - 1 for d in order[1:])), x)


@handles("aten.transpose.int")
def _transpose(b: GraphBuilder, node: fx.Node, x: Symbol, dim0: int, dim1: int) -> Value:
    rank = len(x.shape) + 1
    i, j = (axis_without_batch(d, rank) for d in (dim0, dim1))
    order = list(range(rank - 1))
    order[i], order[j] = j, i
    return b.emit(ops.Permute(tuple(order)), x)


@handles("aten.expand.default", "aten.expand_as.default")
def _expand(b: GraphBuilder, node: fx.Node, x: Symbol, *_: Any, **__: Any) -> Value:
    require(output_shape(b, node) == x.shape, "on a value that depends on the input")
    return x


@handles("aten.cat.default")
def _cat(b: GraphBuilder, node: fx.Node, parts: Sequence[Value], dim: int = 0) -> Value:
    rank = len(node.meta["val"].shape)
    require(rank == 3 and axis_without_batch(dim, rank) == 0, "along anything but the token dimension")
    return b.emit(ops.ConcatTokens(), *parts)


@handles("aten.select.int")
def _select(b: GraphBuilder, node: fx.Node, x: Symbol, dim: int, index: int) -> Value:
    require(len(x.shape) == 2 and axis_without_batch(dim, 3) == 0, "along anything but the token dimension")
    token = b.emit(ops.TakeToken(index % x.shape[0]), x)
    return b.emit(ops.Reshape(token.shape[1:]), token)


@handles("aten.slice.Tensor")
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
    require(len(x.shape) == 2 and axis_without_batch(dim, 3) == 0, "along anything but the token dimension")
    taken = range(x.shape[0])[slice(start, end, step)]
    require(len(taken) == 1, "of more than one token")
    return b.emit(ops.TakeToken(taken[0]), x)


@handles("aten.mean.dim")
def _mean(
    b: GraphBuilder,
    node: fx.Node,
    x: Symbol,
    dims: Sequence[int],
    keepdim: bool = False,
    dtype: object = None,
) -> Value:
    token_axis = len(x.shape) == 2 and [axis_without_batch(d, 3) for d in dims] == [0]
    require(token_axis, "over anything but the token dimension")
    mean = b.emit(ops.MeanTokens(), x)
    return mean if keepdim else b.emit(ops.Reshape(mean.shape[1:]), mean)


@handles(
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
    require(node.meta["val"].dtype.is_floating_point, "to an integer type")
    return x
