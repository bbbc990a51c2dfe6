"""Handlers of the operators that move data, and of those that do nothing here.

All but those of tokens work wherever the batch dimension stands: the graph has none, so a handler only
keeps track of its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import fx

from qvit_hls.frontend.builder import GraphBuilder, Symbol, Unsupported, Value
from qvit_hls.frontend.registry import axis_without_batch, handles, require, traced_shape
from qvit_hls.ir import float_ops as ops

_MOVES_BATCH = "where it moves or merges the batch dimension"

# ---------------------------------------------------------------- reshapes and permutations


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
    merged_batch=True,
)
def _reshape(b: GraphBuilder, node: fx.Node, x: Symbol, *_: Any, **__: Any) -> Value:
    traced = traced_shape(node)
    before = math.prod(x.shape[: x.batch_axis])
    places = [
        place for axis in range(len(traced)) if (place := _batch_in(b, traced, axis, before)) is not None
    ]
    require(bool(places), _MOVES_BATCH)
    # A dimension of its own, if there is one.
    axis, lead, trail = min(places, key=lambda place: place[1] * place[2])
    parts = [n for n in (lead, trail) if n > 1]
    shape = (*traced[:axis], *parts, *traced[axis + 1 :])
    batch_axis = axis + (lead > 1)
    merged = (axis, axis + 1 + len(parts)) if parts else None
    if shape == x.shape:
        return replace(x, batch_axis=batch_axis, merged=merged)
    return b.emit(ops.Reshape(shape), x, batch_axis=batch_axis, merged=merged)


def _batch_in(
    b: GraphBuilder, traced: tuple[int, ...], axis: int, before: int
) -> tuple[int, int, int] | None:
    """Whether a dimension of a reshaped value has the batch in it: the dimension, and what is merged with it.

    Args:
        before: elements in front of the batch dimension, for one image; a reshape moves none past it.

    Returns:
        The axis, elements of the dimension in front of the batch, and behind it; None if it is not there.
    """
    outer = math.prod(traced[:axis])
    lead = before // outer if outer and before % outer == 0 else 0
    if not lead or traced[axis] % (lead * b.batch):
        return None
    return axis, lead, traced[axis] // (lead * b.batch)


@handles("aten.permute.default", merged_batch=True)
def _permute(b: GraphBuilder, node: fx.Node, x: Symbol, dims: Sequence[int]) -> Value:
    return _permuted(b, x, dims)


def _permuted(b: GraphBuilder, x: Symbol, dims: Sequence[int]) -> Symbol:
    axes = [x.axes[d % len(x.axes)] for d in dims]
    order = [dimension for axis in axes for dimension in axis]
    start = next(sum(map(len, axes[:i])) for i, axis in enumerate(axes) if x.batch_axis in axis)
    merged = None if x.merged is None else (start, start + x.merged[1] - x.merged[0])
    kept = tuple(d - (d > x.batch_axis) for d in order if d != x.batch_axis)
    return b.emit(ops.Permute(kept), x, batch_axis=order.index(x.batch_axis), merged=merged)


@handles("aten.transpose.int", merged_batch=True)
def _transpose(b: GraphBuilder, node: fx.Node, x: Symbol, dim0: int, dim1: int) -> Value:
    rank = len(x.axes)
    order = list(range(rank))
    order[dim0 % rank], order[dim1 % rank] = order[dim1 % rank], order[dim0 % rank]
    return _permuted(b, x, order)


@handles("aten.expand.default", "aten.expand_as.default", any_batch_axis=True)
def _expand(b: GraphBuilder, node: fx.Node, x: Symbol, *_: Any, **__: Any) -> Value:
    same = (*x.shape[: x.batch_axis], b.batch, *x.shape[x.batch_axis :])
    require(traced_shape(node) == same, "on a value that depends on the input")
    return x


# ---------------------------------------------------------------- parts of a value


@handles("aten.select.int", any_batch_axis=True)
def _select(b: GraphBuilder, node: fx.Node, x: Symbol, dim: int, index: int) -> Value:
    axis = axis_without_batch(dim, x)
    return _element(b, x, axis, index % x.shape[axis])


def _element(b: GraphBuilder, x: Symbol, axis: int, index: int) -> Symbol:
    """One element along an axis (batch excluded), without that axis."""
    part = _part(b, x, axis, index, index + 1)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    return b.emit(ops.Reshape(shape), part, batch_axis=x.batch_axis - (axis < x.batch_axis))


def _part(b: GraphBuilder, x: Symbol, axis: int, start: int, stop: int) -> Symbol:
    """Elements ``start .. stop - 1`` along an axis (batch excluded); one token is TakeToken."""
    require(start < stop, "of no elements")
    if start == 0 and stop == x.shape[axis]:
        return x
    if len(x.shape) == 2 and axis == 0 and stop - start == 1:
        return b.emit(ops.TakeToken(start), x, batch_axis=x.batch_axis)
    return b.emit(ops.Slice(axis, start, stop), x, batch_axis=x.batch_axis)


@handles("aten.slice.Tensor", any_batch_axis=True)
def _slice(
    b: GraphBuilder,
    node: fx.Node,
    x: Symbol,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Value:
    if dim % (len(x.shape) + 1) == x.batch_axis:
        require(traced_shape(node)[x.batch_axis] == b.batch, "over the batch dimension")
        return x
    axis = axis_without_batch(dim, x)
    taken = range(x.shape[axis])[slice(start, end, step)]
    require(len(taken) <= 1 or taken.step == 1, "with a step")
    return _part(b, x, axis, taken.start, taken.start + len(taken))


@handles("aten.narrow.default", any_batch_axis=True)
def _narrow(b: GraphBuilder, node: fx.Node, x: Symbol, dim: int, start: int, length: int) -> Value:
    axis = axis_without_batch(dim, x)
    first = start % x.shape[axis]
    return _part(b, x, axis, first, first + length)


@handles("aten.unbind.int", any_batch_axis=True)
def _unbind(b: GraphBuilder, node: fx.Node, x: Symbol, dim: int = 0) -> list[Value]:
    axis = axis_without_batch(dim, x)
    return [_element(b, x, axis, i) for i in range(x.shape[axis])]


@handles(
    "aten.split.Tensor",
    "aten.split_with_sizes.default",
    "aten.split.sizes",
    "aten.chunk.default",
    any_batch_axis=True,
)
def _split(b: GraphBuilder, node: fx.Node, x: Symbol, _: Any, dim: int = 0) -> list[Value]:
    axis = axis_without_batch(dim, x)
    sizes = [int(part.shape[dim]) for part in node.meta["val"]]
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [_part(b, x, axis, end - size, end) for size, end in zip(sizes, ends, strict=True)]


# ---------------------------------------------------------------- values joined


@handles("aten.cat.default")
def _cat(b: GraphBuilder, node: fx.Node, parts: Sequence[Value], dim: int = 0) -> Value:
    rank = len(traced_shape(node))
    if len(parts) == 1:
        return parts[0]
    if dim % rank == rank - 1 and rank in (2, 3):
        return b.emit(ops.ConcatChannels(), *parts)
    require(rank == 3 and dim % 3 == 1, "along anything but tokens or channels")
    return b.emit(ops.ConcatTokens(), *parts)


@handles("aten.stack.default", any_batch_axis=True)
def _stack(b: GraphBuilder, node: fx.Node, parts: Sequence[Value], dim: int = 0) -> Value:
    """Channels of single tokens, which become a sequence; or all that unbind has taken apart."""
    dim = dim % len(traced_shape(node))
    whole = _unbound(b, parts, dim)
    if whole is not None:
        return whole
    symbols = [part for part in parts if isinstance(part, Symbol)]
    tokens = dim == 1 and all(len(part.shape) == 1 and part.batch_axis == 0 for part in symbols)
    require(
        tokens and len(symbols) == len(parts),
        "of anything but single tokens, or of what was one value before",
    )
    return b.emit(ops.ConcatTokens(), *(b.emit(ops.Reshape((1, *part.shape)), part) for part in symbols))


def _unbound(b: GraphBuilder, parts: Sequence[Value], dim: int) -> Symbol | None:
    """The value whose elements along ``dim``, all of them in order, are ``parts``."""
    source: Symbol | None = None
    for i, part in enumerate(parts):
        if not isinstance(part, Symbol):
            return None
        batch_axis = part.batch_axis + (dim <= part.batch_axis)
        axis = dim - (dim > batch_axis)
        shape = (*part.shape[:axis], len(parts), *part.shape[axis:])
        squeeze = b.node(part.name)
        taken = b.node(squeeze.inputs[0]) if isinstance(squeeze.op, ops.Reshape) else squeeze
        index = (taken.op.axis, taken.op.start) if isinstance(taken.op, ops.Slice) else None
        if isinstance(taken.op, ops.TakeToken):
            index = 0, taken.op.index
        if index != (axis, i) or b.node(taken.inputs[0]).shape != shape:
            return None
        if source is not None and source.name != taken.inputs[0]:
            return None
        source = Symbol(taken.inputs[0], shape, batch_axis)
    return source


# ---------------------------------------------------------------- tokens


@handles("aten.mean.dim")
def _mean(
    b: GraphBuilder,
    node: fx.Node,
    x: Symbol,
    dims: Sequence[int],
    keepdim: bool = False,
    dtype: object = None,
) -> Value:
    axes = sorted(axis_without_batch(d, x) for d in dims)
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    require(len(kept) == 1, "over anything but all dimensions but the batch and one more")
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape) if keepdim or axis not in axes)
    if axes != list(range(len(axes))):
        x = b.emit(ops.Permute((*axes, *kept)), x)
    if len(axes) > 1:
        x = b.emit(ops.Reshape((math.prod(x.shape[:-1]), x.shape[-1])), x)
    mean = b.emit(ops.MeanTokens(), x)
    return mean if mean.shape == shape else b.emit(ops.Reshape(shape), mean)


@handles(
    "aten.contiguous.default",
    "aten.clone.default",
    "aten.alias.default",
    "aten.detach.default",
    "aten.dropout.default",
    "aten.to.dtype",
    "aten.to.dtype_layout",
    "aten._to_copy.default",
    merged_batch=True,
)
def _identity(b: GraphBuilder, node: fx.Node, x: Symbol, *_: Any, **__: Any) -> Value:
    if not node.meta["val"].dtype.is_floating_point:
        raise Unsupported("to an integer type")
    return x
