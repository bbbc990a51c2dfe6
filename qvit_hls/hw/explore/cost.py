"""What candidates cost: LUTs, flip-flops, DSP slices and block RAMs, as columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from qvit_hls.hw.accelerator import DSP_LANES
from qvit_hls.hw.board import Board
from qvit_hls.hw.lane_cost import LANE_COST

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
    """int64 ``[n, 4]``, in the order of RESOURCES.

    Args:
        columns: all fields of AcceleratorConfig, single values or arrays ``[n]``.
    """
    cost = LANE_COST[columns["mac"]]
    bits = columns["activation_bits"]
    t_n, t_k = columns["tile_tokens"], columns["tile_depth"]
    lanes = t_n * t_k
    lut = lanes * columns["dsp_rows"] * cost.lut_per_dsp_lane[bits]
    lut = lut + lanes * (columns["tile_rows"] - columns["dsp_rows"]) * cost.lut_per_lut_lane[bits]
    lut = lut + cost.vector_lut * t_n + cost.fixed_lut
    dsp = lanes * columns["dsp_rows"] // DSP_LANES[bits] + cost.vector_dsp * t_n + cost.fixed_dsp
    halves = lanes * _halves(-(-columns["activation_depth"] // t_k), 8)
    halves = halves + lanes * _halves(-(-columns["digit_depth"] // t_k), 8)
    halves = halves + t_n * _halves(columns["wide_depth"], 16)
    halves = halves + -(-columns["tile_rows"] * t_k // 9) * _halves(2 * columns["weight_depth"], 36)
    lut, dsp, halves = np.broadcast_arrays(lut, dsp, halves)
    return np.stack([lut, lut, dsp, -(-halves // 2)], axis=-1).astype(np.int64)


def _halves(depth: np.ndarray, width: int) -> np.ndarray:
    words = 512 if width > 18 else 1024 if width > 9 else 2048
    return np.where(np.asarray(depth) <= 64, 0, -(-np.asarray(depth) // words))


def limits(board: Board) -> np.ndarray:
    """What designs may use of a board, int64 ``[4]``."""
    return np.array([board.usable_of(resource) for resource in RESOURCES], np.int64)


def largest_share(needs: np.ndarray, board: Board) -> np.ndarray:
    """The largest share of the board's resources that designs take, float ``[n]``, from costs ``[n, 4]``."""
    return (needs / np.array([getattr(board, resource) for resource in RESOURCES])).max(axis=-1)
