"""Operators that are written in terms of others before the import, where their arguments allow it.

Each is a function of PyTorch that torch.export traces in the operator's place. For arguments that it does
not cover it returns NotImplemented, by which torch goes on to the operator itself, and the importer says what
it lacks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten


def _einsum(equation: str, tensors: Sequence[Tensor], *, path: Any = None) -> Tensor:
    """Two tensors, every index of either also in the other or in the result: a matrix product."""
    left, _, result = equation.replace(" ", "").partition("->")
    labels = left.split(",")
    once = all(max(Counter(part).values(), default=1) == 1 for part in (*labels, result))
    if len(labels) != 2 or not once or "." in equation or not result:
        return NotImplemented
    a, b = labels
    if set(result) - set(a + b) or set(a) - set(b + result) or set(b) - set(a + result):
        return NotImplemented
    size: dict[str, int] = {}
    for part, x in zip(labels, tensors, strict=True):
        size |= dict(zip(part, x.shape, strict=True))
    batch = [x for x in result if x in a and x in b]
    rows = [x for x in result if x in a and x not in b]
    columns = [x for x in result if x in b and x not in a]
    summed = [x for x in a if x in b and x not in result]

    def matrices(tensor: Tensor, labels: str, first: list[str], second: list[str]) -> Tensor:
        x = tensor.permute([labels.index(label) for label in (*batch, *first, *second)])
        sizes = [math.prod(size[label] for label in part) for part in (first, second)]
        return x.reshape([*(size[label] for label in batch), *sizes])

    product = matrices(tensors[0], a, rows, summed) @ matrices(tensors[1], b, summed, columns)
    order = [*batch, *rows, *columns]
    return product.reshape([size[x] for x in order]).permute([order.index(x) for x in result])


def _pooled(x: Tensor, output_size: Sequence[int]) -> Tensor:
    """Adaptive average pooling to a single element."""
    if any(n != 1 for n in output_size):
        return NotImplemented
    return x.mean(dim=[-1 - i for i in range(len(output_size))], keepdim=True)


def _im2col(
    x: Tensor,
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Tensor:
    """``functional.unfold`` into blocks that do not overlap."""
    images, channels, height, width = x.shape
    h, w = kernel_size
    apart = list(stride) == [h, w] and not any(padding) and all(n == 1 for n in dilation)
    if not apart or height % h or width % w:
        return NotImplemented
    blocks = x.reshape(images, channels, height // h, h, width // w, w).permute(0, 1, 3, 5, 2, 4)
    return blocks.reshape(images, channels * h * w, -1)


def _unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """``Tensor.unfold`` into pieces that do not overlap."""
    axis = dimension % x.dim()
    if step != size or x.shape[axis] % size:
        return NotImplemented
    return x.reshape(*x.shape[:axis], -1, size, *x.shape[axis + 1 :]).movedim(axis + 1, -1)


def add_what_is_stacked(graph: fx.Graph) -> None:
    """``torch.stack(values, d).sum(d)`` of a traced program as sums of two, in place."""
    for node in list(graph.nodes):
        if node.target is not aten.sum.dim_IntList or len(node.args) < 2 or node.args[2:3] == (True,):
            continue
        stacked, dimensions = node.args[:2]
        if stacked.target is not aten.stack.default:
            continue
        rank = stacked.meta["val"].dim()
        along = (stacked.args[1] if len(stacked.args) > 1 else 0) % rank
        if [d % rank for d in dimensions] != [along]:
            continue
        total, *others = stacked.args[0]
        with graph.inserting_before(node):
            for value in others:
                total = graph.call_function(aten.add.Tensor, (total, value))
                total.meta = dict(node.meta)
        node.replace_all_uses_with(total)


DECOMPOSITIONS: Mapping[torch._ops.OpOverload, Callable[..., Tensor]] = {
    aten.einsum.default: _einsum,
    aten.adaptive_avg_pool1d.default: _pooled,
    aten.adaptive_avg_pool2d.default: _pooled,
    aten._adaptive_avg_pool2d.default: _pooled,
    aten.im2col.default: _im2col,
    aten.unfold.default: _unfold,
}
