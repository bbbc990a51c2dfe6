"""Elementwise functions and exponentials, and their tables: computed once, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from qvit_hls.ir.graph import Quantization
from qvit_hls.quant.levels import EXPONENT_LEVELS, EXPONENT_TABLE_SIZE, LARGEST_POWER

#: Of the sigmoid that stands for GELU's distribution function (GELU, arXiv 1606.08415, section 2).
QUICK_GELU_FACTOR = 1.702
#: The functions that ``Elementwise`` knows, by name.
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "elu": functional.elu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "hardsigmoid": functional.hardsigmoid,
    "hardswish": functional.hardswish,
    "leaky_relu": functional.leaky_relu,
    "mish": functional.mish,
    "quick_gelu": lambda x: x * torch.sigmoid(QUICK_GELU_FACTOR * x),
    "relu": functional.relu,
    "relu6": functional.relu6,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "softplus": functional.softplus,
    "tanh": torch.tanh,
}


def exponent_table(step: float, levels_per_octave: int = 0) -> np.ndarray:
    """Softmax exponents by distance n from the row maximum, uint8 ``[256]``.

    Without levels they are ``floor(119 * exp(-step * n) + 1/2)``. With r levels in each factor of two,
    ``floor(64 * 2**(-m / r) + 1/2)``, ``m = floor(r * log2(e) * step * n + 1/2)``: with r = 1 all are powers
    of two, or 0 (FQ-ViT, arXiv 2111.13824, section 3.4), with r = 2 nearly those of sqrt(2) (RepQ-ViT,
    arXiv 2212.08254, section 3.3). There the probabilities are rounded so; here it is what they are made of.

    Args:
        step: step of the scores, > 0.
        levels_per_octave: r, or 0 for exponents on a uniform grid.
    """
    distance = np.arange(EXPONENT_TABLE_SIZE, dtype=np.float64)
    if not levels_per_octave:
        return np.floor(EXPONENT_LEVELS * np.exp(-step * distance) + 0.5).astype(np.uint8)
    level = np.floor(levels_per_octave * np.log2(np.e) * step * distance + 0.5)
    return np.floor(LARGEST_POWER * np.exp2(-level / levels_per_octave) + 0.5).astype(np.uint8)


def function_table(function: str, before: Quantization, after: Quantization) -> np.ndarray:
    """An elementwise function over all codes: int16 ``[2 * before.qmax + 1]``, first the most negative.

    ``floor(f(before.scale * code) / after.scale + 1/2)``, clamped to ``after.qmax``.

    Args:
        function: a name that ``Elementwise`` knows.
        before: grid of the input.
        after: grid of the output, at most 16 bits.
    """
    codes = torch.arange(-before.qmax, before.qmax + 1, dtype=torch.float64)
    values = FUNCTIONS[function](codes * before.scale).numpy()
    return np.floor(values / after.scale + 0.5).clip(-after.qmax, after.qmax).astype(np.int16)
