"""AdaRound (arXiv 2004.10568): whether each weight is rounded down or up, learned by gradient descent."""

from __future__ import annotations

import torch
from torch import Tensor

from qvit_hls.ptq.annotate import WeightRows
from qvit_hls.quant.fake_quant import round_half_up, row_qmax

#: Stretch of the sigmoid, zeta and gamma of eq. 23: cut off at 0 and 1, it reaches both.
_HIGH, _LOW = 1.1, -0.1


class LearnedRounding:
    """The weights of one linear layer, each between two neighbouring codes of its row's grid.

    A weight is ``step * (lower + h)`` with ``h = clamp(sigmoid(V) * (zeta - gamma) + gamma, 0, 1)``, eq. 22
    and 23. One of its codes is the first one that is given, the other the next one towards the float weight.

    Args:
        weight: float32 ``[R, K]``.
        first: weights whose nearest codes are the first ones, float32 ``[R, K]``; ``weight`` itself, or what
            another method has made of it.
        hold: where a weight is at the beginning, between the float weight (0, as in the paper) and its first
            code (1, where no gradient moves it).
        rows: grids of the weights.
    """

    def __init__(self, weight: Tensor, first: Tensor, hold: float, rows: WeightRows) -> None:
        self._step = rows.step[:, None]
        qmax = row_qmax(rows.bits, weight)
        wanted = weight / self._step
        code = round_half_up(first / self._step).clamp(-qmax, qmax)
        # At the largest codes both lie inside of the grid, so that a clipped weight has a choice, too.
        self._lower = torch.where(wanted >= code, code, code - 1).clamp(min=-qmax, max=qmax - 1)
        part = torch.lerp((wanted - self._lower).clamp(0, 1), code - self._lower, hold)
        #: V, ``[R, K]``, to be learned.
        self.logits = torch.logit((part - _LOW) / (_HIGH - _LOW)).requires_grad_()

    @property
    def part(self) -> Tensor:
        """h: how far each weight is from its lower code to its upper one, 0 to 1, ``[R, K]``."""
        return (self.logits.sigmoid() * (_HIGH - _LOW) + _LOW).clamp(0, 1)

    def soft(self) -> Tensor:
        """The weights as they are learned, ``[R, K]``, with gradients."""
        return self._step * (self._lower + self.part)

    @torch.no_grad()
    def hard(self) -> Tensor:
        """The weights on their grids, ``[R, K]``: each at the nearer one of its two codes."""
        return self._step * (self._lower + (self.part >= 0.5))

    def indecision(self, beta: float) -> Tensor:
        """The regularizer, eq. 24: the sum of ``1 - |2h - 1|^beta``, 0 where every weight is on its grid."""
        return (1 - (2 * self.part - 1).abs().pow(beta)).sum()
