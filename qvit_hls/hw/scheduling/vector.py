"""Layers that are no matrix product and move no tokens: image, constants, normalisation, result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qvit_hls.hw.descriptor import Descriptor, Destination, Memory, Scaling, Unit
from qvit_hls.hw.program import StreamedConstant, StreamedTable
from qvit_hls.hw.scheduling.plan import Part, Plan, PlannedLayer, Region
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Node


def plan_patches(plan: Plan, node: Node) -> None:
    """Load the image and cut it into patches, behind the places of tokens that are constants."""
    assert isinstance(node.op, ops.Patches)
    linear = plan.only_user(node)
    if linear is None or not isinstance(linear.op, ops.IntegerLinear):
        plan.problems.append(f"{node.name}: patches must go into one linear layer")
        return
    tokens, channels = node.shape
    embed = plan.only_user(linear)
    first = embed.op.offset if embed is not None and isinstance(embed.op, ops.Embed) else 0
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


def load_constant(plan: Plan, name: str, codes: np.ndarray, y: Region) -> None:
    """Put int16 codes ``[tokens, channels]`` into the first tokens of a region of the wide memory."""
    tokens, channels = codes.shape
    plan.add(
        PlannedLayer(
            name,
            Descriptor(unit=Unit.LOAD_RESIDUAL, tokens=tokens, k=channels),
            y=y,
            stream=(StreamedConstant(np.ascontiguousarray(codes, dtype=np.int16)),),
        )
    )


def plan_layer_norm(plan: Plan, node: Node) -> None:
    """Normalise from the residual stream into the activation memory; a layer for each group of channels."""
    assert isinstance(node.op, ops.IntegerLayerNorm)
    whole = plan.residual(node, node.inputs[0])
    if whole is None:
        return
    tokens, channels = node.shape
    groups, width = node.op.groups, channels // node.op.groups
    if groups > 1 and width % plan.config.drain_rows:
        plan.problems.append(
            f"{node.name}: it normalises groups of {width} channels; this engine takes "
            f"{plan.config.drain_rows} at once, so there must be a multiple of that in each"
        )
        return
    result = Region(plan.tensor(node.name, Memory.ACTIVATION, tokens, channels), channels)
    for group in range(groups):
        first = group * width
        shifts = None if node.op.shifts is None else node.op.shifts[first : first + width]
        x = replace(whole, channels=width, column=whole.column + first)
        plan.add(
            PlannedLayer(
                node.name if groups == 1 else f"{node.name}[{group}]",
                Descriptor(
                    unit=Unit.LAYER_NORM,
                    tokens=tokens,
                    k=width,
                    rows=width if _added_throughout(plan, x, tokens) else 0,
                    multiplier=node.op.multiplier,
                    shift=node.op.exponent,
                    qmax=node.op.qmax,
                    table_entries=0 if shifts is None else width,
                    epsilon_low=node.op.epsilon & 0xFFFFFFFF,
                    epsilon_high=node.op.epsilon >> 32,
                ),
                x=x,
                y=replace(result, channels=width, column=first),
                stream=() if shifts is None else (StreamedTable(shifts.astype(np.int8)),),
                parts=(Part(node.name, width, start=first),),
            )
        )
    plan.values[node.name] = [result]


def plan_requantize(plan: Plan, node: Node) -> None:
    """From the residual stream into the activation memory as it is, by the unit that normalises."""
    assert isinstance(node.op, ops.IntegerRequantize)
    x = plan.residual(node, node.inputs[0])
    if x is None:
        return
    tokens, channels = node.shape
    y = Region(plan.tensor(node.name, Memory.ACTIVATION, tokens, channels), channels)
    plan.add(
        PlannedLayer(
            node.name,
            Descriptor(
                unit=Unit.LAYER_NORM,
                tokens=tokens,
                k=channels,
                rows=channels,  # it takes no moments of its own
                scaling=Scaling.CONSTANT,
                multiplier=node.op.multiplier,
                shift=node.op.shift,
                qmax=node.op.qmax,
                epsilon_low=1,  # whose root is 1
            ),
            x=x,
            y=y,
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
