"""Tokens of the residual stream: taken, joined and averaged, all by the unit that averages tokens."""

from __future__ import annotations

from dataclasses import replace

from qvit_hls.hw.descriptor import Descriptor, Memory, Unit
from qvit_hls.hw.scheduling.plan import Part, Plan, PlannedLayer, Region
from qvit_hls.hw.scheduling.vector import load_constant
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Node
from qvit_hls.quant.levels import MAX_RESIDUAL_BITS, activation_qmax

#: Multiplier and shift of a mean of one token that copies it.
_COPY = (1 << 15, 15)
_WIDE_QMAX = activation_qmax(MAX_RESIDUAL_BITS)


def plan_take_token(plan: Plan, node: Node) -> None:
    """Reading the first token needs no work: later layers look at it only. Any other is copied."""
    assert isinstance(node.op, ops.TakeToken)
    regions = plan.values.get(node.inputs[0])
    if regions and first_token_in_place(plan, node):
        plan.values[node.name] = [replace(region, first_tokens=1) for region in regions]
    else:
        _copy_tokens(plan, node, node.op.index)


def first_token_in_place(plan: Plan, node: Node) -> bool:
    """Whether a TakeToken needs no tensor of its own: nothing is added to its value in place."""
    assert isinstance(node.op, ops.TakeToken)
    return node.op.index == 0 and not any(isinstance(u.op, ops.IntegerAdd) for u in plan.users[node.name])


def plan_slice(plan: Plan, node: Node) -> None:
    """Means read their tokens where they are; for anything else they are copied."""
    assert isinstance(node.op, ops.Slice)
    if not averaged_in_place(plan, node):
        _copy_tokens(plan, node, node.op.start)


def averaged_in_place(plan: Plan, node: Node) -> bool:
    """Whether a Slice needs no tensor of its own, because only means read it."""
    assert isinstance(node.op, ops.Slice)
    readers = plan.users[node.name]
    return bool(readers) and all(isinstance(reader.op, ops.IntegerMeanTokens) for reader in readers)


def plan_concat_tokens(plan: Plan, node: Node) -> None:
    """Copy one sequence behind the other."""
    parts = {name: plan.residual(node, name) for name in dict.fromkeys(node.inputs)}
    tokens, channels = node.shape
    y = Region(plan.tensor(node.name, Memory.WIDE, tokens, channels), channels)
    first = 0
    for index, name in enumerate(node.inputs):
        x, count = parts[name], plan.graph[name].shape[0]
        last = index == len(node.inputs) - 1  # then all of it is there
        if x is not None:
            trace = (Part(node.name, channels),) if last else ()
            add_copy(plan, f"{node.name}[{index}]", x, (0, first), count, y, trace)
        first += count
    plan.values[node.name] = [y]


def plan_embed(plan: Plan, node: Node) -> None:
    """Constant tokens in front of tokens of the residual stream; behind a linear layer that one does it."""
    assert isinstance(node.op, ops.Embed)
    if isinstance(plan.graph[node.inputs[0]].op, ops.IntegerLinear):
        return
    x = plan.residual(node, node.inputs[0])
    if x is None:
        return
    offset, (tokens, channels) = node.op.offset, node.shape
    if node.op.constant[offset:].any():
        plan.problems.append(
            f"{node.name}: a constant is added to {node.inputs[0]}; the engine adds constants to what "
            "a linear layer computes"
        )
        return
    y = Region(plan.tensor(node.name, Memory.WIDE, tokens, channels), channels)
    if offset:
        load_constant(plan, f"{node.name}.constant", node.op.constant[:offset], y)
    add_copy(plan, node.name, x, (0, offset), tokens - offset, y, (Part(node.name, channels),))
    plan.values[node.name] = [y]


def plan_mean_tokens(plan: Plan, node: Node) -> None:
    """Mean over all tokens of the residual stream, or those that a Slice picks."""
    assert isinstance(node.op, ops.IntegerMeanTokens)
    source = plan.graph[node.inputs[0]]
    first, tokens = 0, source.shape[0]
    if isinstance(source.op, ops.Slice) and averaged_in_place(plan, source):
        first, source = source.op.start, plan.graph[source.inputs[0]]
    x = plan.residual(node, source.name)
    if x is None:
        return
    channels = node.shape[1]
    y = Region(plan.tensor(node.name, Memory.WIDE, 1, channels), channels)
    plan.add(
        PlannedLayer(
            node.name,
            Descriptor(
                unit=Unit.MEAN_TOKENS,
                tokens=tokens,
                k=channels,
                rows=1,
                first_token=first,
                multiplier=node.op.multiplier,
                shift=node.op.shift,
                qmax=node.op.qmax,
            ),
            x=x,
            y=y,
            parts=(Part(node.name, channels),),
        )
    )
    plan.values[node.name] = [y]


def _copy_tokens(plan: Plan, node: Node, first: int) -> None:
    """A tensor of its own for tokens ``first`` onwards of the node's input."""
    x = plan.residual(node, node.inputs[0])
    if x is None:
        return
    tokens, channels = node.shape
    y = Region(plan.tensor(node.name, Memory.WIDE, tokens, channels), channels)
    add_copy(plan, node.name, x, (first, 0), tokens, y, (Part(node.name, channels),))
    plan.values[node.name] = [y]


def add_copy(
    plan: Plan, name: str, x: Region, first: tuple[int, int], tokens: int, y: Region, parts: tuple[Part, ...]
) -> None:
    """Copy tokens one by one, each as a mean of one token.

    Args:
        first: the first token, in x and in y.
    """
    multiplier, shift = _COPY
    first_x, first_y = first
    plan.add(
        PlannedLayer(
            name,
            Descriptor(
                unit=Unit.MEAN_TOKENS,
                tokens=1,
                k=x.channels,
                rows=tokens,
                first_token=first_x,
                patch=first_y,
                multiplier=multiplier,
                shift=shift,
                qmax=_WIDE_QMAX,
            ),
            x=x,
            y=y,
            parts=parts,
        )
    )
