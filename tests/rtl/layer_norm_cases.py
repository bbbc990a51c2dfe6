"""LayerNorm cases: what the drain adds, when steps are allowed, and what must follow."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from vector_bench import Bench

from qvit_hls.hw.descriptor import Descriptor, Unit
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.execute_integer import INTEGER_RULES

#: Cycles from `advance` to the added group that takes a step's place at the lanes: READ_LATENCY + 1.
_ADDED = 3


@dataclass(frozen=True)
class Shape:
    """Parameters of the unit: tokens at once, the most tokens and channels, channels per cycle, shifts."""

    lanes: int
    max_tokens: int
    max_channels: int
    channels: int
    shifts: bool = False

    @property
    def parameters(self) -> dict[str, int]:
        """Verilog parameters."""
        return {
            "T_N": self.lanes,
            "MAX_TOKENS": self.max_tokens,
            "MAX_CHANNELS": self.max_channels,
            "CHANNELS": self.channels,
            "SHIFTS": int(self.shifts),
        }

    def tiles(self, tokens: int) -> int:
        """Token tiles of a tensor."""
        return -(-tokens // self.lanes)

    def steps(self, channels: int) -> int:
        """Steps of a pass over a token tile."""
        return -(-channels // self.channels)

    @property
    def scaling(self) -> int:
        """Latency of layer_norm_scale.sv."""
        bits = 16 + self.max_channels.bit_length()
        return 6 + -(-bits // 2) + (bits - 1).bit_length() + 9

    @property
    def token_counts(self) -> list[int]:
        """One token, part of a tile, exactly one, one more, several with a rest."""
        t = self.lanes
        return [1, t - 1, t, t + 1, 3 * t, self.max_tokens]

    @property
    def channel_counts(self) -> tuple[int, ...]:
        """One channel, few, odd, the most."""
        half = self.max_channels // 2
        return (1, 2, 7, half + 1 - half % 2, self.max_channels)


@dataclass(frozen=True)
class Group:
    """What the drain adds in one cycle.

    Attributes:
        flags: first of the layer | start of the slot << 1 | end of the slot << 2.
        addresses: of its channels, -1 where there is none.
        values: ``[channels per cycle, T_n]`` int16.
    """

    cycle: int
    tile: int
    flags: int
    addresses: tuple[int, ...]
    values: np.ndarray


@dataclass
class Script:
    """What surrounds the unit, cycle by cycle; it starts in cycle ``start``."""

    start: int
    advance: np.ndarray
    ready: np.ndarray
    groups: list[Group] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """One LayerNorm. Memories are ``[channels, T_n]``, ``expected`` is the activation memory after it."""

    descriptor: Descriptor
    script: Script
    wide: np.ndarray
    activation: np.ndarray
    expected: np.ndarray
    shifts: np.ndarray | None = None

    def packed(self) -> bytes:
        """The case as the program reads it."""
        script = self.script
        sizes = (len(self.wide), len(script.advance), script.start, len(script.groups))
        arrays = [self.descriptor.words(), self.wide, self.activation]
        arrays += [script.advance.astype(np.uint8), script.ready.astype(np.uint16)]
        if self.shifts is not None:
            arrays.append(self.shifts)
        for group in script.groups:
            arrays.append(np.array((group.cycle, group.tile, group.flags, *group.addresses), np.int32))
        arrays += [group.values.astype(np.int16) for group in script.groups]
        return struct.pack("<4i", *sizes) + b"".join(array.tobytes() for array in arrays)


@dataclass(frozen=True)
class Outcome:
    """What one run was like.

    Attributes:
        cycles: from start to done.
        inside: groups that were added in the middle of a token tile's codes.
    """

    cycles: int
    inside: int


def run(bench: Bench, shape: Shape, cases: Sequence[Case]) -> list[Outcome]:
    """All cases, one after the other in one simulation, each of them checked."""
    data = bench.run(b"".join(case.packed() for case in cases))
    outcomes, position = [], 0
    for case in cases:
        d = case.descriptor
        summary = np.frombuffer(data, np.int32, 7, position).tolist()
        done, writes, late, forbidden, announced, counts, inside = summary
        position += 28
        activation = np.frombuffer(data, np.int8, case.activation.size, position).reshape(
            case.activation.shape
        )
        position += activation.size
        assert done >= 0, f"The unit was not done: {d}"
        assert writes == shape.tiles(d.tokens) * d.k
        assert late == 0, "Writes before `start`, after `done`, or a second `done`."
        assert forbidden == 0, "Codes of steps that were not allowed."
        assert announced == 0, "`write_soon` is not the next cycle's write."
        assert counts == 0, "`tiles_done` is not what has been written."
        compared = activation.copy()
        last = d.y_base + (shape.tiles(d.tokens) - 1) * d.y_stride
        absent = d.tokens % shape.lanes or shape.lanes
        compared[last : last + d.k, absent:] = case.expected[last : last + d.k, absent:]
        assert np.array_equal(compared, case.expected)
        outcomes.append(Outcome(done - case.script.start, inside))
    assert position == len(data)
    return outcomes


def residuals(rng: np.random.Generator, tokens: int, channels: int) -> np.ndarray:
    """Residual streams of every size, and tokens at the extremes: ``[tokens, channels]``."""
    x = rng.integers(-32768, 32768, (tokens, channels)) >> rng.integers(0, 15, (tokens, 1))
    x += rng.integers(-3000, 3000, (tokens, 1))
    x = np.clip(x, -32768, 32767)
    extremes = [32767, -32768, 0, np.where(np.arange(channels) % 2, 32767, -32768)]
    for token, extreme in zip(rng.permutation(tokens), extremes, strict=False):
        x[token] = extreme
    return x


def random_op(rng: np.random.Generator, shifts: np.ndarray | None = None) -> ops.IntegerLayerNorm:
    return ops.IntegerLayerNorm(
        epsilon=int(rng.integers(1, 1 << int(rng.integers(1, 33)))),
        multiplier=int(rng.integers(32768, 65536)),
        exponent=int(rng.integers(1, 20)),
        qmax=int(rng.choice([7, 63, 127])),
        shifts=shifts,
    )


def place(shape: Shape, memory: np.ndarray, tensor: np.ndarray, base: int, stride: int) -> None:
    """Write ``tensor [tokens, channels]`` into ``memory [channels, T_n]``."""
    for token, row in enumerate(tensor):
        start = base + token // shape.lanes * stride
        memory[start : start + len(row), token % shape.lanes] = row


def cuts(rng: np.random.Generator, count: int, most: int) -> list[np.ndarray]:
    """Numbers 0 to count - 1 in any order, in pieces of at most ``most``."""
    order, pieces = rng.permutation(count), []
    while len(order):
        size = int(rng.integers(1, most + 1))
        pieces.append(order[:size])
        order = order[size:]
    return pieces


def drained(
    shape: Shape, rng: np.random.Generator, x: np.ndarray, base: int, stride: int, most_rows: int, pause: int
) -> tuple[list[Group], list[int]]:
    """A GEMM's drain that adds ``x [tokens, channels]``: row tile by row tile, all token tiles of each.

    Args:
        most_rows: of a row tile.
        pause: the most cycles between two slots.

    Returns:
        Its groups, and for each token tile the cycle of its last one.
    """
    groups: list[Group] = []
    ends = [0] * shape.tiles(len(x))
    cycle = _ADDED
    padded = rng.integers(-32768, 32768, (len(ends) * shape.lanes, x.shape[1]))
    padded[: len(x)] = x
    for index, rows in enumerate(cuts(rng, x.shape[1], most_rows)):
        for tile in range(len(ends)):
            cycle += int(rng.integers(0, pause + 1))
            values = padded[tile * shape.lanes : (tile + 1) * shape.lanes]
            at = 0
            while at < len(rows):
                # Two rows of one bank go one after the other, each in its place.
                pair = shape.channels == 2 and at + 1 < len(rows)
                places = [[at, at + 1]] if pair and rng.random() < 0.7 else [[at, -1], [-1, at + 1]]
                for rows_of in places if pair else [[at, -1]]:
                    rows_of = rows_of[: shape.channels]
                    start = at == 0 and rows_of[0] == 0
                    end = max(rows_of) == len(rows) - 1
                    addresses = tuple(base + tile * stride + int(rows[i]) if i >= 0 else -1 for i in rows_of)
                    noise = rng.integers(-32768, 32768, shape.lanes)
                    data = np.stack([values[:, rows[i]] if i >= 0 else noise for i in rows_of])
                    groups.append(
                        Group(cycle, tile, int(index == 0) | start << 1 | end << 2, addresses, data)
                    )
                    cycle += 1
                at += 2 if pair else 1
            ends[tile] = cycle - 1
    return groups, ends


@dataclass(frozen=True)
class Around:
    """How a LayerNorm's surroundings are.

    Attributes:
        added: the drain presents the values, so that moments come from it; else they are all there, but
            not all ready.
        stalls: share of the cycles without `advance`, besides those that the drain needs.
        early: the share of the drain's time after which the unit starts; beyond 1 it is over then.
        most_rows: of a row tile, by which the drain goes.
        pause: the most cycles between two slots of the drain, or two token tiles that get ready.
        other_tokens: added, but not normalized.
    """

    added: bool = False
    stalls: float = 0.0
    early: float = 1.5
    most_rows: int = 10
    pause: int = 0
    other_tokens: int = 0


def layer(shape: Shape, rng: np.random.Generator, tokens: int, channels: int, around: Around) -> Case:
    """A LayerNorm at random places; of a unit with shifts, half of them have a table."""
    all_tokens = tokens + around.other_tokens
    tiles = shape.tiles(all_tokens)
    x = residuals(rng, all_tokens, channels)
    table = rng.integers(0, ops.MAX_CHANNEL_SHIFT + 1, channels, np.uint8)
    shifts = table if shape.shifts and rng.random() < 0.5 else None
    op = random_op(rng, shifts)
    room = -(-channels // shape.channels) * shape.channels
    (x_base, y_base), (x_more, y_more) = rng.integers(0, 5, (2, 2)) * shape.channels
    x_stride, y_stride = room + int(x_more), room + int(y_more)
    size = 20 + tiles * (max(x_stride, y_stride) + 1)
    wide = rng.integers(-32768, 32768, (size, shape.lanes)).astype(np.int16)
    activation = rng.integers(-128, 128, (size, shape.lanes)).astype(np.int8)
    descriptor = Descriptor(
        unit=Unit.LAYER_NORM,
        tokens=tokens,
        k=channels,
        rows=channels if around.added else 0,
        x_base=int(x_base),
        x_stride=x_stride,
        y_base=int(y_base),
        y_stride=y_stride,
        multiplier=op.multiplier,
        shift=op.exponent,
        qmax=op.qmax,
        table_entries=0 if shifts is None else channels,
        epsilon_low=op.epsilon & 0xFFFFFFFF,
        epsilon_high=op.epsilon >> 32,
    )
    groups: list[Group] = []
    if around.added:
        groups, ends = drained(shape, rng, x, int(x_base), x_stride, around.most_rows, around.pause)
    else:
        place(shape, wide, x, int(x_base), x_stride)
        ends = np.cumsum(rng.integers(0, around.pause + 1, tiles)).tolist()
    cycles = ends[-1] + 4 * (2 * shape.steps(channels) + 2 * shape.lanes) * tiles + 300
    advance = rng.random(cycles) >= around.stalls
    for group in groups:
        advance[group.cycle - _ADDED] = False
    ready = (np.arange(cycles)[:, None] >= np.array(ends)).sum(1)
    start = int(ends[-1] * around.early) if ends[-1] else 0
    expected = activation.copy()
    reference = INTEGER_RULES[ops.IntegerLayerNorm](op, torch.from_numpy(x[:tokens].astype(np.int64))[None])
    place(shape, expected, reference[0].numpy(), int(y_base), y_stride)
    return Case(descriptor, Script(start, advance, ready, groups), wide, activation, expected, shifts)
