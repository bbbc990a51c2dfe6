"""Block reconstruction: BRECQ (arXiv 2102.05426) with AdaRound's weights and QDrop's activations.

One block after the other, the roundings of its weights and the steps of its activations are learned, so that
its output comes near to the float network's. A block's input is what the quantized blocks before it compute.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qvit_hls.errors import QvitError
from qvit_hls.ir.float_ops import Linear
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.interpreter import steps as run_steps
from qvit_hls.ptq.annotate import WeightRows, annotate
from qvit_hls.ptq.block_run import QuantizedBlock, mixed
from qvit_hls.ptq.blocks import Block, cut_blocks
from qvit_hls.ptq.calibration import Progress, output_gradients
from qvit_hls.ptq.placement import Placement


@dataclass(frozen=True)
class BlockReconstruction:
    """How blocks are reconstructed.

    Attributes:
        iterations: gradient steps for each block.
        batch_size: images of a gradient step.
        rounding_rate: learning rate of AdaRound's V.
        step_rate: learning rate of the logarithms of the activations' steps; falls to 0 by a cosine. 0: the
            steps stay.
        drop: QDrop's probability with which an element of a quantized activation, or of the block's input,
            is the float one. 0: all are quantized.
        hold: where weights begin, from 0, at the float weight as in AdaRound, to 1, at the code that they
            start from.
        regularizer: weight of AdaRound's regularizer: what a block all of whose weights are undecided costs,
            as a multiple of the error with which the block begins.
        beta_high, beta_low: exponent of the regularizer at its beginning and at its end.
        warm_up: share of the iterations before the regularizer begins.
        fisher: share of the squared derivative of the outputs in the weight of an element of a block's error,
            0 to 1; for the rest all elements count alike. 1 is BRECQ, 0 the plain squared error.
        seed: of batches, dropped elements, and the directions of the derivatives.

    Raises:
        QvitError: settings out of their ranges; all are listed.
    """

    iterations: int = 500
    batch_size: int = 32
    rounding_rate: float = 0.1
    step_rate: float = 1e-3
    drop: float = 0.5
    hold: float = 0.6
    regularizer: float = 10.0
    beta_high: float = 20.0
    beta_low: float = 2.0
    warm_up: float = 0.2
    fisher: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            f"Block reconstruction's {name} is {getattr(self, name):g}; it should be {wanted}."
            for name, fits, wanted in (
                ("iterations", self.iterations >= 1, "at least 1"),
                ("batch_size", self.batch_size >= 1, "at least 1"),
                ("rounding_rate", 0 < self.rounding_rate < math.inf, "greater than 0"),
                ("step_rate", 0 <= self.step_rate < math.inf, "0 or greater"),
                ("drop", 0 <= self.drop < 1, "at least 0 and less than 1"),
                ("hold", 0 <= self.hold < 1, "at least 0 and less than 1"),
                ("regularizer", 0 <= self.regularizer < math.inf, "0 or greater"),
                (
                    "beta_high",
                    self.beta_low <= self.beta_high < math.inf,
                    f"at least beta_low, {self.beta_low:g}",
                ),
                ("beta_low", 0 < self.beta_low < math.inf, "greater than 0"),
                ("fisher", 0 <= self.fisher <= 1, "0 to 1"),
                ("warm_up", 0 <= self.warm_up <= 1, "0 to 1"),
            )
            if not fits
        ]
        if problems:
            raise QvitError(problems)

    def beta(self, iteration: int) -> float | None:
        """The regularizer's exponent: falls evenly after the warm-up; None during it."""
        begin = self.warm_up * self.iterations
        if iteration < begin:
            return None
        left = 1 - (iteration - begin) / (self.iterations - begin)
        return self.beta_low + (self.beta_high - self.beta_low) * left


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
        task = _Task(quantized_in, wanted_in, wanted_out, importances[block.output], settings)
        first = QuantizedBlock(graph, start, block, placement, steps, rows, settings.hold)
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


class _Task:
    """What one block is to compute, for all images.

    Args:
        quantized_in: the block's input as the quantized blocks before it compute it, ``[n, ...]``.
        wanted_in: as the float network does.
        wanted_out: the float network's output of the block, ``[n, ...]``.
        importance: of the output's elements, without ``n``.
        settings: how to learn.
    """

    def __init__(
        self,
        quantized_in: Tensor,
        wanted_in: Tensor,
        wanted_out: Tensor,
        importance: Tensor,
        settings: BlockReconstruction,
    ) -> None:
        self._quantized_in, self._wanted_in, self._wanted_out = quantized_in, wanted_in, wanted_out
        self._importance, self._settings = importance, settings
        self._generator = torch.Generator().manual_seed(settings.seed)

    def error(self, block: QuantizedBlock) -> float:
        """Mean over the images of the block's weighted squared error, everything rounded."""
        size = self._settings.batch_size
        batches = zip(self._quantized_in.split(size), self._wanted_out.split(size), strict=True)
        total = sum(float(self._loss(block.run_quantized(x), y)) * len(x) for x, y in batches)
        return total / len(self._wanted_out)

    def learn(self, block: QuantizedBlock, unit: float) -> Iterator[int]:
        """Learn roundings and steps of ``block``.

        Args:
            block: changed in place.
            unit: error by which the loss is divided, so that the regularizer's weight fits all blocks.

        Yields:
            How many iterations are done, now and then.
        """
        settings = self._settings
        logits = [rounding.logits for rounding in block.roundings.values()]
        optimizers = [torch.optim.Adam(logits, lr=settings.rounding_rate)]
        schedule = None
        if block.log_ratios and settings.step_rate:
            steps = torch.optim.Adam(block.log_ratios.values(), lr=settings.step_rate)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(steps, settings.iterations)
            optimizers.append(steps)
        count = sum(v.numel() for v in logits)
        for iteration in range(settings.iterations):
            with torch.enable_grad():
                x, wanted = self._batch()
                loss = self._loss(block.run(x, settings.drop, self._generator), wanted) / max(
                    unit, torch.finfo().tiny
                )
                if (beta := settings.beta(iteration)) is not None:
                    undecided = sum(rounding.indecision(beta) for rounding in block.roundings.values())
                    loss = loss + settings.regularizer / count * undecided
                for optimizer in optimizers:
                    optimizer.zero_grad()
                loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            if schedule is not None:
                schedule.step()
            if (iteration + 1) % max(1, settings.iterations // 100) == 0:
                yield iteration + 1

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Inputs, some elements of them float, and wanted outputs of some images."""
        count, drop = len(self._wanted_out), self._settings.drop
        chosen = torch.randperm(count, generator=self._generator)[: self._settings.batch_size]
        x = self._quantized_in[chosen]
        if drop:
            x = mixed(x, self._wanted_in[chosen], drop, self._generator)
        return x, self._wanted_out[chosen]

    def _loss(self, output: Tensor, wanted: Tensor) -> Tensor:
        return ((output - wanted).square() * self._importance).flatten(1).sum(1).mean()


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
    for batch in images.split(settings.batch_size) if settings.fisher else ():
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
