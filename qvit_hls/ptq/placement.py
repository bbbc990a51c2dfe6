"""Which values of a float graph need a grid, of which kind, and which of them share one.

A grid is asked for by who reads the value: an operand of a product has few bits, the residual stream many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from qvit_hls.errors import QvitError
from qvit_hls.ir import float_ops as ops
from qvit_hls.ir.graph import Graph, Node, Op
from qvit_hls.ir.lowering_structure import explained_by, structural_obstacle
from qvit_hls.quant.levels import (
    MAX_ACTIVATION_BITS,
    MAX_RESIDUAL_BITS,
    MIN_ACTIVATION_BITS,
    activation_qmax,
    digit_operand_qmax,
)

MAX_TABLE_BITS = 10
MIN_RESIDUAL_BITS = 12


class GridKind(Enum):
    """What a value is used for."""

    #: Operand of a matrix product, that takes an activation's place.
    OPERAND = "operand"
    #: Attention keys: split into digits, as a weight is.
    KEY = "key"
    #: Input of an elementwise function, which becomes a table.
    TABLE = "table"
    #: Attention scores before the softmax.
    SCORE = "score"
    #: Terms and sums of the residual stream.
    RESIDUAL = "residual"
    #: What leaves the graph.
    LOGIT = "logit"


#: Grids that cover the largest value seen, with room: clipping costs more there than coarse steps do.
COVERING = frozenset({GridKind.SCORE, GridKind.RESIDUAL, GridKind.LOGIT})


@dataclass(frozen=True)
class BitWidths:
    """Bits of the grids.

    Attributes:
        activation: A, of operands of matrix products, 4 to 8.
        table: of inputs of elementwise functions, 4 to 10.
        score: of attention scores, 8 to 16.
        residual: of the residual stream, 12 to 16.
        logit: of the outputs, 12 to 16.

    Raises:
        QvitError: a width is out of its range; all are listed.
    """

    activation: int = 7
    table: int = 8
    score: int = 12
    residual: int = MAX_RESIDUAL_BITS
    logit: int = MAX_RESIDUAL_BITS

    def __post_init__(self) -> None:
        ranges = {
            "activation": (MIN_ACTIVATION_BITS, MAX_ACTIVATION_BITS),
            "table": (MIN_ACTIVATION_BITS, MAX_TABLE_BITS),
            "score": (MAX_ACTIVATION_BITS, MAX_RESIDUAL_BITS),
            "residual": (MIN_RESIDUAL_BITS, MAX_RESIDUAL_BITS),
            "logit": (MIN_RESIDUAL_BITS, MAX_RESIDUAL_BITS),
        }
        problems = [
            f"The {name} grid is to have {getattr(self, name)} bits; it should have {low} to {high}."
            for name, (low, high) in ranges.items()
            if not low <= getattr(self, name) <= high
        ]
        if problems:
            raise QvitError(problems)

    def qmax(self, kind: GridKind) -> int:
        """Largest code of a grid of this kind."""
        match kind:
            case GridKind.KEY:
                return digit_operand_qmax(self.activation)
            case GridKind.OPERAND:
                return activation_qmax(self.activation)
            case GridKind.TABLE:
                return activation_qmax(self.table)
            case GridKind.SCORE:
                return activation_qmax(self.score)
            case GridKind.RESIDUAL:
                return activation_qmax(self.residual)
            case GridKind.LOGIT:
                return activation_qmax(self.logit)


@dataclass(frozen=True)
class Grid:
    """One grid, and the values on it.

    Attributes:
        values: names, in the graph's order.
        kind: the strictest of what the values are used for.
        qmax: largest code.
    """

    values: tuple[str, ...]
    kind: GridKind
    qmax: int

    @property
    def name(self) -> str:
        """The first value's."""
        return self.values[0]


@dataclass(frozen=True)
class Placement:
    """All grids of a graph, in the order of their first values."""

    grids: tuple[Grid, ...]

    def by_value(self) -> Mapping[str, Grid]:
        """The grid of each value that has one."""
        return {value: grid for grid in self.grids for value in grid.values}


#: Operations whose value is on their input's grid: they only move codes.
_MOVEMENT = (ops.Patches, ops.TakeToken, ops.Slice)
#: Operations whose value the accelerator does not store: constants and normalised probabilities.
_WITHOUT_GRID = (ops.Constant, ops.Softmax)
_KNOWN: tuple[type[Op], ...] = (
    *_MOVEMENT,
    *_WITHOUT_GRID,
    ops.Input,
    ops.Linear,
    ops.Elementwise,
    ops.LayerNorm,
    ops.Requantize,
    ops.Add,
    ops.ConcatTokens,
    ops.MeanTokens,
    ops.AttentionScores,
    ops.AttentionContext,
)


def place(graph: Graph, widths: BitWidths) -> Placement:
    """Find the grids that lowering needs.

    Args:
        graph: float, after FLOAT_PASSES, without annotations.
        widths: bits by kind.

    Raises:
        QvitError: nodes that have a grid already, operations that have no integer counterpart, values that
            nothing says the use of; all are listed.
    """
    users = graph.users()
    aliases = {node.name: node.inputs[0] for node in graph if _moves(graph, node)}
    inner = {node.name for node in graph if _is_embedding_step(graph, users, node)}
    problems = list(_problems(graph, aliases))
    if problems:
        raise QvitError(problems)

    def stored(name: str) -> str:
        while name in aliases:
            name = aliases[name]
        return name

    groups = _Groups(
        node.name
        for node in graph
        if node.name not in aliases and node.name not in inner and not isinstance(node.op, _WITHOUT_GRID)
    )
    uses: dict[str, list[GridKind]] = {name: [] for name in groups.names}
    for node in graph:
        if node.name in aliases:
            continue
        joined = isinstance(node.op, ops.Add | ops.ConcatTokens)
        for index, name in enumerate(node.inputs):
            source = stored(name)
            if source not in uses:
                continue
            kind = _use(node, index)
            if kind is not None:
                uses[source].append(kind)
            if joined:
                groups.join(source, _sum(users, inner, node).name)
    for name in graph.outputs:
        uses[stored(name)].append(GridKind.LOGIT)
    _join_means(graph, groups, uses, stored)
    grids = []
    for names in groups.sets():
        kinds = [kind for name in names for kind in uses[name]]
        if kinds:
            strictest = min(kinds, key=lambda kind: (widths.qmax(kind), list(GridKind).index(kind)))
            grids.append(Grid(tuple(names), strictest, widths.qmax(strictest)))
        else:
            problems += [f"{name}: nothing reads its value; remove it before quantization." for name in names]
    if problems:
        raise QvitError(problems)
    return Placement(tuple(grids))


def _use(reader: Node, index: int) -> GridKind | None:
    """What ``reader`` uses its input number ``index`` for; None where any grid will do."""
    match reader.op:
        case ops.Linear() | ops.AttentionContext():
            return GridKind.OPERAND
        case ops.AttentionScores():
            return GridKind.KEY if index else GridKind.OPERAND
        case ops.Elementwise():
            return GridKind.TABLE
        case ops.Softmax():
            return GridKind.SCORE
    return GridKind.RESIDUAL  # LayerNorm, sums, concatenations, means: wide codes do not cost anything there


def _join_means(
    graph: Graph, groups: _Groups, uses: Mapping[str, list[GridKind]], stored: Callable[[str], str]
) -> None:
    """Let a mean of the residual stream that is itself on the stream keep the stream's step."""
    for node in graph:
        if isinstance(node.op, ops.MeanTokens) and set(uses[node.name]) == {GridKind.RESIDUAL}:
            groups.join(node.name, stored(node.inputs[0]))


def _moves(graph: Graph, node: Node) -> bool:
    final_reshape = (
        isinstance(node.op, ops.Reshape)
        and node.name in graph.outputs
        and graph[node.inputs[0]].shape == (1, *node.shape)
    )
    return isinstance(node.op, _MOVEMENT) or final_reshape


def _varying(graph: Graph, node: Node) -> list[str]:
    """Inputs of ``node`` that are no constants."""
    return [name for name in node.inputs if not isinstance(graph[name].op, ops.Constant)]


def _is_embedding_step(graph: Graph, users: Mapping[str, list[Node]], node: Node) -> bool:
    """Whether ``node`` adds or appends constants and only another such node reads it.

    Lowering makes one Embed of the whole chain, and rounds behind its last node only.
    """
    if not _is_embedding(graph, node) or len(users[node.name]) != 1 or node.name in graph.outputs:
        return False
    return _is_embedding(graph, users[node.name][0])


def _is_embedding(graph: Graph, node: Node) -> bool:
    constants = len(node.inputs) - len(_varying(graph, node))
    return isinstance(node.op, ops.Add | ops.ConcatTokens) and constants > 0 and constants < len(node.inputs)


def _sum(users: Mapping[str, list[Node]], inner: set[str], node: Node) -> Node:
    """The rounded end of the chain of embedding steps that ``node`` is in."""
    while node.name in inner:
        node = users[node.name][0]
    return node


def _problems(graph: Graph, aliases: Mapping[str, str]) -> Iterator[str]:
    reported: set[str] = set()
    unknown: list[Node] = []
    for node in graph:
        if node.quant is not None:
            yield (
                f"{node.name}: its value has a grid already; post-training quantization starts from a float "
                "network."
            )
        if isinstance(node.op, ops.Linear) and node.op.row_scale is not None:
            yield (
                f"{node.name}: its weights are quantized already; post-training quantization starts from a "
                "float network."
            )
        if obstacle := structural_obstacle(graph, node):
            reported.add(node.name)
            yield f"{node.name}: {obstacle}."
        elif not isinstance(node.op, _KNOWN) and node.name not in aliases:
            unknown.append(node)
    for node in unknown:
        if not explained_by(graph, node, reported):
            yield f"{node.name}: operation {node.op.kind} has no integer counterpart here."


class _Groups:
    """Values that share a grid, as disjoint sets."""

    def __init__(self, names: Iterator[str]) -> None:
        self.names = list(names)
        self._parent = {name: name for name in self.names}

    def _root(self, name: str) -> str:
        while self._parent[name] != name:
            name = self._parent[name]
        return name

    def join(self, one: str, other: str) -> None:
        self._parent[self._root(other)] = self._root(one)

    def sets(self) -> list[list[str]]:
        """The sets, and the names in each, in the order in which the names were given."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            found.setdefault(self._root(name), []).append(name)
        return list(found.values())
