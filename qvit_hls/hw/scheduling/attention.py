"""Attention: per head scores, softmax and context; both products run on the GEMM engine.

The scores of the next head come before the context of a head, so that a softmax has these two products to run
behind: S0 X0, S1 X1 C0, S2 X2 C1, and so on. Row maxima and normalisers therefore have two banks.
"""

from __future__ import annotations

import numpy as np

from qvit_hls.hw.descriptor import Descriptor, Destination, DigitSource, Memory, Scaling, Unit
from qvit_hls.hw.gemm_timing import ceil_div
from qvit_hls.hw.program import StreamedTable
from qvit_hls.hw.scheduling.plan import Part, Plan, PlannedLayer, Region
from qvit_hls.hw.scheduling.vector import load_constant
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Node


def plan_scores(plan: Plan, node: Node) -> None:
    """Scores wait for the context product: all layers of an attention are planned together."""
    exponents = plan.only_user(node)
    if exponents is None or not isinstance(exponents.op, ops.SoftmaxExponents):
        plan.problems.append(f"{node.name}: attention scores must go into one softmax and nowhere else")


def plan_exponents(plan: Plan, node: Node) -> None:
    """Checked here, run with the context product."""
    context = plan.only_user(node)
    if context is None or not isinstance(context.op, ops.IntegerContext) or context.inputs[0] != node.name:
        plan.problems.append(
            f"{node.name}: softmax exponents must go into one attention product and nowhere else"
        )


def plan_context(plan: Plan, node: Node) -> None:
    """Scores, softmax and context of every head."""
    assert isinstance(node.op, ops.IntegerContext)
    exponents = plan.graph[node.inputs[0]]
    scores = plan.graph[exponents.inputs[0]]
    needed = (*scores.inputs, node.inputs[1])
    linear = all(isinstance(plan.graph[name].op, ops.IntegerLinear) for name in needed)
    if not linear or any(name not in plan.values for name in needed):
        plan.problems.append(f"{node.name}: queries, keys and values must come from linear layers")
        return
    queries, keys, values = (plan.values[name] for name in needed)
    heads = node.op.heads
    tokens, channels = node.shape  # of the queries
    key_count = exponents.shape[-1]
    width, pad = channels // heads, plan.padded(channels // heads)
    result = plan.tensor(node.name, Memory.ACTIVATION, tokens, heads * pad)
    regions = []
    for head in range(heads):
        score_region = Region(
            plan.tensor(f"{scores.name}[{head}]", Memory.WIDE, tokens, key_count), key_count
        )
        exponent_region = Region(
            plan.tensor(f"{exponents.name}[{head}]", Memory.DIGIT, tokens, key_count), key_count
        )
        _add_scores(plan, scores, head, queries[head], keys[head], score_region)
        regions.append(exponent_region)
        _add_softmax(plan, exponents, node, head, score_region, exponent_region)
        if head > 0:
            _add_context(
                plan, node, head - 1, values[head - 1], regions[-2], Region(result, width, (head - 1) * pad)
            )
    _add_context(plan, node, heads - 1, values[-1], regions[-1], Region(result, width, (heads - 1) * pad))
    positions = np.arange(channels) // width * pad + np.arange(channels) % width
    plan.values[node.name] = [Region(result, heads * pad, 0, positions)]


def _add_scores(plan: Plan, node: Node, head: int, queries: Region, keys: Region, y: Region) -> None:
    assert isinstance(node.op, ops.IntegerScores)
    width, tokens, key_count = queries.channels, y.tokens, y.channels
    quant = plan.graph[node.inputs[1]].quant
    assert quant is not None
    rows8 = key_count if quant.qmax > 7 else 0
    if node.op.bias is not None:
        load_constant(plan, f"{node.name}[{head}].bias", node.op.bias[head], y)
    plan.add(
        PlannedLayer(
            f"{node.name}[{head}]",
            Descriptor(
                unit=Unit.GEMM,
                tokens=tokens,
                k=width,
                k_steps=ceil_div(width, plan.config.tile_depth),
                rows=key_count,
                rows8=rows8,
                digit_source=DigitSource.MEMORY,
                destination=Destination.SCORES if node.op.bias is None else Destination.SCORES_ADD,
                scaling=Scaling.CONSTANT,
                multiplier=node.op.multiplier,
                shift=node.op.shift,
                qmax=node.op.qmax,
            ),
            x=queries,
            digits=keys,
            y=y,
            parts=(Part(node.name, key_count, head=head),),
            macs=tokens * key_count * width,
            atom_macs=tokens * width * (key_count + rows8),
        )
    )


def _add_softmax(plan: Plan, node: Node, context: Node, head: int, x: Region, y: Region) -> None:
    assert isinstance(node.op, ops.SoftmaxExponents) and isinstance(context.op, ops.IntegerContext)
    table = node.op.table.astype(np.int8)
    # Most models use one score step throughout: the table is streamed only when it changes.
    changed = plan.exponent_table is None or not np.array_equal(plan.exponent_table, table)
    plan.exponent_table = table
    plan.add(
        PlannedLayer(
            f"{node.name}[{head}]",
            Descriptor(
                unit=Unit.SOFTMAX,
                tokens=x.tokens,
                k=x.channels,
                multiplier=context.op.multiplier,
                shift=context.op.exponent,
                table_entries=len(table) if changed else 0,
            ),
            x=x,
            y=y,
            stream=(StreamedTable(table),) if changed else (),
            parts=(Part(node.name, x.channels, head=head),),
        )
    )


def _add_context(plan: Plan, node: Node, head: int, values: Region, exponents: Region, y: Region) -> None:
    assert isinstance(node.op, ops.IntegerContext)
    width, tokens, key_count = y.channels, y.tokens, exponents.channels
    plan.add(
        PlannedLayer(
            f"{node.name}[{head}]",
            Descriptor(
                unit=Unit.GEMM,
                tokens=width,
                k=key_count,
                k_steps=ceil_div(key_count, plan.config.tile_depth),
                rows=tokens,
                rows8=tokens,
                digit_source=DigitSource.MEMORY,
                destination=Destination.ACTIVATION_TRANSPOSED,
                scaling=Scaling.RECIPROCAL,
                qmax=node.op.qmax,
            ),
            x=values,
            digits=exponents,
            y=y,
            parts=(Part(node.name, width, start=head * width),),
            macs=tokens * key_count * width,
            atom_macs=2 * tokens * key_count * width,
        )
    )
