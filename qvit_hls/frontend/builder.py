"""What the importer builds while it walks an exported program: values, nodes and their names."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from qvit_hls.ir import float_ops as ops
from qvit_hls.ir.graph import Graph, Node, Op


@dataclass(frozen=True)
class Symbol:
    """A value that depends on the input: a node of the graph; ``shape`` leaves the batch out.

    Attributes:
        batch_axis: where the batch dimension stands among those of ``shape`` in the traced program. In the
            graph it is always in front; in the program it may be elsewhere, as long as nothing is computed
            along it.
        merged: first of the dimensions, the batch's among them, that are one in the program, and the end of
            them; None: each is one of its own. ``torch.nn.MultiheadAttention`` has batch times heads.
    """

    name: str
    shape: tuple[int, ...]
    batch_axis: int = 0
    merged: tuple[int, int] | None = None

    @property
    def axes(self) -> list[list[int]]:
        """The dimensions of the traced program, each made of those of the value with its batch."""
        start, end = self.merged or (self.batch_axis, self.batch_axis + 1)
        rank = len(self.shape) + 1
        return [[i] for i in range(start)] + [list(range(start, end))] + [[i] for i in range(end, rank)]

    @property
    def batch_dimension(self) -> int:
        """Which of the program's dimensions has the batch."""
        return self.batch_axis if self.merged is None else self.merged[0]

    @property
    def is_plain(self) -> bool:
        """Whether the batch dimension is in front, by itself."""
        return self.batch_axis == 0 and self.merged is None


@dataclass(frozen=True, eq=False)
class Folded:
    """A value that does not depend on the input, computed during the import.

    Attributes:
        tensor: with the batch dimension, where the program has one.
        origin: the parameter or buffer that it comes from first, for naming.
        row_scale, row_bits: set on weights that ``qvit::fake_quantize_rows`` has rounded.
    """

    tensor: Tensor
    origin: str = ""
    row_scale: np.ndarray | None = None
    row_bits: np.ndarray | None = None

    @property
    def array(self) -> np.ndarray:
        """The value as float32."""
        return to_array(self.tensor)


Value = Symbol | Folded
#: What an operator makes: a value, or several that ``getitem`` tells apart.
Result = Value | list[Value]


class Unsupported(Exception):  # noqa: N818  (caught in the importer, which collects them all)
    """What an operation's handler cannot express in the IR; the text completes ``<op> is not supported``."""


def to_array(tensor: Tensor) -> np.ndarray:
    """A tensor's values as a contiguous float32 array."""
    return np.ascontiguousarray(tensor.detach().cpu().to(torch.float32).numpy())


class GraphBuilder:
    """Collects nodes under provisional names; ``finish`` gives them names that follow the modules.

    Args:
        batch: batch size of the traced program.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.source = ""  # module path of the operation that is being imported
        self._nodes: list[Node] = []

    def emit(
        self, op: Op, *inputs: Value, batch_axis: int = 0, merged: tuple[int, int] | None = None
    ) -> Symbol:
        """Append a node; ``batch_axis`` and ``merged`` are its value's in the traced program.

        Raises:
            Unsupported: the operation does not fit the shapes of its inputs.
        """
        symbols = [self.symbol(value) for value in inputs]
        try:
            shape = op.infer_shape(tuple(s.shape for s in symbols))
        except ValueError as error:
            raise Unsupported(f"here: {error}") from error
        name = f"%{len(self._nodes)}"
        self._nodes.append(Node(name, op, tuple(s.name for s in symbols), shape, source=self.source))
        return Symbol(name, shape, batch_axis, merged)

    def emit_along(self, op: Op, *inputs: Symbol, dimensions: int = 1) -> Symbol:
        """Append what computes along the last dimensions; the batch stays where it is in the inputs.

        Raises:
            Unsupported: it is among them, or not in the same place in all.
        """
        first, *others = inputs
        if any((x.batch_axis, x.merged) != (first.batch_axis, first.merged) for x in others):
            raise Unsupported("of values with their batch dimensions in different places")
        if any(len(x.axes) - x.batch_dimension <= dimensions for x in inputs):
            raise Unsupported("along the batch dimension")
        return self.emit(op, *inputs, batch_axis=first.batch_axis, merged=first.merged)

    def node(self, name: str) -> Node:
        """The node that has been appended under a provisional name."""
        return self._nodes[int(name[1:])]

    def symbol(self, value: Value) -> Symbol:
        """``value`` as a node; a folded value becomes a Constant, its batch dimension stripped."""
        if isinstance(value, Symbol):
            return value
        return self.constant(self.strip_batch(value.tensor), value.origin)

    def constant(self, tensor: Tensor, origin: str = "") -> Symbol:
        """Append a Constant, named after the parameter or buffer ``origin``; no batch dimension."""
        array = to_array(tensor)
        name = f"%{len(self._nodes)}"
        self._nodes.append(Node(name, ops.Constant(array), (), tuple(array.shape), source=origin))
        return Symbol(name, tuple(array.shape))

    def strip_batch(self, tensor: Tensor, rank: int = 3) -> Tensor:
        """A constant without its batch dimension, if it has one: all ``rank`` dimensions.

        Raises:
            Unsupported: the constant differs between the elements of the batch.
        """
        if tensor.dim() < rank:
            return tensor
        if not torch.equal(tensor, tensor[:1].expand_as(tensor)):
            raise Unsupported("with a constant that differs between images of a batch")
        return tensor[0]

    def finish(self, name: str, outputs: list[Symbol]) -> Graph:
        """The graph, its nodes named after modules."""
        names = _choose_names(self._nodes)
        nodes = tuple(
            replace(node, name=names[node.name], inputs=tuple(names[i] for i in node.inputs))
            for node in self._nodes
        )
        return Graph(name, nodes, tuple(names[output.name] for output in outputs))


_LAYOUT = (ops.Reshape, ops.Permute, ops.Slice)


def _choose_names(nodes: list[Node]) -> dict[str, str]:
    """Final names: a module's path, or the path and a suffix where several operations share a module.

    The path alone goes to the one operation of a module without submodules (reshapes aside), so
    ``blocks.0.mlp.fc1`` is that layer's product; others are ``blocks.0.attn.matmul`` and so on.
    """
    computing = Counter(node.source for node in nodes if not isinstance(node.op, _LAYOUT))
    parents = {
        ".".join(parts[:i]) for node in nodes for parts in [node.source.split(".")] for i in range(len(parts))
    }
    names: dict[str, str] = {}
    taken: set[str] = set()
    for node in nodes:
        alone = computing[node.source] == 1 and not isinstance(node.op, _LAYOUT)
        if node.source and alone and node.source not in parents:
            wanted = node.source
        else:
            wanted = f"{node.source}.{_suffix(node.op)}".lstrip(".")
        chosen = wanted
        count = 1
        while chosen in taken:
            chosen = f"{wanted}_{count}"
            count += 1
        taken.add(chosen)
        names[node.name] = chosen
    return names


def _suffix(op: Op) -> str:
    if isinstance(op, ops.Elementwise):
        return op.function
    return {"concat_tokens": "concat", "take_token": "token", "mean_tokens": "mean"}.get(op.kind, op.kind)
