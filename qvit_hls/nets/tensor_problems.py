"""What is wrong with the tensors of a file, beside those that a model wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def tensor_problems(tensors: Mapping[Any, Any], expected: Mapping[str, Tensor]) -> Iterator[str]:
    """What is wrong with names, types and shapes, and with values that are no numbers."""
    for name, want in expected.items():
        if name not in tensors:
            yield f"Tensor {name} is missing; it should be {_describe(want)}."
            continue
        got = tensors[name]
        if not isinstance(got, Tensor) or got.layout is not torch.strided:
            yield f"Tensor {name} is not a dense tensor; it should be {_describe(want)}."
        elif got.dtype != want.dtype or got.shape != want.shape:
            yield f"Tensor {name} is {_describe(got)}; it should be {_describe(want)}."
        elif got.is_floating_point() and not got.isfinite().all():
            bad = int((~got.isfinite()).sum())
            yield (
                f"Tensor {name} has NaN or infinite values ({bad} of {got.numel()}); all should be finite."
            )
    for name in tensors:
        if name not in expected:
            yield f"Tensor {name!s:.80} does not belong to the model that the configuration describes."


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {list(tensor.shape)}"
