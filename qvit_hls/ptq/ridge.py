"""ERQ (arXiv 2407.06794): weights that make up for rounded inputs, and for the rounding of other weights.

Both corrections are ridge regressions on the layer's output. With x the input, r the rounded one and A the
sum of ``r r^T``, the first adds ``W (sum (x - r) r^T) (A + lambda I)^-1`` to the weights. The second rounds
one column of weights after the other and spreads each error over the columns that are still to come: ERQ's
halves of the columns, taken to single ones. The bias takes part as a column with the constant input 1 that
is never rounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from qvit_hls.ir.execute_float import fake_quantize
from qvit_hls.ir.float_ops import Linear
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.interpreter import steps as run_steps
from qvit_hls.ptq.annotate import WeightRows, grid_value
from qvit_hls.ptq.calibration import Progress
from qvit_hls.ptq.placement import Placement
from qvit_hls.ptq.setting_ranges import check_ranges
from qvit_hls.quant.fake_quant import round_half_up
from qvit_hls.quant.levels import weight_qmax

#: Columns of weights that are rounded before the others are corrected; only speed depends on it.
_COLUMNS = 64


@dataclass(frozen=True)
class RidgeCorrection:
    """Settings of ERQ.

    Attributes:
        strength: lambda, relative to the mean square of an input channel.
        batch_size: images at a time.

    Raises:
        QvitError: settings out of their ranges; all are listed.
    """

    strength: float = 0.01
    batch_size: int = 4

    def __post_init__(self) -> None:
        rules = (
            ("strength", 0 < self.strength < math.inf, "greater than 0"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
        )
        check_ranges("The ridge correction", self, rules)


@torch.no_grad()
def correct_weights(
    graph: Graph,
    placement: Placement,
    images: Tensor,
    steps: Mapping[str, float],
    rows: Mapping[str, WeightRows],
    correction: RidgeCorrection,
    progress: Progress = lambda stage, done, total: None,
) -> Graph:
    """``graph`` with corrected weights, which lie on the grids of ``rows``, and corrected biases.

    Args:
        graph: float, after FLOAT_PASSES, without annotations.
        placement: its grids.
        images: float32 ``[n, *shape of the input]``.
        steps: of the activations, by grid.
        rows: grids of the weights, by linear layer.
        correction: how strongly to hold the weights where they are.
        progress: told after each batch and each layer.
    """
    moments = _moments(graph, placement, images, steps, correction, progress)
    layers = [node for node in graph if isinstance(node.op, Linear)]
    changed = {}
    for done, node in enumerate(layers, start=1):
        assert isinstance(node.op, Linear)
        op = corrected(node.op, moments[node.inputs[0]], rows[node.name], correction.strength)
        changed[node.name] = replace(node, op=op)
        progress("correct weights", done, len(layers))
    return graph.with_nodes([changed.get(node.name, node) for node in graph])


@dataclass(eq=False)
class InputMoments:
    """Sums over the tokens of a linear layer's input; r is the rounded input with a 1 behind it.

    Attributes:
        rounded: of ``r r^T``, ``[K+1, K+1]``.
        error: of ``(x - r) r^T`` with x the float input, without the 1 in front, ``[K, K+1]``.
    """

    rounded: Tensor
    error: Tensor


def _moments(
    graph: Graph,
    placement: Placement,
    images: Tensor,
    steps: Mapping[str, float],
    correction: RidgeCorrection,
    progress: Progress,
) -> dict[str, InputMoments]:
    grids = placement.by_value()
    inputs = {node.inputs[0] for node in graph if isinstance(node.op, Linear)}
    found: dict[str, InputMoments] = {}
    done = 0
    for batch in images.float().split(correction.batch_size):
        for node, _, value in run_steps(graph, (batch,)):
            if node.name not in inputs:
                continue
            grid = grids[grid_value(graph, node.name, grids)]
            x = value.reshape(-1, value.shape[-1])
            rounded = fake_quantize(x, steps[grid.name], grid.qmax)
            r = torch.cat([rounded, torch.ones(len(x), 1)], dim=1)
            new = InputMoments(r.T @ r, (x - rounded).T @ r)
            if node.name in found:
                new = InputMoments(found[node.name].rounded + new.rounded, found[node.name].error + new.error)
            found[node.name] = new
        done += len(batch)
        progress("weigh input errors", done, len(images))
    return found


def corrected(op: Linear, moments: InputMoments, rows: WeightRows, strength: float) -> Linear:
    """``op`` with corrected weights on their grids and a corrected bias.

    Args:
        op: float.
        moments: of its input.
        rows: grids of the weights.
        strength: of the ridge.
    """
    weight = torch.from_numpy(np.asarray(op.weight, np.float64))
    bias = torch.zeros(len(weight), 1, dtype=torch.float64)
    if op.bias is not None:
        bias += torch.from_numpy(np.asarray(op.bias, np.float64))[:, None]
    regular = _regularised(moments.rounded.double(), strength)
    change = torch.linalg.solve(regular, (weight @ moments.error.double()).T).T
    wanted = torch.cat([weight, bias], dim=1) + change
    rounded, new_bias = round_with_feedback(wanted, regular, rows)
    return Linear(rounded.numpy(), new_bias.numpy())


def _regularised(rounded: Tensor, strength: float) -> Tensor:
    channels = len(rounded) - 1
    ridge = strength * rounded.diagonal()[:channels].mean().clamp(min=torch.finfo(torch.float32).tiny)
    # The bias is not held where it is, but for what keeps the matrix regular.
    weights = torch.full((channels + 1,), float(ridge), dtype=rounded.dtype)
    weights[-1] = rounded[-1, -1] * 1e-6
    return rounded + weights.diag()


def round_with_feedback(wanted: Tensor, regular: Tensor, rows: WeightRows) -> tuple[Tensor, Tensor]:
    """Round the weights column by column; what is left over corrects the columns behind.

    Args:
        wanted: weights with the bias as the last column, float64 ``[R, K+1]``.
        regular: ``A + lambda I``, float64 ``[K+1, K+1]``, positive definite.
        rows: grids of the weights.

    Returns:
        Weights on their grids ``[R, K]`` and biases ``[R]``, float64.
    """
    channels = wanted.shape[1] - 1
    # Columns of strong inputs first: their errors are the large ones, and most columns can make up for them.
    order = torch.argsort(regular.diagonal()[:channels], descending=True, stable=True)
    order = torch.cat([order, torch.tensor([channels])])
    factor = _inverse_factor(regular[order][:, order])
    # Transposed, so that a column of the weights is contiguous.
    left = wanted.T[order].contiguous()
    step = rows.step.double()
    qmax = torch.tensor([weight_qmax(int(bits)) for bits in rows.bits], dtype=torch.float64)
    for begin in range(0, channels, _COLUMNS):
        # Columns behind these get the corrections of all of them at once: the sum is the same.
        end = min(begin + _COLUMNS, channels)
        errors = torch.empty(end - begin, left.shape[1], dtype=left.dtype)
        for column in range(begin, end):
            value = left[column]
            rounded = round_half_up(value / step).clamp(-qmax, qmax) * step
            errors[column - begin] = (value - rounded) / factor[column, column]
            left[column] = rounded
            left[column + 1 : end].addr_(factor[column, column + 1 : end], errors[column - begin], alpha=-1)
        left[end:].addmm_(factor[begin:end, end:].T, errors, alpha=-1)
    result = torch.empty_like(wanted)
    result[:, order] = left.T
    return result[:, :channels].contiguous(), result[:, channels].contiguous()


def _inverse_factor(matrix: Tensor) -> Tensor:
    """Upper triangular U with ``U^T U`` the inverse of a positive definite matrix."""
    # With rows and columns reversed, its lower factor is the upper one of matrix = W W^T, and U is W^-1.
    factor = torch.linalg.cholesky(matrix.flip(0, 1)).flip(0, 1)
    return torch.linalg.solve_triangular(factor, torch.eye(len(matrix), dtype=matrix.dtype), upper=True)
