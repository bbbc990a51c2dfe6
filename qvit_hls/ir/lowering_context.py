"""The state of a lowering: integer nodes so far, problems so far, and what rules ask of a node."""

from __future__ import annotations

from qvit_hls.ir.dyadic import dyadic
from qvit_hls.ir.graph import Graph, Node, Op, Quantization
from qvit_hls.ir.integer_ops import MAX_SHIFT
from qvit_hls.quant.levels import MAX_RESIDUAL_BITS


class Unlowerable(Exception):  # noqa: N818  (caught in lowering.py, which collects them all)
    """Why a node has no integer counterpart; the text follows the node's name and a colon."""


class InputFailed(Exception):  # noqa: N818
    """An input has been reported already; nothing is to be said about this node."""


class Lowering:
    """What has been lowered so far.

    Attributes:
        graph: the float graph.
        nodes: the integer nodes, in order.
        problems: whole sentences, to be raised together.
        reported: names of the nodes that they are about.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.problems: list[str] = []
        self.reported: list[str] = []
        self._done: dict[str, Node] = {}
        self._aliases: dict[str, str] = {}

    def emit(self, node: Node, op: Op, inputs: tuple[str, ...], quant: Quantization) -> None:
        """Append the integer counterpart of ``node``."""
        lowered = [self.input(name) for name in inputs]
        try:
            shape = op.infer_shape(tuple(n.shape for n in lowered))
        except ValueError as error:
            raise Unlowerable(str(error)) from error
        names = tuple(n.name for n in lowered)
        self._done[node.name] = Node(node.name, op, names, shape, quant, node.source)
        self.nodes.append(self._done[node.name])

    def input(self, name: str) -> Node:
        """The integer node that computes the float graph's value ``name``."""
        name = self.resolve(name)
        if name not in self._done:
            raise InputFailed
        return self._done[name]

    def input_quant(self, name: str) -> Quantization:
        """The grid of an input's codes."""
        quant = self.input(name).quant
        assert quant is not None
        return quant

    def alias(self, name: str, source: str) -> None:
        """Let value ``name`` be the same as ``source``."""
        self._aliases[name] = source

    def resolve(self, name: str) -> str:
        """The value that ``name`` stands for."""
        while name in self._aliases:
            name = self._aliases[name]
        return name

    def report(self, node: Node, problem: str) -> None:
        """Note a problem of ``node``."""
        self.problems.append(f"{node.name}: {problem}.")
        self.reported.append(node.name)


def own_quant(node: Node) -> Quantization:
    """The annotation of ``node``, which must be there."""
    if node.quant is None:
        raise Unlowerable("its value is not quantized; put a quantizer behind it")
    if not node.quant.scale > 0:
        raise Unlowerable(f"its step is {node.quant.scale}; it must be positive")
    if node.quant.bits > MAX_RESIDUAL_BITS:
        raise Unlowerable(f"its value has {node.quant.bits} bits; values have at most {MAX_RESIDUAL_BITS}")
    return node.quant


def rescale(ratio: float, max_shift: int = MAX_SHIFT) -> tuple[int, int]:
    """``dyadic``, its error turned into a problem of the node."""
    try:
        return dyadic(ratio, max_shift)
    except ValueError as error:
        raise Unlowerable(str(error)) from error
