"""How many block RAMs and LUTs a memory of the RTL engine takes on UltraScale+.

A memory with one write and one read port (``memory/ram.sv``) is built from RAMs of equal size, side by side
for its width and, behind a multiplexer, on top of each other for its depth. Of all sizes the cheapest is
taken, by the costs of Yosys's library for the family; block RAMs of 18 and 36 Kbit in all their aspect
ratios, or LUTs. UltraRAM is not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Numbers of one memory, or arrays over memories.
Numbers = int | np.ndarray

_HALF_DEPTH, _FULL_DEPTH = 1 << 14, 1 << 15  # of block RAMs one bit wide
_HALF_COST, _FULL_COST = 129, 257
_BYTE = 9  # bits of a block RAM that have a write enable in common
#: Data bits of a block RAM's word, and its words as a share of those of one bit.
_ASPECTS = ((1, 1), (2, 2), (4, 4), (9, 8), (18, 16), (36, 32), (72, 64))
#: Depth and width of the LUT memories RAM32M16 and RAM64M8; each takes eight LUT sites.
_LUT_MEMORIES = ((32, 14), (64, 7))
_LUT_COST, _LUT_SITES = 16, 8
_MULTIPLEXER_COST = 0.5  # of a bit and a further RAM on top
_LANE_SHIFT, _DEPTH_SHIFT = 17, 34  # places of a memory's lanes and depth in one number


@dataclass(frozen=True, eq=False)
class Memory:
    """What memories take; numbers or arrays over memories.

    Attributes:
        bram18: block RAMs of 18 Kbit; one of 36 Kbit counts two.
        lutram: LUT sites used as memory.
        multiplexed: bits that a multiplexer of two makes, for RAMs on top of each other.
    """

    bram18: np.ndarray
    lutram: np.ndarray
    multiplexed: np.ndarray


def memory(depth: Numbers, lanes: Numbers, lane_bits: Numbers) -> Memory:
    """A ``memory/ram.sv``: ``depth`` words of ``lanes * lane_bits`` bits, a write enable for each lane."""
    return _cheapest(depth, lanes, lane_bits, block=True)


def lut_memory(depth: Numbers, lanes: Numbers, lane_bits: Numbers) -> Memory:
    """The same for a memory that is read without a clock, which only LUTs can be."""
    return _cheapest(depth, lanes, lane_bits, block=False)


def _cheapest(depth: Numbers, lanes: Numbers, lane_bits: Numbers, block: bool) -> Memory:
    arrays = np.broadcast_arrays(*(np.asarray(n, np.int64) for n in (depth, lanes, lane_bits)))
    # Many accelerators have few different memories.
    keys = (arrays[0] << _DEPTH_SHIFT) | (arrays[1] << _LANE_SHIFT) | arrays[2]
    shapes, place = np.unique(keys, return_inverse=True)
    words, count = shapes >> _DEPTH_SHIFT, shapes >> _LANE_SHIFT & (1 << _DEPTH_SHIFT - _LANE_SHIFT) - 1
    bits = shapes & (1 << _LANE_SHIFT) - 1
    options = [_of_luts(words, count, bits, *shape) for shape in _LUT_MEMORIES]
    if block:
        options += [
            _of_blocks(words, count, bits, width, share, full)
            for width, share in _ASPECTS
            for full in (False, True)
            if full or width <= _ASPECTS[-2][0]
        ]
    best = np.stack([option[0] for option in options]).argmin(axis=0)
    some = words > 1  # a single word is registers
    each = np.arange(len(words))
    bram18, lutram, multiplexed = (
        (np.stack([option[i] for option in options])[best, each] * some)[place.ravel()].reshape(
            arrays[0].shape
        )
        for i in (1, 2, 3)
    )
    return Memory(bram18, lutram, multiplexed)


def _of_luts(
    depth: np.ndarray, lanes: np.ndarray, lane_bits: np.ndarray, ram_depth: int, ram_width: int
) -> tuple[np.ndarray, ...]:
    high = -(-depth // ram_depth)
    # A RAM has one write enable, so lanes share none; of a RAM partly used a part is charged.
    rams = high * lanes * -(-lane_bits // ram_width)
    cost = _LUT_COST * high * lanes * lane_bits / ram_width
    multiplexed = (high - 1) * lanes * lane_bits
    total = cost + _MULTIPLEXER_COST * (multiplexed + (high - 1) * lanes)
    return total, np.zeros_like(rams), rams * _LUT_SITES, multiplexed


def _of_blocks(
    depth: np.ndarray, lanes: np.ndarray, lane_bits: np.ndarray, width: int, share: int, full: bool
) -> tuple[np.ndarray, ...]:
    high = -(-depth // ((_FULL_DEPTH if full else _HALF_DEPTH) // share))
    if width < _BYTE:
        side = lanes * -(-lane_bits // width)
    else:
        # Lanes begin at bytes of nine bits, if there is more than one.
        used = np.where(lanes > 1, lanes * -(-lane_bits // _BYTE) * _BYTE, lane_bits)
        side = -(-used // width)
    rams, multiplexed = high * side, (high - 1) * lanes * lane_bits
    cost = (_FULL_COST if full else _HALF_COST) * rams
    total = cost + _MULTIPLEXER_COST * (multiplexed + (high - 1) * lanes)
    return total, rams * (2 if full else 1), np.zeros_like(rams), multiplexed
