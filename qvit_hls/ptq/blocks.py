"""The blocks of a network, found in the structure of its graph.

A value is a separator (an articulation point) if all that is computed from the image passes through it: with
it known, nothing before it is needed. In a transformer these are the sums of the residual stream, and what
is computed in a row before the first and behind the last of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qvit_hls.ir.float_ops import AttentionScores, Constant, Input, Linear
from qvit_hls.ir.graph import Graph, Node


@dataclass(frozen=True)
class Block:
    """A part of a graph that computes one value from one other value and constants.

    Attributes:
        source: the value that it reads.
        nodes: in the graph's order, without constants and without the node of ``source``.
    """

    source: str
    nodes: tuple[Node, ...]

    @property
    def output(self) -> str:
        """The value that it computes, the last node's."""
        return self.nodes[-1].name

    @property
    def linears(self) -> tuple[Node, ...]:
        """Its linear layers."""
        return tuple(node for node in self.nodes if isinstance(node.op, Linear))


def cut_blocks(graph: Graph) -> tuple[Block, ...]:
    """The blocks of ``graph`` that have linear layers, in the graph's order.

    Between two separators is either one node or a branch with its residual path. A branch with attention
    begins a block, and a block goes on until the next such branch: attention and MLP are one block, as in
    BRECQ (arXiv 2102.05426, section 3.2). What is before the first branch, the embedding, and what is behind
    the last one, the head, are blocks of their own. Where nothing separates the graph into blocks, each
    linear layer is one.

    Args:
        graph: float, with one input, every value of which is read.
    """
    blocks: list[Block] = []
    branched = False
    start, nodes = "", list[Node]()
    segments = list(_segments(graph))
    last_branch = max((i for i, segment in enumerate(segments) if len(segment) > 1), default=0)
    for i, segment in enumerate(segments):
        is_branch = len(segment) > 1
        begins = is_branch and (not branched or any(isinstance(node.op, AttentionScores) for node in segment))
        if nodes and (begins or i == last_branch + 1):
            blocks.append(Block(start, tuple(nodes)))
            start, nodes = nodes[-1].name, []
        branched = branched or is_branch
        if isinstance(segment[0].op, Input):
            start = segment[0].name
        else:
            nodes += segment
    blocks.append(Block(start, tuple(nodes)))
    if len(blocks) == 1:
        return tuple(Block(node.inputs[0], (node,)) for node in graph if isinstance(node.op, Linear))
    return tuple(block for block in blocks if block.linears)


def _segments(graph: Graph) -> Iterator[list[Node]]:
    """The nodes without constants, cut behind every separator."""
    last_reader = {name: i for i, node in enumerate(graph) for name in node.inputs}
    last_reader |= dict.fromkeys(graph.outputs, len(graph.nodes))
    live: set[str] = set()
    segment: list[Node] = []
    for i, node in enumerate(graph):
        if isinstance(node.op, Constant):
            continue
        segment.append(node)
        live = {name for name in (*live, node.name) if last_reader.get(name, i) > i}
        if len(live) == 1:
            yield segment
            segment = []
    if segment:
        yield segment
