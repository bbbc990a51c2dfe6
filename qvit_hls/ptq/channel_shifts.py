"""LayerNorm outputs reparameterized: a power of two per channel, which the weights behind give back.

All channels of a value share one grid. Where few reach much further than the others, the step is theirs, and
the others lose precision. A LayerNorm of the accelerator can scale channel c by ``2**-a_c``, a_c within 0..7;
the columns of the linear layers that read it are multiplied by ``2**a_c``. Both are exact, so the float
network stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from qvit_hls.ir.execute_float import fake_quantize
from qvit_hls.ir.float_ops import LayerNorm, Linear
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.integer_ops import MAX_CHANNEL_SHIFT
from qvit_hls.ir.interpreter import steps as run_steps
from qvit_hls.ir.passes.fold_layer_norm_affine import linear_readers
from qvit_hls.ptq.calibration import Progress
from qvit_hls.ptq.rows import output_error
from qvit_hls.ptq.setting_ranges import check_ranges
from qvit_hls.ptq.token_sample import sampled_tokens
from qvit_hls.quant.fake_quant import fake_quantize_rows
from qvit_hls.quant.levels import WEIGHT_QMAX_4
from qvit_hls.quant.rows import MIN_SCALE, row_magnitude

#: Tokens of all images together that the choice of shifts looks at.
_TOKENS = 512
#: Magnitudes below this share of the largest count as this share.
_NOTHING = 2.0**-20


class ShiftRule(Protocol):
    """How the shifts of a LayerNorm's channels are chosen."""

    def shifts(self, x: Tensor, weight: Tensor, qmax: int) -> Tensor:
        """The shifts, integers 0..7 ``[K]``.

        Args:
            x: tokens of the LayerNorm's output, float32 ``[n, K]``, finite.
            weight: of all linear layers that read it, float32 ``[R, K]``.
            qmax: largest code of the output.
        """


@dataclass(frozen=True)
class EqualRanges:
    """RepQ-ViT (arXiv 2212.08254, section 3.2): all channels get the same range.

    The paper divides by the ratio of each channel's step to their mean; here the ratio to the smallest is
    rounded to a power of two. Where ranges differ by more than 2**7, the smallest ones stay smaller.
    """

    def shifts(self, x: Tensor, weight: Tensor, qmax: int) -> Tensor:
        """As ``ShiftRule``."""
        exponent = _log2(x.abs().amax(0)).round()
        spread = (exponent.max() - exponent.min()).clamp(max=MAX_CHANNEL_SHIFT)
        return (exponent - exponent.max() + spread).clamp(min=0)


@dataclass(frozen=True)
class LeastChannelError:
    """FQ-ViT's power-of-two factor (arXiv 2111.13824, section 3.3): the least squared error of each channel.

    The step is such that the widest channel fits with the largest shift.

    Attributes:
        largest: K, the largest shift.

    Raises:
        QvitError: it is out of range.
    """

    largest: int = 3

    def __post_init__(self) -> None:
        fits = 0 <= self.largest <= MAX_CHANNEL_SHIFT
        check_ranges("The shift rule", self, [("largest", fits, f"0 to {MAX_CHANNEL_SHIFT}")])

    def shifts(self, x: Tensor, weight: Tensor, qmax: int) -> Tensor:
        """As ``ShiftRule``."""
        step = max(float(x.abs().max()) / (qmax << self.largest), MIN_SCALE)
        errors = [
            (fake_quantize(x, step * 2.0**shift, qmax) - x).square().sum(0)
            for shift in range(self.largest + 1)
        ]
        return torch.stack(errors).argmin(0)


@dataclass(frozen=True)
class LeastOutputError:
    """The least squared error of the linear layers, of rounding input and weights to 4 bits.

    What a shift takes from the input's range it adds to the weights'. Candidates equalise ``range**alpha /
    column**(1 - alpha)``, with the norm of the weights' column, of the channels where that is largest: the
    migration of SmoothQuant (arXiv 2211.10438, eq. 4), with powers of two. An accelerator with shifts is
    larger, so there are none where they would gain little.

    Attributes:
        alphas: shares of the range that are tried, 0 to 1.
        clipping: shares of the input's range that a candidate may cover.
        least_gain: share of the error without shifts that they must take away.

    Raises:
        QvitError: settings out of their ranges; all are listed.
    """

    alphas: tuple[float, ...] = (1.0, 0.75, 0.5)
    clipping: tuple[float, ...] = (1.0, 0.8, 0.6)
    least_gain: float = 0.05

    def __post_init__(self) -> None:
        rules = (
            ("alphas", all(0 <= alpha <= 1 for alpha in self.alphas), "0 to 1 each"),
            ("clipping", all(0 < share <= 1 for share in self.clipping), "greater than 0, at most 1 each"),
            ("least_gain", 0 <= self.least_gain <= 1, "0 to 1"),
        )
        check_ranges("The shift rule", self, rules)

    def shifts(self, x: Tensor, weight: Tensor, qmax: int) -> Tensor:
        """As ``ShiftRule``."""
        reach = _log2(x.abs().amax(0))
        column = _log2((weight / row_magnitude(weight).clamp(min=MIN_SCALE)[:, None]).square().mean(0)) / 2
        best = torch.zeros_like(reach)
        best_error = self._error(x, weight, best, qmax) * (1 - self.least_gain)
        for alpha in self.alphas:
            wanted = alpha * reach - (1 - alpha) * column
            for largest in range(1, MAX_CHANNEL_SHIFT + 1):
                candidate = (wanted - wanted.max() + largest).round().clamp(min=0)
                error = self._error(x, weight, candidate, qmax)
                if error < best_error:
                    best, best_error = candidate, error
        return best

    def _error(self, x: Tensor, weight: Tensor, shifts: Tensor, qmax: int) -> float:
        wanted = x @ weight.T
        x, weight = x * torch.exp2(-shifts), weight * torch.exp2(shifts)
        on_grid = _on_four_bits(weight, x.square().mean(0))
        largest = float(x.abs().max())
        rounded = (fake_quantize(x, max(largest * share / qmax, MIN_SCALE), qmax) for share in self.clipping)
        return min(float((inputs @ on_grid.T - wanted).square().sum()) for inputs in rounded)


def _on_four_bits(weight: Tensor, power: Tensor) -> Tensor:
    """Rows ``[R, K]`` rounded with the best of few steps, errors weighted with the inputs' ``power [K]``."""
    bits = torch.full((len(weight),), 4, dtype=torch.uint8)
    full = (row_magnitude(weight) / WEIGHT_QMAX_4).clamp(min=MIN_SCALE)
    rounded = torch.stack(
        [fake_quantize_rows(weight, full * share, bits) for share in (1.0, 0.85, 0.7, 0.55)]
    )
    best = torch.stack([output_error(rows - weight, power) for rows in rounded]).argmin(0)
    return rounded[best, torch.arange(len(weight))]


def _log2(magnitude: Tensor) -> Tensor:
    return magnitude.clamp(min=float(magnitude.max()) * _NOTHING + MIN_SCALE).log2()


@torch.no_grad()
def reparameterize(
    graph: Graph,
    images: Tensor,
    qmax: int,
    rule: ShiftRule,
    batch_size: int = 4,
    progress: Progress = lambda stage, done, total: None,
) -> Graph:
    """``graph`` with shifts of the channels of LayerNorms, and weights that give them back.

    A LayerNorm takes part where only linear layers read it, perhaps through tokens that are taken or
    averaged, and it has no weight and bias of its own.

    Args:
        graph: float, after FLOAT_PASSES, without annotations.
        images: float32 ``[n, *shape of the input]``.
        qmax: largest code of what linear layers read.
        rule: for the shifts.
        batch_size: images at a time.
        progress: told after each batch and each LayerNorm.
    """
    readers = _reparameterizable(graph)
    samples = _samples(graph, images, {layer.inputs[0] for layers in readers.values() for layer in layers},
                       batch_size, progress)  # fmt: skip
    changed: dict[str, Node] = {}
    for done, (name, layers) in enumerate(readers.items(), start=1):
        x = torch.cat([samples[value] for value in sorted({layer.inputs[0] for layer in layers})])
        weight = torch.cat(
            [torch.from_numpy(np.asarray(_linear(layer).weight, np.float32)) for layer in layers]
        )
        # What is not finite is refused, by name, when calibration meets it.
        if x.isfinite().all():
            factors = np.exp2(rule.shifts(x, weight, qmax).numpy().astype(np.float64))
            changed.update((node.name, node) for node in _shifted(graph[name], layers, factors))
        progress("shift channels", done, len(readers))
    return graph.with_nodes([changed.get(node.name, node) for node in graph])


def _reparameterizable(graph: Graph) -> dict[str, list[Node]]:
    """By LayerNorm, the linear layers that read it."""
    found = {}
    users = graph.users()
    for node in graph:
        if isinstance(node.op, LayerNorm) and node.op.weight is None and node.op.bias is None:
            readers, obstacle = linear_readers(node, users, graph.outputs)
            if not obstacle:
                found[node.name] = readers
    return found


def _samples(
    graph: Graph, images: Tensor, names: set[str], batch_size: int, progress: Progress
) -> dict[str, Tensor]:
    """Tokens of some values over all images, ``[n, K]``."""
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    done = 0
    for batch in images.float().split(batch_size):
        for node, _, value in run_steps(graph, (batch,)):
            if node.name in names:
                parts[node.name].append(sampled_tokens(value, done, len(images), _TOKENS).flatten(0, -2))
        done += len(batch)
        progress("see channels", done, len(images))
    return {name: torch.cat(found) for name, found in parts.items()}


def _shifted(norm: Node, readers: list[Node], factors: np.ndarray) -> list[Node]:
    """The nodes with channels divided and columns multiplied by ``factors [K]``, powers of two."""
    assert isinstance(norm.op, LayerNorm)
    if (factors == 1).all():
        return []
    changed = [replace(norm, op=replace(norm.op, weight=(1 / factors).astype(np.float32)))]
    for reader in readers:
        op = _linear(reader)
        changed.append(replace(reader, op=replace(op, weight=op.weight * factors.astype(op.weight.dtype))))
    return changed


def _linear(node: Node) -> Linear:
    assert isinstance(node.op, Linear)
    return node.op
