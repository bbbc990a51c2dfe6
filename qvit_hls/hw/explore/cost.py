"""What candidates cost: LUTs, flip-flops, DSP slices and block RAMs, as columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from qvit_hls.hw.board import Board
from qvit_hls.hw.resources.model import resource_arrays

Resource = Literal["lut", "ff", "dsp", "bram36"]
RESOURCES: tuple[Resource, ...] = ("lut", "ff", "dsp", "bram36")
#: What a resource is called in messages.
RESOURCE_WORDS: dict[str, str] = {
    "lut": "LUTs",
    "ff": "flip-flops",
    "dsp": "DSP slices",
    "bram36": "block RAMs",
}


def costs(columns: Mapping[str, Any]) -> np.ndarray:
    """int64 ``[n, 4]``, in the order of RESOURCES; half a block RAM counts as one.

    Args:
        columns: all fields of AcceleratorConfig, single values or arrays ``[n]``.
    """
    arrays = resource_arrays(columns, columns["mac"])
    counts = np.broadcast_arrays(*(np.ceil(arrays[resource]) for resource in RESOURCES))
    return np.stack(counts, axis=-1).astype(np.int64)


def limits(board: Board) -> np.ndarray:
    """What designs may use of a board, int64 ``[4]``."""
    return np.array([board.usable_of(resource) for resource in RESOURCES], np.int64)


def largest_share(needs: np.ndarray, board: Board) -> np.ndarray:
    """The largest share of the board's resources that designs take, float ``[n]``, from costs ``[n, 4]``."""
    return (needs / np.array([getattr(board, resource) for resource in RESOURCES])).max(axis=-1)
