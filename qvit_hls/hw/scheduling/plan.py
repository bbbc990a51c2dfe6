"""A program under construction: layers in order, and tensors that have no addresses yet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import Descriptor, Memory
from qvit_hls.hw.gemm_timing import round_up
from qvit_hls.hw.memory_plan import Tensor
from qvit_hls.hw.program import Layer, StreamItem, TraceEntry
from qvit_hls.hw.unit_cycles import unit_cycles
from qvit_hls.ir.graph import Graph, Node


@dataclass(frozen=True, eq=False)
class Region:
    """Channels ``column .. column + channels`` of a tensor's first tokens.

    Attributes:
        positions: where in the region each logical channel lies; None when they lie in order, unpadded.
        first_tokens: how many; None for all.
    """

    tensor: Tensor
    channels: int
    column: int = 0
    positions: np.ndarray | None = None
    first_tokens: int | None = None

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return self.tensor.tokens if self.first_tokens is None else self.first_tokens

    def logical(self, channels: int) -> np.ndarray:
        """Positions of the logical channels, int64 ``[channels]``."""
        return np.arange(channels) if self.positions is None else self.positions


@dataclass(frozen=True)
class Part:
    """A part of a layer's result region and the part of a reference value that it equals.

    Attributes:
        channels: logical channels of the part; they start at ``column`` of the region and at ``start``
            of the reference value (of ``head``, where that has heads).
        first_token: tokens of the region before this belong to no value.
        transposed: the region's tokens are the value's channels and the other way round.
    """

    node: str
    channels: int
    column: int = 0
    start: int = 0
    head: int | None = None
    first_token: int = 0
    transposed: bool = False


@dataclass(frozen=True, eq=False)
class PlannedLayer:
    """A layer whose tensors have no addresses yet."""

    name: str
    descriptor: Descriptor
    x: Region | None = None
    digits: Region | None = None
    y: Region | None = None
    stream: tuple[StreamItem, ...] = ()
    parts: tuple[Part, ...] = ()
    macs: int = 0
    atom_macs: int = 0

    def finish(self, config: AcceleratorConfig, trace_offset: int, after: int) -> Layer:
        """The layer with its addresses, cycles and dependencies, and where its result is in the trace."""
        words: dict[str, int] = {"after": after}
        for prefix, region in (("x", self.x), ("digit", self.digits), ("y", self.y)):
            if region is not None:
                words[f"{prefix}_base"] = region.tensor.base + region.column
                words[f"{prefix}_stride"] = region.tensor.stride
        entries: tuple[TraceEntry, ...] = ()
        if self.y is not None and self.parts:
            y = self.y
            words |= {
                "trace_memory": int(y.tensor.memory),
                "trace_base": y.tensor.base + y.column,
                "trace_stride": y.tensor.stride,
                "trace_tokens": y.tensor.tokens,
                "trace_channels": y.channels,
            }
            entries = tuple(_trace_entry(part, y, trace_offset) for part in self.parts)
        descriptor = replace(self.descriptor, **words, steps=unit_cycles(config, self.descriptor))
        return Layer(self.name, descriptor, self.stream, entries, self.macs, self.atom_macs)


def _trace_entry(part: Part, y: Region, trace_offset: int) -> TraceEntry:
    row, column, tokens = y.channels, 1, y.tensor.tokens - part.first_token
    if part.transposed:
        row, column, tokens = 1, y.channels, y.channels
    offset = trace_offset + part.first_token * y.channels + part.column
    return TraceEntry(part.node, offset, tokens, part.channels, row, column, part.start, part.head)


@dataclass(eq=False)
class Plan:
    """What the handlers fill in.

    Attributes:
        values: for each value that lies in an on-chip memory, its region (for attention operands one
            region per head).
        problems: what the engine cannot run, one sentence each.
        failed: nodes that have a problem, or read one that has.
        exponent_table: what the softmax unit's table holds after the last planned layer.
    """

    graph: Graph
    config: AcceleratorConfig
    users: dict[str, list[Node]]
    layers: list[PlannedLayer] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    values: dict[str, list[Region]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    exponent_table: np.ndarray | None = None

    def tensor(self, name: str, memory: Memory, tokens: int, channels: int) -> Tensor:
        """A new tensor, to be placed when the plan is complete."""
        tensor = Tensor(name, memory, tokens, channels)
        self.tensors.append(tensor)
        return tensor

    def add(self, layer: PlannedLayer) -> None:
        """Append a layer; the tensors it touches live at least until it."""
        for region in (layer.x, layer.digits, layer.y):
            if region is not None:
                region.tensor.touch(len(self.layers))
        self.layers.append(layer)

    def only_user(self, node: Node) -> Node | None:
        """The node that reads this value, when it is exactly one and the value does not leave the graph."""
        readers = self.users[node.name]
        return readers[0] if len(readers) == 1 and node.name not in self.graph.outputs else None

    def residual(self, node: Node, name: str) -> Region | None:
        """Where ``name``, an input of ``node``, lies in the wide memory; else a problem and None."""
        regions = self.values.get(name)
        if not regions or regions[0].tensor.memory != Memory.WIDE:
            self.problems.append(f"{node.name}: {node.op.kind} reads the residual stream, not {name}")
            return None
        return regions[0]

    def padded(self, channels: int) -> int:
        """Channels rounded up to whole memory words."""
        return round_up(channels, self.config.tile_depth)
