"""The trace of a simulated image: where in it the output of every layer lies, and what it must equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qvit_hls.errors import QvitError
from qvit_hls.flow.build import read_json_object
from qvit_hls.hw.program import TraceEntry
from qvit_hls.ir.graph import Graph

_AGAIN = "Make the project again with qvit-hls gen."


@dataclass(frozen=True)
class TracedTensor:
    """One tensor in the trace.

    Attributes:
        layer: name shown to people (``blocks.0.attn.q``).
        unit: part of the accelerator that computes it (``gemm``, ``softmax``, ...).
        entry: where it lies in the trace and which part of which node's value it must equal.
    """

    layer: str
    unit: str
    entry: TraceEntry

    @property
    def values(self) -> int:
        """Values per image."""
        return self.entry.tokens * self.entry.channels


@dataclass(frozen=True)
class TraceLayout:
    """All tensors in an image's trace, in the order in which the accelerator computes them.

    Attributes:
        words: 16-bit words per image; padding between tensors is not compared.
        tensors: what is compared.
    """

    words: int
    tensors: tuple[TracedTensor, ...]

    def untraced(self, graph: Graph) -> list[str]:
        """Nodes of the graph of which some value is not in the trace, in order.

        Those have no output of their own in hardware (cutting an image into patches is addressing, a
        table belongs to the layer before it); what they compute is checked by the next layer.
        """
        covered: dict[str, np.ndarray] = {}
        for entry in (tensor.entry for tensor in self.tensors):
            mask = covered.setdefault(entry.node, np.zeros(graph[entry.node].shape, bool))
            mask = mask if entry.head is None else mask[entry.head]
            mask[..., entry.start : entry.start + entry.channels] = True
        return [node.name for node in graph if node.name not in covered or not covered[node.name].all()]


def read_layout(program: Path, graph: Graph) -> TraceLayout:
    """Read the trace layout from a project's ``program.json`` and check it against the golden graph.

    Raises:
        QvitError: the file is missing or damaged; or, all at once, entries that name no node, do not
            have the node's shape, or leave the trace; or the network's output is not traced.
    """
    content = read_json_object(program)
    try:
        raw = content["trace"]
        layout = TraceLayout(int(raw["words"]), tuple(_tensor(item) for item in raw["entries"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise QvitError(f"{program} does not describe the trace as this version does. {_AGAIN}") from error
    problems = [
        f"{program}: trace entry {number} ({tensor.layer}) {problem}. {_AGAIN}"
        for number, tensor in enumerate(layout.tensors)
        if (problem := _problem(tensor.entry, layout.words, graph))
    ]
    if not problems and graph.outputs[0] in layout.untraced(graph):
        problems.append(
            f"{program}: the trace does not hold all of the network's output {graph.outputs[0]}. {_AGAIN}"
        )
    if problems:
        raise QvitError(problems)
    return layout


def _tensor(item: Mapping[str, Any]) -> TracedTensor:
    head = item["head"]
    entry = TraceEntry(
        node=str(item["node"]),
        offset=int(item["offset"]),
        tokens=int(item["tokens"]),
        channels=int(item["channels"]),
        token_pitch=int(item["token_pitch"]),
        channel_pitch=int(item["channel_pitch"]),
        start=int(item["start"]),
        head=None if head is None else int(head),
    )
    return TracedTensor(str(item["layer"]), str(item["unit"]), entry)


def _problem(entry: TraceEntry, words: int, graph: Graph) -> str | None:
    if entry.node not in graph.index:
        return f"names {entry.node}, which is not a node of the graph"
    shape = graph[entry.node].shape
    if (entry.head is not None) != (len(shape) == 3) or (
        entry.head is not None and not 0 <= entry.head < shape[0]
    ):
        return f"names head {entry.head} of {entry.node}, whose shape is {list(shape)}"
    tokens, channels = shape[-2:]
    if entry.tokens != tokens or not 0 <= entry.start < entry.start + entry.channels <= channels:
        return (
            f"is {entry.tokens} tokens of channels {entry.start} to {entry.start + entry.channels - 1}, "
            f"but {entry.node} has shape {list(shape)}"
        )
    last = entry.offset + (entry.tokens - 1) * entry.token_pitch + (entry.channels - 1) * entry.channel_pitch
    if entry.offset < 0 or entry.token_pitch < 1 or entry.channel_pitch < 1 or last >= words:
        return f"lies at words {entry.offset} to {last} of a trace of {words}"
    return None
