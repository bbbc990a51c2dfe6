"""What networks cost in hardware, many at once: cycles, frames per second, weights that are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from qvit_hls.hw.board import Board
from qvit_hls.hw.descriptor import Unit
from qvit_hls.hw.explore.space import bytes_per_cycle
from qvit_hls.hw.gemm_timing import PARAMETER_BITS
from qvit_hls.hw.timing.analytic import frame_cycles
from qvit_hls.hw.timing.network import NetworkShape
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.vit import vit_shape
from qvit_hls.search.accelerators import Accelerator
from qvit_hls.search.genome import Genome

#: Networks that are timed at once; bounds the memory of the arrays over their layers.
_CHUNK = 2048
#: More than any network takes, and an integer that float64 and int64 both hold.
_MOST_CYCLES = 1 << 62


@dataclass(frozen=True, eq=False)
class Costs:
    """Of S networks on N accelerators.

    Attributes:
        all_cycles: per frame, on each accelerator, int64 ``[S, N]``.
        stream_bytes: weights and row parameters that a frame reads, int64 ``[S]``.
        average_bits: bits of a weight, over all weights, float64 ``[S]``.
    """

    all_cycles: np.ndarray
    stream_bytes: np.ndarray
    average_bits: np.ndarray

    @property
    def cycles(self) -> np.ndarray:
        """On the accelerator that is fastest for the network, int64 ``[S]``."""
        return np.asarray(self.all_cycles.min(axis=1))

    def take(self, index: Any) -> Costs:
        """Those of some networks."""
        return Costs(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[Costs]) -> Costs:
        """One after the other."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})


class Hardware:
    """The cost model of a space's networks on some accelerators, each network on the one that suits it best.

    Args:
        genome: encoding of the networks.
        accelerators: at least one; each holds all networks.
        board: whose memory the weights come from.
        clock_mhz: of the accelerators.
    """

    def __init__(
        self, genome: Genome, accelerators: Sequence[Accelerator], board: Board, clock_mhz: float
    ) -> None:
        self.genome = genome
        self.accelerators = tuple(accelerators)
        self.board = board
        self.clock_mhz = clock_mhz
        rate = bytes_per_cycle(board, clock_mhz)
        self._tiles = [Tiles.of_config(a.config, rate) for a in self.accelerators]

    def costs(self, rows: np.ndarray) -> Costs:
        """Of networks, int64 rows ``[S, G]``; what a network costs does not depend on the others."""
        if not len(rows):
            none = np.zeros(0, np.int64)
            return Costs(np.zeros((0, len(self.accelerators)), np.int64), none, none.astype(np.float64))
        # Keys of 4 bits are one digit: other layers, so other networks.
        two_digits = self.genome.activation_bits(rows) > 4
        parts, order = [], []
        for kind in (False, True):
            here = np.flatnonzero(two_digits == kind)
            for start in range(0, len(here), _CHUNK):
                order.append(here[start : start + _CHUNK])
                parts.append(self._of_alike(rows[order[-1]]))
        return Costs.joined(parts).take(np.argsort(np.concatenate(order)))

    def frames_per_second(self, cycles: np.ndarray) -> np.ndarray:
        """From cycles per frame, float64."""
        return np.asarray(self.clock_mhz * 1e6 / cycles)

    def most_cycles(self, fps: float) -> int:
        """Cycles per frame with which a rate is just reached; at most as many as int64 holds."""
        return int(min(self.clock_mhz * 1e6 // fps, _MOST_CYCLES))

    def smallest_share(self, costs: Costs, most_cycles: int) -> np.ndarray:
        """Of networks, the share of the board of the smallest accelerator on which each takes at most so many
        cycles; float64 ``[S]``, infinite where none is fast enough."""
        shares = np.array([accelerator.share for accelerator in self.accelerators])
        return np.asarray(np.where(costs.all_cycles <= most_cycles, shares, np.inf).min(axis=1))

    def fastest(self) -> np.ndarray:
        """The row ``[G]`` of the network that takes the fewest cycles.

        From the smallest network on, the best single change is made for as long as there is one: fewer cycles
        than the smallest network's come only from how widths divide into tiles.
        """
        genome = self.genome
        best = genome.rows([genome.space.smallest()])
        cycles = int(self.costs(best).cycles[0])
        while True:
            index = np.arange(genome.length).repeat(genome.choices)
            value = np.concatenate([np.arange(count) for count in genome.choices])
            near = best.repeat(len(index), axis=0)
            near[np.arange(len(index)), index] = value
            near = np.unique(genome.canonical(near), axis=0)
            taken = self.costs(near).cycles
            if taken.min() >= cycles:
                return np.asarray(best[0])
            best, cycles = near[[int(taken.argmin())]], int(taken.min())

    def _of_alike(self, rows: np.ndarray) -> Costs:
        """Of at most ``_CHUNK`` networks, whose keys all have one digit or all two."""
        nets = self.genome.architectures(rows)
        shape = vit_shape(nets)
        pixels = int(nets.channels) * int(nets.image_size) ** 2
        cycles = [
            frame_cycles(shape, tiles) + (0 if a.config.image_ahead else pixels // a.config.image_pixels)
            for a, tiles in zip(self.accelerators, self._tiles, strict=True)
        ]
        return Costs(np.ceil(np.stack(cycles, axis=1)).astype(np.int64), *_weights(shape))


def _weights(shape: NetworkShape) -> tuple[np.ndarray, np.ndarray]:
    """Bytes that a frame streams, without the padding of tiles and beats; average bits of a weight."""
    streamed = (shape.unit == Unit.GEMM) & (shape.from_memory == 0)
    inputs = np.where(streamed, shape.k * shape.k_parts, 0)
    nibbles = ((shape.rows + shape.rows8) * inputs).sum(axis=-1)
    weights = (shape.rows * inputs).sum(axis=-1)
    parameters = np.where(streamed, shape.rows, 0).sum(axis=-1) * (PARAMETER_BITS // 8)
    return nibbles // 2 + parameters, 4 * nibbles / np.maximum(weights, 1)
