"""Every accelerator worth looking at, as columns: one int64 array for each field that differs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import lcm

import numpy as np

from qvit_hls.hw.accelerator import Mac
from qvit_hls.hw.gemm_timing import round_up

#: All T_k that AcceleratorConfig allows.
TILE_DEPTHS = (2, 4, 8, 16, 32)
WEIGHT_PORTS = (1, 2, 4)
#: A tile of a multiple of so many rows can be drained two rows at a time.
PAIRED_ROWS = 4
#: The fields of AcceleratorConfig: at most so many tokens and rows.
_MOST_TOKENS, _MOST_ROWS = 512, 1024
#: Depths of the weight buffer, in multiples of the longest matrix product.
_BUFFERS = {"hls": (1,), "rtl": (1, 2)}


@dataclass(frozen=True, eq=False)
class Candidates:
    """Accelerators; every attribute is an int64 array ``[n]`` named as the field of AcceleratorConfig.

    Attributes:
        weight_depth: here in multiples of the model's longest matrix product.
        image_ahead: 0 or 1.
    """

    tile_tokens: np.ndarray
    tile_rows: np.ndarray
    tile_depth: np.ndarray
    dsp_rows: np.ndarray
    weight_ports: np.ndarray
    drain_rows: np.ndarray
    weight_depth: np.ndarray
    image_ahead: np.ndarray

    def __len__(self) -> int:
        return len(self.tile_tokens)

    def __getitem__(self, index: np.ndarray) -> Candidates:
        """Those at some positions, or where a mask is set."""
        return Candidates(**{name: column[index] for name, column in self.columns().items()})

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def replaced(self, **columns: np.ndarray) -> Candidates:
        """The same candidates with other columns."""
        return Candidates(**{**self.columns(), **columns})

    @classmethod
    def joined(cls, parts: Iterable[Candidates]) -> Candidates:
        """One after the other."""
        columns = [part.columns() for part in parts]
        return cls(**{name: np.concatenate([c[name] for c in columns]) for name in columns[0]})


def tiles(mac: Mac, tile_depth: int, tokens: int, lanes: int, ports: int) -> Candidates:
    """All tiles of one depth, without rows on DSP lanes.

    Args:
        tokens: of the model's longest sequence; a wider tile would only be padding.
        lanes: most multiply-accumulate lanes.
        ports: most weight ports.
    """
    step = lcm(tile_depth, 2)
    parts = []
    for drain_rows in (1,) if mac == "hls" else (1, 2):
        unit = 2 if drain_rows == 1 else PAIRED_ROWS
        for tile_tokens in range(step, min(round_up(tokens, step), _MOST_TOKENS) + 1, step):
            rows = np.arange(unit, min(lanes // (tile_tokens * tile_depth), _MOST_ROWS) + 1, unit)
            port, buffer, row = np.meshgrid(
                [p for p in WEIGHT_PORTS if p <= ports], _BUFFERS[mac], rows, indexing="ij"
            )
            n = row.size
            parts.append(
                Candidates(
                    tile_tokens=np.full(n, tile_tokens, np.int64),
                    tile_rows=row.ravel().astype(np.int64),
                    tile_depth=np.full(n, tile_depth, np.int64),
                    dsp_rows=np.zeros(n, np.int64),
                    weight_ports=port.ravel().astype(np.int64),
                    drain_rows=np.full(n, drain_rows, np.int64),
                    weight_depth=buffer.ravel().astype(np.int64),
                    image_ahead=np.ones(n, np.int64),
                )
            )
    return Candidates.joined(parts)
