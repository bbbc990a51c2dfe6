"""Randomness from counters: a run's draws depend on its seed and on where it is, not on what came before.

So a resumed run needs no generator's state, and any number of processes draws what one process does.
"""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """A fresh generator for one purpose at one place, such as ``("augment", epoch, index)``.

    Args:
        seed: of the run, not negative.
        purpose: what the draws are for; different purposes are independent.
        counters: where in the run, none negative.
    """
    return np.random.default_rng((seed, zlib.crc32(purpose.encode()), *counters))


class Order:
    """The endless order in which a run sees the samples: one permutation per epoch, one after the other.

    Args:
        seed: of the run.
        size: number of samples, at least 1.
    """

    def __init__(self, seed: int, size: int) -> None:
        self._seed = seed
        self._size = size
        self._epochs: dict[int, np.ndarray] = {}

    def sample(self, position: int) -> tuple[int, int]:
        """The epoch and the sample's index at a position of the order."""
        epoch, place = divmod(position, self._size)
        if epoch not in self._epochs:
            # Batches move forward; at an epoch's end two epochs are in use.
            self._epochs = {e: o for e, o in self._epochs.items() if e == epoch - 1}
            self._epochs[epoch] = generator(self._seed, "order", epoch).permutation(self._size)
        return epoch, int(self._epochs[epoch][place])
