"""Cases for the vector units: memories, descriptors, and what ``vector_units.cpp`` answers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from vector_bench import Bench

from qvit_hls.hw.descriptor import Descriptor

UNITS = ("mean", "image", "result", "trace")
#: Wide, activation and digit memory, each ``[channels, T_n]``.
Memories = tuple[np.ndarray, np.ndarray, np.ndarray]

_SUMMARY = 6


@dataclass(frozen=True)
class Shape:
    """Parameters of the bench, named as in the units, and the most channels of a case."""

    tokens: int
    depth: int
    max_tokens: int
    max_channels: int
    pixels: int

    @property
    def parameters(self) -> dict[str, int]:
        """Verilog parameters."""
        names = ("T_N", "T_K", "MAX_TOKENS", "IMAGE_PIXELS")
        values = (self.tokens, self.depth, self.max_tokens, self.pixels)
        return dict(zip(names, values, strict=True))

    def tiles(self, tokens: int) -> int:
        """Token tiles of a tensor."""
        return -(-tokens // self.tokens)

    def padded(self, channels: int) -> int:
        """Channels in whole words."""
        return -(-channels // self.depth) * self.depth


@dataclass
class Case:
    """One run of one unit.

    Attributes:
        wide, activation, digit: memories before and, in what is expected, after: ``[channels, T_n]``.
        stall: the streams pause with a probability of stall / 256.
    """

    unit: str
    descriptor: Descriptor
    wide: np.ndarray
    activation: np.ndarray
    digit: np.ndarray
    image: bytes = b""
    stall: int = 0
    limit: int = 200_000

    def packed(self, seed: int) -> bytes:
        """The case as the program reads it."""
        sizes = (len(self.wide), len(self.image) // 16)
        header = struct.pack("<6i", UNITS.index(self.unit), self.stall, seed, self.limit, *sizes)
        arrays = (self.descriptor.words(), self.wide, self.activation, self.digit)
        return header + b"".join(a.tobytes() for a in arrays) + self.image


@dataclass(frozen=True)
class Outcome:
    """What one run left behind.

    Attributes:
        cycles: from start to done, -1 when it never was.
    """

    cycles: int
    writes: int
    late_writes: int
    breaches: int
    words_taken: int
    wide: np.ndarray
    activation: np.ndarray
    digit: np.ndarray
    streamed: np.ndarray


def run(bench: Bench, cases: Sequence[Case]) -> list[Outcome]:
    """All cases, one after the other in one simulation; none may write late or break a handshake."""
    data = bench.run(b"".join(case.packed(seed) for seed, case in enumerate(cases)))
    position = 0

    def take(dtype: Any, *shape: int) -> np.ndarray:
        nonlocal position
        array = np.frombuffer(data, dtype, int(np.prod(shape)), position).reshape(shape)
        position += array.nbytes
        return array

    outcomes = []
    for case in cases:
        cycles, writes, late_writes, breaches, words_taken, values = take(np.int32, _SUMMARY).tolist()
        cells = case.wide.shape
        outcome = Outcome(
            cycles,
            writes,
            late_writes,
            breaches,
            words_taken,
            take(np.int16, *cells),
            take(np.int8, *cells),
            take(np.int8, *cells),
            take(np.int16, values),
        )
        assert outcome.cycles >= 0, f"{case.unit} was not done after {case.limit} cycles: {case.descriptor}"
        assert outcome.late_writes == 0 and outcome.breaches == 0
        outcomes.append(outcome)
    assert position == len(data)
    return outcomes


def random_memories(shape: Shape, rng: np.random.Generator, channels: int) -> Memories:
    """Wide, activation and digit memory with random contents."""
    cells = (channels, shape.tokens)
    return (
        rng.integers(-32768, 32768, cells).astype(np.int16),
        rng.integers(-128, 128, cells).astype(np.int8),
        rng.integers(-128, 128, cells).astype(np.int8),
    )


def place(
    shape: Shape, memory: np.ndarray, tensor: np.ndarray, base: int, stride: int, first_token: int = 0
) -> None:
    """Write ``tensor [tokens, channels]`` into ``memory [channels, T_n]`` as tokens from the first one on."""
    for token, row in enumerate(tensor, first_token):
        start = base + token // shape.tokens * stride
        memory[start : start + len(row), token % shape.tokens] = row
