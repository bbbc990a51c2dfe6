"""When everything in a frame happened: spans of cycles per lane, layer and cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


class Lane(str, Enum):
    """What works side by side, as a timeline shows it."""

    LOADER = "weight loader"
    ARRAY = "MAC tile"
    DRAIN = "drain"
    VECTOR = "vector units"
    IMAGE = "image"


class Cause(str, Enum):
    """Why a lane works, or does not."""

    WORK = "work"
    DRAIN = "drain"
    OPERANDS = "operands"
    WEIGHTS = "weights"
    CHANGE = "change"
    ROOM = "room"


@dataclass(frozen=True)
class Span:
    """Cycles ``begin`` to ``end - 1`` of one lane.

    Attributes:
        layer: index in the program.
        cause: WORK, or what the lane waits for: the MAC tile for the DRAIN, for OPERANDS, for WEIGHTS, or at
            the CHANGE of layers; the loader for ROOM in the weight buffer or for OPERANDS that it takes from
            the digit memory; a vector unit for OPERANDS, or for a memory that the DRAIN uses.
    """

    lane: Lane
    layer: int
    cause: Cause
    begin: int
    end: int


@dataclass
class Timeline:
    """One frame.

    Attributes:
        spans: of each lane in the order of cycles.
        begin, complete: of each layer; a GEMM begins with its first step.
        cycles: from ap_start to ap_done.
    """

    spans: dict[Lane, list[Span]] = field(default_factory=lambda: {lane: [] for lane in Lane})
    begin: list[int] = field(default_factory=list)
    complete: list[int] = field(default_factory=list)
    cycles: int = 0

    def add(self, lane: Lane, layer: int, cause: Cause, begin: int, end: int) -> None:
        """Append a span; one that goes on with the last one of the lane makes that longer."""
        if end <= begin:
            return
        spans = self.spans[lane]
        if spans and (spans[-1].layer, spans[-1].cause, spans[-1].end) == (layer, cause, begin):
            spans[-1] = Span(lane, layer, cause, spans[-1].begin, end)
        else:
            spans.append(Span(lane, layer, cause, begin, end))

    def cycles_of(self, lane: Lane, cause: Cause, layers: Iterable[int] | None = None) -> int:
        """Cycles that a lane spends on a cause, in all layers or in some."""
        wanted = None if layers is None else set(layers)
        return sum(
            span.end - span.begin
            for span in self.spans[lane]
            if span.cause == cause and (wanted is None or span.layer in wanted)
        )
