"""Gradient descent on one block: its roundings and steps, so that its output comes near to the wanted one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from qvit_hls.ptq.block_run import QuantizedBlock, mixed
from qvit_hls.ptq.setting_ranges import check_ranges


@dataclass(frozen=True)
class BlockReconstruction:
    """How blocks are reconstructed.

    Attributes:
        iterations: gradient steps for each block.
        batch_size: most images of a gradient step.
        batch_tokens: most tokens of a gradient step, but at least one image: a weight meets every token, so
            that few images of many tokens are as good as many of few.
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

    iterations: int = 300
    batch_size: int = 32
    batch_tokens: int = 1024
    rounding_rate: float = 0.1
    step_rate: float = 1e-2
    drop: float = 0.5
    hold: float = 0.8
    regularizer: float = 10.0
    beta_high: float = 20.0
    beta_low: float = 2.0
    warm_up: float = 0.2
    fisher: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        rules = (
            ("iterations", self.iterations >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("batch_tokens", self.batch_tokens >= 1, "at least 1"),
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
        check_ranges("Block reconstruction", self, rules)

    def beta(self, iteration: int) -> float | None:
        """The regularizer's exponent: falls evenly after the warm-up; None during it."""
        begin = self.warm_up * self.iterations
        if iteration < begin:
            return None
        left = 1 - (iteration - begin) / (self.iterations - begin)
        return self.beta_low + (self.beta_high - self.beta_low) * left


class BlockTask:
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
        tokens = math.prod(wanted_out.shape[1:-1])
        self._step_images = min(settings.batch_size, max(1, settings.batch_tokens // tokens))

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
        settings, unit = self._settings, max(unit, torch.finfo(torch.float32).tiny)
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
                loss = self._loss(block.run(x, settings.drop, self._generator), wanted) / unit
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
            done = iteration + 1
            if done % max(1, settings.iterations // 100) == 0 or done == settings.iterations:
                yield done

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Inputs, some elements of them float, and wanted outputs of some images."""
        count, drop = len(self._wanted_out), self._settings.drop
        chosen = torch.randperm(count, generator=self._generator)[: self._step_images]
        x = self._quantized_in[chosen]
        if drop:
            x = mixed(x, self._wanted_in[chosen], drop, self._generator)
        return x, self._wanted_out[chosen]

    def _loss(self, output: Tensor, wanted: Tensor) -> Tensor:
        return ((output - wanted).square() * self._importance).flatten(1).sum(1).mean()
