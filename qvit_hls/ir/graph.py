"""The intermediate representation: a graph of typed operations in topological order.

One node produces one value, and the value has the node's name. Shapes leave the batch dimension out.
The same classes hold the float graph (as traced from PyTorch) and the integer graph (the golden
reference); which one it is follows from the operations in it (``ir/float_ops.py``, ``ir/integer_ops.py``).
Nothing here imports torch, so the code generator can read graphs without it; calling a graph
does (``ir/interpreter.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import torch

SPEC_VERSION = 1


@dataclass(frozen=True, eq=False)
class Op:
    """Base of every operation. Subclasses are frozen dataclasses whose fields are the attributes.

    Fields are ``int``, ``float``, ``str``, ``tuple[int, ...]``, ``np.ndarray`` or ``None``: what the file
    format can hold (scalars go to JSON, arrays to safetensors).
    """

    #: Name in files and listings; unique over all operations.
    kind: ClassVar[str]

    def infer_shape(self, inputs: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
        """Shape of the output without the batch dimension, from the input shapes.

        Raises:
            ValueError: the input shapes do not fit this operation.
        """
        raise TypeError(f"{type(self).__name__} does not define infer_shape")


@dataclass(frozen=True)
class Quantization:
    """A uniform symmetric quantization of a value: ``real = scale * code`` with ``|code| <= qmax``."""

    scale: float
    qmax: int

    @property
    def bits(self) -> int:
        """Bits of a signed two's-complement code that holds ``-qmax..qmax``."""
        return self.qmax.bit_length() + 1


@dataclass(frozen=True, eq=False)
class Node:
    """One operation applied to earlier values.

    Attributes:
        name: unique in the graph; names follow the model's modules (``blocks.0.mlp.fc1``).
        op: the operation with its attributes.
        inputs: names of earlier nodes.
        shape: shape of the value, without batch.
        quant: how real numbers and codes relate. In a float graph, an annotation: the value has been
            rounded to this grid. In an integer graph, the meaning of the codes.
        source: module path in the PyTorch model that the node comes from, for messages.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    quant: Quantization | None = None
    source: str = ""


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order, and the names of the values that leave the graph."""

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    index: Mapping[str, Node] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        seen: dict[str, Node] = {}
        for node in self.nodes:
            if node.name in seen:
                raise ValueError(f"two nodes are named {node.name}")
            for value in node.inputs:
                if value not in seen:
                    raise ValueError(f"node {node.name} reads {value}, which no earlier node produces")
            seen[node.name] = node
        for value in self.outputs:
            if value not in seen:
                raise ValueError(f"output {value} is produced by no node")
        object.__setattr__(self, "index", seen)

    def __getitem__(self, name: str) -> Node:
        return self.index[name]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Run the graph on a batch; one tensor per output (a bare tensor when there is one output)."""
        values = self.run(*inputs)
        results = tuple(values[name] for name in self.outputs)
        return results[0] if len(results) == 1 else results

    def run(
        self, *inputs: torch.Tensor, observe: Callable[[Node, torch.Tensor], None] | None = None
    ) -> dict[str, torch.Tensor]:
        """Run the graph on a batch and return every value by name.

        Args:
            inputs: one tensor per input node, shape ``[batch, *node.shape]``.
            observe: called with each node and its value, in order.
        """
        from qvit_hls.ir.interpreter import run

        return run(self, inputs, observe)

    def users(self) -> dict[str, list[Node]]:
        """For every value, the nodes that read it, in order."""
        table: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                table[value].append(node)
        return table

    def with_nodes(
        self, nodes: list[Node] | tuple[Node, ...], outputs: tuple[str, ...] | None = None
    ) -> Graph:
        """A graph of the same name with other nodes."""
        return replace_graph(self, tuple(nodes), self.outputs if outputs is None else outputs)


def replace_graph(graph: Graph, nodes: tuple[Node, ...], outputs: tuple[str, ...]) -> Graph:
    """A new graph with ``graph``'s name; the constructor checks the topology again."""
    return Graph(graph.name, nodes, outputs)


def with_quant(node: Node, quant: Quantization | None) -> Node:
    """``node`` with another quantization annotation."""
    return replace(node, quant=quant)
