"""Softmax cases: what the unit may read when, and what it must do in every cycle (``vector_softmax.cpp``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from vector_bench import Bench

from qvit_hls.hw.descriptor import Descriptor, Unit
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.execute_integer import INTEGER_RULES, reciprocal

#: Exponents of the first 256 distances.
TABLE = np.floor(119 * np.exp(-0.03 * np.arange(256)) + 0.5).astype(np.uint8)
#: qvit_pkg::SOFTMAX_WRITE: from a step to the write of its exponents.
WRITE = 4
_NORMALIZERS = 4096


@dataclass(frozen=True)
class Shape:
    """Parameters of the unit: tokens at once, the most keys, keys per cycle."""

    lanes: int
    max_tokens: int
    keys: int

    @property
    def parameters(self) -> dict[str, int]:
        """Verilog parameters."""
        return {"T_N": self.lanes, "MAX_TOKENS": self.max_tokens, "KEYS": self.keys}

    def tiles(self, tokens: int) -> int:
        """Token tiles of a tensor."""
        return -(-tokens // self.lanes)

    def last_tile(self, tokens: int) -> int:
        """Tokens of the last token tile."""
        return tokens - (self.tiles(tokens) - 1) * self.lanes

    def service(self, tokens: int) -> int:
        """Cycles from the last step to `done`."""
        sum_bits = 7 + self.max_tokens.bit_length()
        return self.last_tile(tokens) + 16 + (sum_bits - 1).bit_length()


@dataclass(frozen=True)
class Conditions:
    """What the unit finds around it.

    Attributes:
        stalls: share of the cycles in which no step may be taken.
        late: token tiles get ready one after the other, some of them later than the unit could begin them.
    """

    stalls: float = 0.0
    late: bool = False


@dataclass(frozen=True)
class Case:
    """One run, and all that it must do.

    Attributes:
        advance: bool ``[cycles]``, from the cycle of `start` on.
        ready: token tiles that are ready, int16 ``[cycles]``.
        wide, digit: memories before, ``[channels, lanes]``.
        maximum: int16 ``[tiles, lanes]``.
        written: mask of the keys that are written, uint8 ``[cycles]``.
        done: the cycle of `done`.
    """

    descriptor: Descriptor
    advance: np.ndarray
    ready: np.ndarray
    wide: np.ndarray
    digit: np.ndarray
    maximum: np.ndarray
    table: np.ndarray
    written: np.ndarray
    done: int
    digit_after: np.ndarray
    normalizers: np.ndarray

    def packed(self) -> bytes:
        """The case as the program reads it."""
        sizes = (len(self.advance), len(self.wide), len(self.maximum), len(self.table))
        arrays = (np.array(sizes, np.int32), self.descriptor.words(), self.wide, self.digit, self.maximum)
        given = (self.table, self.advance.astype(np.uint8), self.ready.astype(np.int16))
        return b"".join(array.tobytes() for array in (*arrays, *given))


@dataclass(frozen=True)
class Outcome:
    """What one run did: per cycle, and in the end."""

    done: np.ndarray
    written: np.ndarray
    normalized: np.ndarray
    digit: np.ndarray
    normalizers: np.ndarray


def run(bench: Bench, cases: Sequence[Case]) -> list[Outcome]:
    """All cases, one after the other in one simulation."""
    data = bench.run(b"".join(case.packed() for case in cases))
    position = 0

    def take(dtype: type[np.generic], *shape: int) -> np.ndarray:
        nonlocal position
        array = np.frombuffer(data, dtype, int(np.prod(shape)), position).reshape(shape)
        position += array.nbytes
        return array

    outcomes = []
    for case in cases:
        cycles = len(case.advance)
        per_cycle = (take(np.uint8, cycles), take(np.uint8, cycles), take(np.uint8, cycles))
        outcomes.append(Outcome(*per_cycle, take(np.int8, *case.digit.shape), take(np.int32, _NORMALIZERS)))
    assert position == len(data)
    return outcomes


def step_cycles(shape: Shape, tokens: int, keys: int, advance: np.ndarray, ready: np.ndarray) -> list[int]:
    """The cycle of every step: the first that is free and whose tile is ready. A tile's last step also waits
    until the sums of the tile before are all taken over."""
    groups = -(-keys // shape.keys)
    steps: list[int] = []
    cycle = 0
    sums_free = 0
    for tile in range(shape.tiles(tokens)):
        for group in range(groups):
            earliest = max(cycle + 1, sums_free if group == groups - 1 else 0)
            free = advance[earliest:] & (ready[earliest:] > tile)
            assert free.any(), "the given cycles are too few"
            cycle = earliest + int(free.argmax())
            steps.append(cycle)
        sums_free = cycle + shape.lanes
    return steps


def region(shape: Shape, rng: np.random.Generator, tiles: int, keys: int) -> tuple[int, int, int]:
    """Base, stride and end of a region at whole groups, with room between the tiles."""
    groups = -(-keys // shape.keys)
    base, stride = (shape.keys * int(n) for n in (rng.integers(0, 8), groups + rng.integers(0, 6)))
    return base, stride, base + tiles * stride


def surroundings(
    shape: Shape, rng: np.random.Generator, tiles: int, keys: int, conditions: Conditions
) -> tuple[np.ndarray, np.ndarray]:
    """More cycles than a run takes: whether a step may be taken, how many tiles are ready."""
    tile_cycles = max(-(-keys // shape.keys), shape.lanes)
    cycles = 200 + int(3 * tiles * tile_cycles / (1 - conditions.stalls))
    advance = rng.random(cycles) >= conditions.stalls
    # No tile is ready in the cycle of `start` if tiles come late.
    begin = np.cumsum(rng.integers(1, 2 * tile_cycles, tiles)) if conditions.late else np.zeros(tiles, int)
    return advance, (np.arange(cycles)[:, None] >= begin).sum(axis=1)


def softmax_case(
    shape: Shape,
    rng: np.random.Generator,
    tokens: int,
    keys: int,
    table: np.ndarray | None,
    conditions: Conditions,
) -> Case:
    """Softmax of random scores at random places; ``table`` None: the one that is there is ``TABLE``."""
    tiles = shape.tiles(tokens)
    x_base, x_stride, x_end = region(shape, rng, tiles, keys)
    y_base, y_stride, y_end = region(shape, rng, tiles, keys)
    cells = (max(x_end, y_end) + shape.keys, shape.lanes)
    wide = rng.integers(-32768, 32768, cells).astype(np.int16)
    digit = rng.integers(-128, 128, cells).astype(np.int8)

    scores = rng.integers(-32767, 32768, (tiles * shape.lanes, keys)) >> rng.integers(
        0, 15, (tiles * shape.lanes, 1)
    )
    maximum = scores.max(axis=1)
    maximum[tokens:] = rng.integers(-32768, 32768, len(maximum) - tokens)
    multiplier, exponent = int(rng.integers(32768, 65536)), int(rng.integers(0, 25))
    used = TABLE if table is None else table
    exponents = used[np.clip(maximum[:, None] - scores, 0, len(used) - 1)].astype(np.int64)
    reference = INTEGER_RULES[ops.SoftmaxExponents](
        ops.SoftmaxExponents(table=used), torch.from_numpy(scores[:tokens])[None]
    )
    assert np.array_equal(exponents[:tokens], reference[0].numpy()), "the case's own formula"
    mantissa, shift = reciprocal(torch.from_numpy(exponents[:tokens].sum(axis=1)), multiplier, exponent)
    normalizers = np.full(_NORMALIZERS, -1)
    normalizers[:tokens] = (mantissa << 6 | shift).numpy()
    digit_after = digit.copy()
    for tile in range(tiles):
        lanes = slice(tile * shape.lanes, (tile + 1) * shape.lanes)
        wide[x_base + tile * x_stride :][:keys] = scores[lanes].T
        digit_after[y_base + tile * y_stride :][:keys] = exponents[lanes].T

    advance, ready = surroundings(shape, rng, tiles, keys, conditions)
    steps = np.array(step_cycles(shape, tokens, keys, advance, ready))
    done = int(steps[-1]) + shape.service(tokens)
    # The next run starts right after `done`, or later.
    cycles = done + 1 + int(rng.choice([0, 1, 30]))
    groups = -(-keys // shape.keys)
    masks = np.full(groups, 2**shape.keys - 1)
    masks[-1] = 2 ** (keys - (groups - 1) * shape.keys) - 1
    written = np.zeros(cycles, np.uint8)
    written[steps + WRITE] = np.tile(masks, tiles)
    return Case(
        descriptor=Descriptor(
            unit=Unit.SOFTMAX,
            tokens=tokens,
            k=keys,
            x_base=x_base,
            x_stride=x_stride,
            y_base=y_base,
            y_stride=y_stride,
            multiplier=multiplier,
            shift=exponent,
            table_entries=0 if table is None else len(table),
        ),
        advance=advance[:cycles],
        ready=ready[:cycles],
        wide=wide,
        digit=digit,
        maximum=maximum.astype(np.int16).reshape(tiles, -1),
        table=np.zeros(0, np.uint8) if table is None else table,
        written=written,
        done=done,
        digit_after=digit_after,
        normalizers=normalizers,
    )
