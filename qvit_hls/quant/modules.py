"""Quantized building blocks as nn.Modules: activation quantizers, row-wise mixed layers, softmax.

A module's mode says what it does with its grids: ``OFF`` computes in float, ``CALIBRATE`` sets the steps
from the data passing through and quantizes with them, ``ON`` quantizes. The mode is not part of the state.
"""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn import functional

from qvit_hls.quant.calibration import mse_scale
from qvit_hls.quant.fake_quant import fake_quantize, fake_quantize_bias, fake_quantize_rows, fake_softmax
from qvit_hls.quant.rows import MIN_SCALE, allocate_rows, bound_row_scale


class Mode(Enum):
    """What quantized modules do."""

    OFF = "off"
    CALIBRATE = "calibrate"
    ON = "on"


class RangeRule(Enum):
    """Where an activation quantizer's step comes from."""

    #: A parameter, trained with LSQ gradients; calibration starts it at the least squared error.
    LEARNED = "learned"
    #: Calibration covers the largest value seen, with headroom; for wide grids, where clipping costs more
    #: than coarse steps do.
    COVERING = "covering"
    #: Given once and never changed.
    FIXED = "fixed"


#: A covering range is this much wider than the largest calibration value.
HEADROOM = 1.5


class QuantizedModule(nn.Module):
    """Base of the modules whose quantization can be switched."""

    mode: Mode = Mode.ON


def set_mode(model: nn.Module, mode: Mode) -> None:
    """Set the mode of every quantized module in ``model``."""
    for module in model.modules():
        if isinstance(module, QuantizedModule):
            module.mode = mode


class ActivationQuantizer(QuantizedModule):
    """Rounds a tensor to ``scale * code`` with ``|code| <= qmax``; one step for the whole tensor.

    Args:
        qmax: largest code.
        rule: where the step comes from.
        scale: the step before calibration, and for good where the range is fixed.
    """

    scale: Tensor

    def __init__(self, qmax: int, rule: RangeRule = RangeRule.LEARNED, scale: float = 1.0) -> None:
        super().__init__()
        self.qmax = qmax
        self.rule = rule
        if rule is RangeRule.LEARNED:
            self.scale = nn.Parameter(torch.tensor(scale))
        else:
            self.register_buffer("scale", torch.tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of any shape, rounded to the grid."""
        if self.mode is Mode.OFF:
            return x
        if self.mode is Mode.CALIBRATE:
            self._calibrate(x.detach())
        return fake_quantize(x, self.scale, self.qmax)

    @torch.no_grad()
    def _calibrate(self, x: Tensor) -> None:
        if self.rule is RangeRule.LEARNED:
            self.scale.copy_(mse_scale(x, self.qmax))
        elif self.rule is RangeRule.COVERING:
            # A quantizer shared by several tensors covers all of them.
            self.scale.copy_(torch.maximum(self.scale, x.abs().amax() * (HEADROOM / self.qmax)))

    @torch.no_grad()
    def start_calibration(self) -> None:
        """Forget the step, where calibration is to find it."""
        if self.rule is not RangeRule.FIXED:
            self.scale.fill_(MIN_SCALE)

    @torch.no_grad()
    def finish_calibration(self) -> None:
        """Give a quantizer that saw nothing but zeros a step of ordinary size."""
        if self.rule is not RangeRule.FIXED and self.scale <= MIN_SCALE:
            self.scale.fill_(1 / self.qmax)

    @torch.no_grad()
    def constrain(self) -> None:
        """Keep the step positive after an optimizer's update."""
        self.scale.clamp_(min=MIN_SCALE)

    def extra_repr(self) -> str:
        """Shown in the model's printout."""
        return f"qmax={self.qmax}, rule={self.rule.value}"


class RowQuantized(QuantizedModule):
    """What layers with row-wise mixed weights share.

    Attributes:
        weight: latent float weights ``[rows, ...]``.
        bias: ``[rows]``.
        row_scale: step of each row ``[rows]``, learned.
        row_bits: 4 or 8 for each row, uint8 ``[rows]``.
    """

    row_bits: Tensor

    def __init__(self, *weight_shape: int) -> None:
        super().__init__()
        rows = weight_shape[0]
        self.weight = nn.Parameter(torch.empty(*weight_shape))
        self.bias = nn.Parameter(torch.zeros(rows))
        self.row_scale = nn.Parameter(torch.ones(rows))
        self.register_buffer("row_bits", torch.full((rows,), 4, dtype=torch.uint8))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def quantized_weight(self) -> Tensor:
        """The weights as the layer uses them, ``[rows, ...]``."""
        if self.mode is Mode.OFF:
            return self.weight
        return fake_quantize_rows(self.weight, self.row_scale, self.row_bits)

    def quantized_bias(self, input_scale: Tensor) -> Tensor:
        """The bias as the layer uses it, ``[rows]``: in steps of the accumulator.

        Args:
            input_scale: 0-d step of the layer's input.
        """
        if self.mode is Mode.OFF:
            return self.bias
        return fake_quantize_bias(self.bias, self.row_scale * input_scale)

    @torch.no_grad()
    def allocate(self, share: float) -> None:
        """Choose the 8-bit rows (``share`` of all, 0 to 1) and start every row's step."""
        row_bits, row_scale = allocate_rows(self.weight, share)
        self.row_bits.copy_(row_bits)
        self.row_scale.copy_(row_scale)

    @torch.no_grad()
    def constrain(self, input_scale: Tensor) -> None:
        """Keep row steps positive and large enough for the bias; ``input_scale`` is the input's step."""
        self.row_scale.copy_(bound_row_scale(self.row_scale, self.bias, input_scale))


class QuantLinear(RowQuantized):
    """``y = x @ weight.T + bias`` with row-wise mixed weights: ``[..., inputs] -> [..., rows]``."""

    def __init__(self, inputs: int, rows: int) -> None:
        super().__init__(rows, inputs)

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """``[..., inputs]`` on the grid of the 0-d ``input_scale`` to ``[..., rows]``."""
        return functional.linear(x, self.quantized_weight(), self.quantized_bias(input_scale))

    def extra_repr(self) -> str:
        """Shown in the model's printout."""
        rows, inputs = self.weight.shape
        return f"inputs={inputs}, rows={rows}, eight_bit_rows={_eight_bit_rows(self.row_bits)}"


class QuantPatchEmbed(RowQuantized):
    """Patch embedding: a convolution whose stride is its kernel, with row-wise mixed weights."""

    def __init__(self, channels: int, rows: int, patch_size: int) -> None:
        super().__init__(rows, channels, patch_size, patch_size)
        self.patch_size = patch_size

    def forward(self, images: Tensor, input_scale: Tensor) -> Tensor:
        """``[batch, channels, height, width]`` on the grid of the 0-d ``input_scale`` to
        ``[batch, patches, rows]``, patches row by row."""
        bias = self.quantized_bias(input_scale)
        y = functional.conv2d(images, self.quantized_weight(), bias, stride=self.patch_size)
        return y.flatten(2).transpose(1, 2)

    def extra_repr(self) -> str:
        """Shown in the model's printout."""
        rows, channels, size, _ = self.weight.shape
        return (
            f"channels={channels}, rows={rows}, patch_size={size}, "
            f"eight_bit_rows={_eight_bit_rows(self.row_bits)}"
        )


def _eight_bit_rows(row_bits: Tensor) -> int | str:
    return "?" if row_bits.is_meta else int((row_bits == 8).sum())


class QuantSoftmax(QuantizedModule):
    """Softmax over the last dimension with the integer softmax's tabulated exponents."""

    def forward(self, scores: Tensor, step: Tensor) -> Tensor:
        """``scores [..., keys]`` on the grid of the 0-d ``step``; probabilities of the same shape."""
        if self.mode is Mode.OFF:
            return torch.softmax(scores, dim=-1)
        return fake_softmax(scores, step)
