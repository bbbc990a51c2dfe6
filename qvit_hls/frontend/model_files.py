"""What models of every library have in common: the loaded model, its weights file, messages."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from qvit_hls.errors import QvitError

#: Problems with tensors that are spelt out; the others are counted.
_LISTED = 10


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A float model and what is needed to trace it.

    Attributes:
        module: in evaluation mode, float32, on the CPU.
        image_shape: ``[channels, height, width]`` of its input.
        classes: number of its outputs.
        name: short name for graphs and reports.
        mean, std: of each channel, that pixels from 0 to 1 are normalised with; None where nothing says so.
    """

    module: nn.Module
    image_shape: tuple[int, int, int]
    classes: int
    name: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def example(self) -> Tensor:
        """An input of zeros, ``[1, channels, height, width]``."""
        return torch.zeros(1, *self.image_shape)


def of_channels(values: Any, channels: int) -> tuple[float, ...] | None:
    """A number for each channel, if ``values`` are that."""
    if not isinstance(values, list | tuple) or len(values) != channels:
        return None
    return tuple(float(value) for value in values)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, floating-point ones as float32.

    Raises:
        QvitError: it is missing, damaged or another format, or has values that are not finite.
    """
    if not path.is_file():
        raise QvitError(f"There is no weights file {path}.")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise QvitError(
            f"{path} is not a safetensors file, or it is damaged ({error}); other formats may contain code "
            "and are not read."
        ) from None
    problems = [
        f"Tensor {name} has NaN or infinite values; all should be finite."
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    raise_if_any(problems, f"The weights {path} cannot be used.")
    return {n: t.to(torch.float32) if t.is_floating_point() else t for n, t in tensors.items()}


def raise_if_any(problems: list[str], heading: str) -> None:
    """Raise the problems with a weights file, the first of them in full.

    Raises:
        QvitError: there are problems.
    """
    if not problems:
        return
    listed = problems[:_LISTED]
    if len(problems) > _LISTED:
        listed.append(f"And {len(problems) - _LISTED} more tensors are wrong.")
    raise QvitError([heading, *listed])


def unknown_name(message: str, name: str, known: list[str], otherwise: str = "") -> str:
    """With the nearest of the names that are known; where none is near, with ``otherwise``."""
    near = difflib.get_close_matches(name, known, n=3)
    return f"{message}. Nearest names: {', '.join(near)}." if near else f"{message}{otherwise}."


def no_weights(model: str) -> str:
    """The message for a model without a weights file."""
    return (
        f"{model} has no weights, and nothing is downloaded; name a safetensors file with all of its tensors "
        "(--weights)."
    )


def not_installed(package: str, model: str) -> str:
    """The message for a model whose library is missing."""
    return f"The model {model} needs the package {package}; install it with: pip install 'qvit-hls[models]'"
