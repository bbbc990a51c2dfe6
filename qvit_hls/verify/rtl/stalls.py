"""Random stalls of a bench's streams: thresholds and seeds for ``bench/bench_stalls.sv``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_ONE = 1 << 16
_BURST_CYCLES = 16


@dataclass(frozen=True)
class Stalls:
    """How often the streams are held back.

    Attributes:
        share: of the cycles, from 0 to 0.95; single cycles and bursts of 16 in turn.
        seed: of all that is random.
    """

    share: float = 0.0
    seed: int = 0

    def thresholds(self) -> dict[str, int]:
        """The bench's inputs, shares of 2**16."""
        burst = max(_BURST_CYCLES, math.ceil(self.share / (1 - self.share)))
        begin = self.share / ((1 - self.share) * burst)
        single = round(self.share * _ONE)
        return {
            "single": single,
            "burst_begin": round(begin * _ONE),
            "burst_stay": round((1 - 1 / burst) * _ONE) if single else 0,
        }

    def seeds(self, count: int) -> list[int]:
        """Seeds of ``count`` streams, each from 1 to 2**32 - 1."""
        return [max(1, int(word)) for word in np.random.SeedSequence(self.seed).generate_state(count)]
