"""Scheduling: integer graph and accelerator in, program out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from qvit_hls.errors import QvitError
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import Memory, Unit
from qvit_hls.hw.memory_plan import place
from qvit_hls.hw.program import Program
from qvit_hls.hw.scheduling import attention, linear, tokens, vector
from qvit_hls.hw.scheduling.dependencies import dependencies, image_released
from qvit_hls.hw.scheduling.plan import Plan
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Graph, Node, Op


def schedule(graph: Graph, config: AcceleratorConfig) -> Program:
    """Turn an integer graph into a program for an accelerator.

    Memories are taken as large as the program needs; ``hw/requirements.py`` says whether the accelerator
    has them.

    Raises:
        QvitError: the graph holds structures that the engine cannot run; all of them are listed.
    """
    plan = Plan(graph, config, graph.users())
    if len(graph.outputs) != 1:
        raise QvitError(f"the graph has {len(graph.outputs)} outputs; the engine writes one result")
    for node in graph:
        before = len(plan.problems)
        handler = _HANDLERS.get(type(node.op))
        if plan.failed.intersection(node.inputs):
            plan.failed.add(node.name)  # its problems would only follow from those reported
        elif handler is not None:
            handler(plan, node)
        else:
            plan.problems.append(f"{node.name}: {node.op.kind} is not an operation of the engine")
        if len(plan.problems) > before:
            plan.failed.add(node.name)
    if not plan.problems:
        vector.plan_result(plan)
    if plan.problems:
        raise QvitError(plan.problems)
    _keep_image(plan)
    depths = place(plan.tensors, config)
    layers, trace_offset = [], 0
    for planned, after in zip(plan.layers, dependencies(plan.layers, config), strict=True):
        layer = planned.finish(config, trace_offset, after.word())
        trace_offset += layer.descriptor.trace_tokens * layer.descriptor.trace_channels
        layers.append(layer)
    image = next(node for node in graph if isinstance(node.op, ops.QuantizedInput))
    channels, height, width = image.shape
    return Program(
        name=graph.name,
        output=graph.outputs[0],
        config=config,
        layers=tuple(layers),
        image_shape=(channels, height, width),
        classes=graph[graph.outputs[0]].shape[-1],
        depths={
            "activation_depth": depths[Memory.ACTIVATION],
            "digit_depth": depths[Memory.DIGIT],
            "wide_depth": depths[Memory.WIDE],
        },
    )


def _keep_image(plan: Plan) -> None:
    """Say when the next image may take the image's place, which image_ahead keeps free for it.

    Without that, other tensors come to lie there, until the last matrix product is complete.
    """
    gemms = sum(layer.descriptor.unit == Unit.GEMM for layer in plan.layers)
    for index, layer in enumerate(plan.layers):
        if layer.descriptor.unit == Unit.LOAD_IMAGE:
            assert layer.y is not None
            released = image_released(plan.layers, layer) if plan.config.image_ahead else gemms
            plan.layers[index] = replace(layer, descriptor=replace(layer.descriptor, rows=released))
            if plan.config.image_ahead:
                layer.y.tensor.touch(0)
                layer.y.tensor.touch(len(plan.layers) - 1)


def _nothing(plan: Plan, node: Node) -> None:
    """No work of its own: the image waits in external memory; tables and adds belong to their GEMM."""


_HANDLERS: dict[type[Op], Callable[[Plan, Node], None]] = {
    ops.QuantizedInput: _nothing,
    ops.Patches: vector.plan_patches,
    ops.IntegerLinear: linear.plan_linear,
    ops.Table: _nothing,
    ops.Embed: tokens.plan_embed,
    ops.IntegerAdd: _nothing,
    ops.IntegerLayerNorm: vector.plan_layer_norm,
    ops.IntegerRequantize: vector.plan_requantize,
    ops.IntegerScores: attention.plan_scores,
    ops.SoftmaxExponents: attention.plan_exponents,
    ops.IntegerContext: attention.plan_context,
    ops.TakeToken: tokens.plan_take_token,
    ops.Slice: tokens.plan_slice,
    ops.ConcatTokens: tokens.plan_concat_tokens,
    ops.IntegerMeanTokens: tokens.plan_mean_tokens,
}
