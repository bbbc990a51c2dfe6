"""Block reconstruction: BRECQ (arXiv 2102.05426) with AdaRound's weights and QDrop's activations.

One block after the other, the roundings of its weights and the steps of its activations are learned, so that
its output comes near to the float network's. A block's input is what the quantized blocks before it compute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qvit_hls.ir.float_ops import Linear
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.interpreter import steps as run_steps
from qvit_hls.ptq.annotate import WeightRows, annotate
from qvit_hls.ptq.block_learning import BlockReconstruction, BlockTask
from qvit_hls.ptq.block_run import QuantizedBlock
from qvit_hls.ptq.blocks import Block, cut_blocks
from qvit_hls.ptq.calibration import Progress, output_gradients
from qvit_hls.ptq.placement import Placement

#: Images at a time where derivatives run through the whole network: its values are all in memory then.
_GRADIENT_IMAGES = 4


@dataclass(frozen=True)
class BlockError:
    """What reconstruction did to a block; errors as its loss has them, over all images, nothing dropped.

    Attributes:
        output: the block's output.
        start: error with the weights and steps that it started from.
        learned: error with what was learned; not greater, because else the start is kept.
    """

    output: str
    start: float
    learned: float


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The result.

    Attributes:
        graph: with weights on their rows' grids.
        steps: of the activations, by grid.
        errors: of the blocks, in their order.
    """

    graph: Graph
    steps: Mapping[str, float]
    errors: tuple[BlockError, ...]


@torch.no_grad()
def reconstruct(
    graph: Graph,
    start: Graph,
    placement: Placement,
    images: Tensor,
    steps: Mapping[str, float],
    rows: Mapping[str, WeightRows],
    settings: BlockReconstruction,
    progress: Progress = lambda stage, done, total: None,
) -> Reconstruction:
    """Learn the roundings of all weights, and steps of activations, block by block.

    Memory holds the inputs and outputs of one block for all images, and one batch of everything else.

    Args:
        graph: float, after FLOAT_PASSES, without annotations.
        start: the same with weights to start from, and biases, which stay; or ``graph`` itself, for nearest
            rounding.
        placement: grids of the activations.
        images: float32 ``[n, *shape of the input]``.
        steps: of the activations to start from, by grid.
        rows: grids of the weights, by linear layer; they stay.
        settings: how.
        progress: told after each hundredth of a block's iterations.
    """
    blocks = cut_blocks(graph)
    images = images.float()
    importances = _importances(graph, blocks, images, settings)
    learned, steps, errors = start, dict(steps), list[BlockError]()
    for number, block in enumerate(blocks):
        wanted_in, wanted_out = _values(graph, (block.source, block.output), images, settings.batch_size)
        annotated = annotate(learned, placement, steps, rows)
        (quantized_in,) = _values(annotated, (block.source,), images, settings.batch_size)
        task = BlockTask(quantized_in, wanted_in, wanted_out, importances[block.output], settings)
        first = QuantizedBlock(graph, start, block, placement, steps, rows, hold=1.0)
        found = QuantizedBlock(graph, start, block, placement, steps, rows, settings.hold)
        error = task.error(first)
        for iteration in task.learn(found, error):
            done = number * settings.iterations + iteration
            progress("reconstruct blocks", done, len(blocks) * settings.iterations)
        errors.append(BlockError(block.output, error, min(error, task.error(found))))
        best = found if errors[-1].learned < error else first
        steps |= best.steps()
        learned = _with_weights(learned, {name: rounding.hard() for name, rounding in best.roundings.items()})
    return Reconstruction(learned, steps, tuple(errors))


def _with_weights(graph: Graph, weights: Mapping[str, Tensor]) -> Graph:
    """``graph`` with other weights of some linear layers."""
    nodes = []
    for node in graph:
        if node.name in weights:
            assert isinstance(node.op, Linear)
            node = replace(node, op=replace(node.op, weight=weights[node.name].numpy()))
        nodes.append(node)
    return graph.with_nodes(nodes)


def _importances(
    graph: Graph, blocks: Sequence[Block], images: Tensor, settings: BlockReconstruction
) -> dict[str, Tensor]:
    """The weight of each element of the blocks' outputs: mean 1, and as much of it Fisher as is asked for.

    BRECQ, eq. 10, with the mean over the images of the squared derivatives in random directions of the
    outputs (Gauss-Newton), which has less noise than the square of each image.
    """
    sums = {block.output: torch.zeros(graph[block.output].shape) for block in blocks}
    done = 0
    for batch in images.split(_GRADIENT_IMAGES) if settings.fisher else ():
        values, outputs = {}, {}
        with torch.enable_grad():
            for node, _, value in run_steps(graph, (batch.clone().requires_grad_(),)):
                if node.name in sums:
                    values[node.name] = value
                if node.name in graph.outputs:
                    outputs[node.name] = value
            for name, gradient in output_gradients(values, outputs, done, settings.seed).items():
                sums[name] += gradient.square().sum(0)
        done += len(batch)
    return {
        name: torch.lerp(torch.ones_like(total), total / total.mean(), settings.fisher)
        if total.any()
        else torch.ones_like(total)
        for name, total in sums.items()
    }


def _values(graph: Graph, names: Sequence[str], images: Tensor, batch_size: int) -> list[Tensor]:
    """Values of ``graph`` for all images, ``[n, ...]`` each."""
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for batch in images.split(batch_size):
        missing = set(names)
        for node, _, value in run_steps(graph, (batch,)):
            if node.name in missing:
                found[node.name].append(value)
                missing.remove(node.name)
            if not missing:
                break
    return [torch.cat(found[name]) for name in names]
