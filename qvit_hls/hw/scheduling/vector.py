"""Everything that is not a matrix product: image, normalisation, pooling, result."""

from __future__ import annotations

import numpy as np

from qvit_hls.hw.descriptor import Descriptor, Destination, Memory, Unit
from qvit_hls.hw.program import StreamedTable
from qvit_hls.hw.scheduling.plan import Part, Plan, PlannedLayer, Region
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Node


def plan_patches(plan: Plan, node: Node) -> None:
    """Load the image and cut it into patches, behind the place of the class token."""
    assert isinstance(node.op, ops.Patches)
    linear = plan.only_user(node)
    embed = (
        plan.only_user(linear) if linear is not None and isinstance(linear.op, ops.IntegerLinear) else None
    )
    if embed is None or not isinstance(embed.op, ops.Embed):
        plan.problems.append(
            f"{node.name}: patches must go through one linear layer into the token embedding"
        )
        return
    tokens, channels = node.shape
    first = embed.op.offset
    image_channels, height, width = plan.graph[node.inputs[0]].shape
    y = Region(plan.tensor(node.name, Memory.ACTIVATION, first + tokens, channels), channels)
    plan.add(
        PlannedLayer(
            node.name,
            Descriptor(
                unit=Unit.LOAD_IMAGE,
                tokens=first + tokens,
                k=image_channels,
                first_token=first,
                patch=node.op.size,
                height=height,
                width=width,
            ),
            y=y,
            parts=(Part(node.name, channels, first_token=first),),
        )
    )
    plan.values[node.name] = [y]


def plan_layer_norm(plan: Plan, node: Node) -> None:
    """Normalise from the residual stream into the activation memory."""
    assert isinstance(node.op, ops.IntegerLayerNorm)
    x = _wide(plan, node)
    if x is None:
        return
    tokens, channels = node.shape
    shifts = node.op.shifts
    y = Region(plan.tensor(node.name, Memory.ACTIVATION, tokens, channels), channels)
    plan.add(
        PlannedLayer(
            node.name,
            Descriptor(
                unit=Unit.LAYER_NORM,
                tokens=tokens,
                k=channels,
                rows=channels if _added_throughout(plan, x, tokens) else 0,
                multiplier=node.op.multiplier,
                shift=node.op.exponent,
                qmax=node.op.qmax,
                table_entries=0 if shifts is None else channels,
                epsilon_low=node.op.epsilon & 0xFFFFFFFF,
                epsilon_high=node.op.epsilon >> 32,
            ),
            x=x,
            y=y,
            stream=() if shifts is None else (StreamedTable(shifts.astype(np.int8)),),
            parts=(Part(node.name, channels),),
        )
    )
    plan.values[node.name] = [y]


def _added_throughout(plan: Plan, x: Region, tokens: int) -> bool:
    """Whether the moments on chip are those of all channels of these first tokens, by the last addition."""
    last = next((layer for layer in reversed(plan.layers) if _makes_moments(layer.descriptor)), None)
    if last is None or last.y is None or last.y.tensor is not x.tensor:
        return False
    d = last.descriptor
    return (last.y.column, d.rows) == (x.column, x.channels) and tokens <= d.tokens


def _makes_moments(d: Descriptor) -> bool:
    return d.destination == Destination.WIDE_ADD or (d.unit == Unit.LAYER_NORM and d.rows == 0)


def plan_take_token(plan: Plan, node: Node) -> None:
    """Reading one token needs no work: later layers look at the first token only."""
    assert isinstance(node.op, ops.TakeToken)
    if node.op.index != 0:
        plan.problems.append(f"{node.name}: takes token {node.op.index}; the engine can take token 0")
        return
    x = _wide(plan, node)
    if x is not None:
        plan.values[node.name] = [x]


def plan_mean_tokens(plan: Plan, node: Node) -> None:
    """Mean over tokens, within the wide memory."""
    assert isinstance(node.op, ops.IntegerMeanTokens)
    x = _wide(plan, node)
    if x is None:
        return
    channels = node.shape[1]
    y = Region(plan.tensor(node.name, Memory.WIDE, 1, channels), channels)
    plan.add(
        PlannedLayer(
            node.name,
            Descriptor(
                unit=Unit.MEAN_TOKENS,
                tokens=x.tensor.tokens,
                k=channels,
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


def plan_result(plan: Plan) -> None:
    """Write the logits to external memory."""
    node = plan.graph[plan.graph.outputs[0]]
    x = plan.values.get(node.name, [None])[0]
    if x is None or x.tensor.memory != Memory.WIDE:
        plan.problems.append(
            f"{node.name}: the engine's result is a linear layer or the residual stream, not {node.op.kind}"
        )
        return
    if node.shape[0] != 1:
        plan.problems.append(f"{node.name}: the result has {node.shape[0]} tokens; the engine writes one")
        return
    plan.add(PlannedLayer("result", Descriptor(unit=Unit.STORE_RESULT, tokens=1, k=x.channels), x=x))


def _wide(plan: Plan, node: Node) -> Region | None:
    regions = plan.values.get(node.inputs[0])
    if not regions or regions[0].tensor.memory != Memory.WIDE:
        plan.problems.append(f"{node.name}: {node.op.kind} reads the residual stream, not {node.inputs[0]}")
        return None
    return regions[0]
