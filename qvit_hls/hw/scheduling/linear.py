"""Linear layers: where their results go, and what they take from the weight stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qvit_hls.hw.descriptor import Descriptor, Destination, DigitSource, Memory, Scaling, Unit
from qvit_hls.hw.gemm_timing import ceil_div
from qvit_hls.hw.program import RowParameters, StreamedTable, StreamedWeights, StreamItem
from qvit_hls.hw.scheduling.plan import Part, Plan, PlannedLayer, Region
from qvit_hls.hw.scheduling.tokens import add_copy, averaged_in_place, first_token_in_place
from qvit_hls.hw.scheduling.vector import load_constant
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Node

#: What reads a residual stream.
_STREAM_READERS = {
    ops.IntegerLayerNorm,
    ops.IntegerRequantize,
    ops.IntegerAdd,
    ops.TakeToken,
    ops.Slice,
    ops.ConcatTokens,
    ops.IntegerMeanTokens,
}


@dataclass(frozen=True, eq=False)
class Target:
    """Where a linear layer's result goes.

    Attributes:
        rows: which rows of the weights this target takes.
        channels: output address of each of them, counted from the region's start.
    """

    y: Region
    destination: Destination
    parts: tuple[Part, ...]
    rows: np.ndarray
    channels: np.ndarray
    table: np.ndarray | None = None
    first_token: int = 0


def plan_linear(plan: Plan, node: Node) -> None:
    """Place a linear layer's result according to the operation that reads it."""
    assert isinstance(node.op, ops.IntegerLinear)
    reader = plan.only_user(node)
    kinds = {type(user.op) for user in plan.users[node.name]}
    if reader is not None and isinstance(reader.op, ops.Table):
        _to_tensor(plan, node, reader, Memory.ACTIVATION, reader.op.table)
    elif reader is not None and isinstance(reader.op, ops.Embed):
        _to_embedding(plan, node, reader)
    elif reader is not None and isinstance(reader.op, ops.IntegerAdd):
        if _begins_sum(plan, node, reader):
            _to_tensor(plan, node, node, Memory.WIDE, None)
        else:
            _to_residual(plan, node, reader)
    elif reader is not None and isinstance(reader.op, ops.IntegerScores):
        _to_score_operand(plan, node, reader)
    elif reader is not None and isinstance(reader.op, ops.IntegerContext):
        _to_values(plan, node, reader)
    elif kinds and kinds.issubset(_STREAM_READERS) and node.name not in plan.graph.outputs:
        _to_tensor(plan, node, node, Memory.WIDE, None)  # begins a residual stream
    elif node.name in plan.graph.outputs and not kinds:
        _to_tensor(plan, node, node, Memory.WIDE, None)
    elif kinds == {ops.IntegerLinear} and node.name not in plan.graph.outputs:
        _to_tensor(plan, node, node, Memory.ACTIVATION, None)
    else:
        readers = ", ".join(f"{user.name} ({user.op.kind})" for user in plan.users[node.name]) or "nothing"
        plan.problems.append(f"{node.name}: the engine cannot hand this layer's result to {readers}")


def _to_tensor(plan: Plan, node: Node, value: Node, memory: Memory, table: np.ndarray | None) -> None:
    tokens, rows = node.shape
    y = Region(plan.tensor(value.name, memory, tokens, rows), rows)
    destination = Destination.WIDE if memory == Memory.WIDE else Destination.ACTIVATION
    everything = np.arange(rows)
    parts = (Part(value.name, rows),)
    add_weight_layer(plan, node, Target(y, destination, parts, everything, everything, table))
    plan.values[value.name] = [y]


def _to_embedding(plan: Plan, node: Node, embed: Node) -> None:
    """The constant part is loaded first; the layer adds to it, after the class token.

    Patches are loaded behind the class token's place. Any other operand begins with its first token, so the
    sum has a tensor of its own, and is copied behind the class token.
    """
    assert isinstance(embed.op, ops.Embed)
    tokens, channels = embed.shape
    constant, offset = embed.op.constant, embed.op.offset
    y = Region(plan.tensor(embed.name, Memory.WIDE, tokens, channels), channels)
    everything = np.arange(channels)
    parts = (Part(embed.name, channels),)
    in_place = not offset or isinstance(plan.graph[node.inputs[0]].op, ops.Patches)
    if in_place:
        load_constant(plan, f"{embed.name}.constant", constant, y)
        target = Target(y, Destination.WIDE_ADD, parts, everything, everything, first_token=offset)
        add_weight_layer(plan, node, target, qmax=embed.op.qmax)
    else:
        x = Region(plan.tensor(f"{embed.name}.tokens", Memory.WIDE, tokens - offset, channels), channels)
        load_constant(plan, f"{embed.name}.added", constant[offset:], x)
        target = Target(x, Destination.WIDE_ADD, (), everything, everything)
        add_weight_layer(plan, node, target, qmax=embed.op.qmax)
        load_constant(plan, f"{embed.name}.constant", constant[:offset], y)
        add_copy(plan, embed.name, x, (0, offset), tokens - offset, y, parts)
    plan.values[embed.name] = [y]


def _begins_sum(plan: Plan, node: Node, add: Node) -> bool:
    """Whether the other side of an addition comes later, and adds itself to this layer's result."""
    others = [name for name in add.inputs if name != node.name]
    return (
        len(others) == 1
        and isinstance(plan.graph[others[0]].op, ops.IntegerLinear)
        and (others[0] not in plan.values and others[0] not in plan.failed)
    )


def _to_residual(plan: Plan, node: Node, add: Node) -> None:
    """Add in place to the residual stream, which nothing may read any more."""
    assert isinstance(add.op, ops.IntegerAdd)
    others = [name for name in add.inputs if name != node.name]
    if plan.failed.intersection(others):
        return
    if len(others) != 1 or others[0] not in plan.values:
        plan.problems.append(f"{add.name}: one side of a residual add must already be the residual stream")
        return
    late = _late_readers(plan, others[0], node, add)
    if late:
        plan.problems.append(
            f"{add.name}: {others[0]} is read after the residual add overwrites it: {', '.join(late)}"
        )
        return
    y = plan.values[others[0]][0]
    if y.tensor.memory != Memory.WIDE or y.tensor.tokens != add.shape[0]:
        plan.problems.append(f"{add.name}: {others[0]} is not the residual stream")
        return
    everything = np.arange(node.shape[1])
    parts = (Part(add.name, node.shape[1]),)
    target = Target(y, Destination.WIDE_ADD, parts, everything, everything)
    add_weight_layer(plan, node, target, qmax=add.op.qmax)
    plan.values[add.name] = [y]


def _late_readers(plan: Plan, value: str, linear: Node, add: Node) -> list[str]:
    """What reads a value's memory after the linear layer, which does the adding, has overwritten it."""
    order = [node.name for node in plan.graph]
    late = ["the graph's output"] if value in plan.graph.outputs else []
    for user in plan.users[value]:
        if _copies_nothing(plan, user):  # its readers read this memory
            late += _late_readers(plan, user.name, linear, add)
        elif user.name != add.name and order.index(user.name) > order.index(linear.name):
            late.append(user.name)
    return late


def _copies_nothing(plan: Plan, node: Node) -> bool:
    """Whether a node's value is a part of its input's memory."""
    if isinstance(node.op, ops.Slice):
        return averaged_in_place(plan, node)
    return isinstance(node.op, ops.TakeToken) and first_token_in_place(plan, node)


def _to_score_operand(plan: Plan, node: Node, scores: Node) -> None:
    """Queries to the activation memory, keys to the digit memory; every head starts at a whole word."""
    assert isinstance(scores.op, ops.IntegerScores)
    if scores.inputs[0] == scores.inputs[1]:
        plan.problems.append(f"{scores.name}: queries and keys are the same value")
        return
    keys = scores.inputs[1] == node.name
    tokens, rows = node.shape
    heads = scores.op.heads
    width = rows // heads
    pad = plan.padded(width)
    memory = Memory.DIGIT if keys else Memory.ACTIVATION
    tensor = plan.tensor(node.name, memory, tokens, heads * pad)
    channels = np.arange(rows) // width * pad + np.arange(rows) % width
    parts = tuple(Part(node.name, width, h * pad, h * width) for h in range(heads))
    destination = Destination.DIGIT if keys else Destination.ACTIVATION
    y = Region(tensor, heads * pad)
    add_weight_layer(plan, node, Target(y, destination, parts, np.arange(rows), channels))
    plan.values[node.name] = [Region(tensor, width, h * pad) for h in range(heads)]


def _to_values(plan: Plan, node: Node, context: Node) -> None:
    """Values, transposed: one tensor ``[head_dim, tokens]`` and so one layer per head.

    Within a head the rows keep their order (``ir/passes/group_row_precisions.py`` has put two-digit rows
    first), so rows that are written together go to different lanes.
    """
    assert isinstance(context.op, ops.IntegerContext) and isinstance(node.op, ops.IntegerLinear)
    tokens, rows = node.shape
    width = rows // context.op.heads
    regions = []
    for head in range(context.op.heads):
        mine = np.arange(head * width, (head + 1) * width)
        if np.any(np.diff(node.op.row_bits[mine].astype(int)) > 0):
            plan.problems.append(
                f"{node.name}: rows of head {head} are not grouped by precision, 8-bit rows first"
            )
            return
        y = Region(plan.tensor(f"{node.name}[{head}]", Memory.ACTIVATION, width, tokens), tokens)
        parts = (Part(node.name, width, start=head * width, transposed=True),)
        target = Target(y, Destination.ACTIVATION_TRANSPOSED, parts, mine, np.arange(width))
        add_weight_layer(plan, node, target, suffix=f"[{head}]")
        regions.append(y)
    plan.values[node.name] = regions


def streaming_order(two_digits: np.ndarray, channels: np.ndarray, in_pairs: bool) -> np.ndarray:
    """Places of the rows in streaming order: those of two digits first, else as they come.

    Args:
        two_digits: whether each row has two digits.
        channels: output channel of each row.
        in_pairs: rows are written two at a time, which takes one cycle when one channel is even and the
            other odd: neighbours then alternate as far as there are rows of both kinds. That makes good
            pairs wherever a tile starts.
    """
    order: list[np.ndarray] = []
    for section in (np.flatnonzero(two_digits), np.flatnonzero(~two_digits)):
        if in_pairs and len(section):
            odd = channels[section] % 2 == 1
            before = channels[order[-1][-1]] % 2 if order and len(order[-1]) else int(odd.mean() <= 0.5)
            leading, others = (section[~odd], section[odd]) if before else (section[odd], section[~odd])
            both = min(len(leading), len(others))
            alternating = np.stack([leading[:both], others[:both]], axis=1).ravel()
            section = np.concatenate([alternating, leading[both:], others[both:]])
        order.append(section)
    return np.concatenate(order)


def in_whole_pairs(two_digits: np.ndarray) -> np.ndarray:
    """Which rows are sent as two digits so that rows written together are of one kind.

    An odd number of two-digit rows before one-digit rows would leave a pair of both kinds: one more row is
    then sent as two digits, of which the high one is 0.
    """
    if two_digits.sum() % 2 == 0 or two_digits.all():
        return two_digits
    result = two_digits.copy()
    result[np.flatnonzero(~two_digits)[0]] = True
    return result


def add_weight_layer(
    plan: Plan, node: Node, target: Target, *, qmax: int | None = None, suffix: str = ""
) -> None:
    """Append one GEMM whose weights are streamed.

    Args:
        qmax: bound of the result; an accumulated residual may have a wider one than the branch.
    """
    op = node.op
    assert isinstance(op, ops.IntegerLinear)
    x = plan.values.get(node.inputs[0], [None])[0]
    if x is None or x.tensor.memory != Memory.ACTIVATION:
        problem = (
            f"{node.name}: it reads {node.inputs[0]} from the residual stream; matrix products read what a "
            "LayerNorm, a table or another product has made"
        )
        if problem not in plan.problems:  # a layer of several parts comes here for each
            plan.problems.append(problem)
        return
    if qmax is not None and qmax != op.qmax:
        plan.problems.append(
            f"{node.name}: its result is clamped to {op.qmax}, the residual stream to {qmax}"
        )
        return
    eight_bits = op.row_bits[target.rows] == 8
    two_digits = eight_bits
    if plan.config.drain_rows == 2:
        two_digits = in_whole_pairs(eight_bits)
    in_pairs = plan.config.drain_rows == 2 and target.destination != Destination.ACTIVATION_TRANSPOSED
    place = streaming_order(two_digits, target.channels, in_pairs)
    rows = target.rows[place]
    rows8 = int(two_digits.sum())
    codes = np.zeros((len(rows), x.channels), dtype=np.int8)
    codes[:, x.logical(op.weight.shape[1])] = op.weight[rows]
    parameters = RowParameters(op.bias[rows], op.multiplier[rows], op.shift[rows], target.channels[place])
    stream: tuple[StreamItem, ...] = (StreamedWeights(codes, rows8, parameters),)
    if target.table is not None:
        stream = (StreamedTable(target.table.astype(np.int8)), *stream)
    tokens = x.tokens
    products = (tokens - target.first_token) * op.weight.shape[1]
    plan.add(
        PlannedLayer(
            node.name + suffix,
            Descriptor(
                unit=Unit.GEMM,
                tokens=tokens,
                k=x.channels,
                k_steps=ceil_div(x.channels, plan.config.tile_depth),
                rows=len(rows),
                rows8=rows8,
                digit_source=DigitSource.STREAM,
                destination=target.destination,
                first_token=target.first_token,
                scaling=Scaling.PER_ROW,
                qmax=op.qmax,
                table_entries=0 if target.table is None else len(target.table),
            ),
            x=x,
            y=target.y,
            stream=stream,
            parts=target.parts,
            macs=products * len(rows),
            atom_macs=products * (len(rows) + int(eight_bits.sum())),
        )
    )
