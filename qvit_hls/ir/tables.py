"""Elementwise functions and exponentials, and their tables: computed once, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from qvit_hls.ir.graph import Quantization
from qvit_hls.quant.levels import EXPONENT_LEVELS, EXPONENT_TABLE_SIZE

#: The functions that ``Elementwise`` knows, by name.
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
}


def exponent_table(step: float) -> np.ndarray:
    """Softmax exponents by distance n from the row maximum: ``floor(119 * exp(-step * n) + 1/2)``.

    The result is uint8 ``[256]``.

    Args:
        step: step of the scores, > 0.
    """
    distance = np.arange(EXPONENT_TABLE_SIZE, dtype=np.float64)
    return np.floor(EXPONENT_LEVELS * np.exp(-step * distance) + 0.5).astype(np.uint8)


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
