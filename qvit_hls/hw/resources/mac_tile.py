"""What the MAC tile takes: counted from its structure, without a fit.

The functions about trees and delays are those of ``mac/mac_pkg.sv``. A delay of three cycles or more becomes
a shift register, one LUT for each bit; a shorter one registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from qvit_hls.hw.accelerator import CASCADE, DSP_LANES
from qvit_hls.quant.levels import MAX_ACTIVATION_BITS, MIN_ACTIVATION_BITS

_FIELD = 11  # bits between products that share a DSP slice
_SHIFT_REGISTER = 3  # the shortest delay that becomes one
_DEPTHS = (2, 4, 8, 16, 32)
#: LUTs that pack a pair of tokens at one of T_k: a borrow of A bits. None at A = 8.
_TOKEN_BORROW = {4: 4, 5: 5, 6: 7, 7: 9, 8: 0}
_ROW_BORROW = 5  # the same for a weight on top of another
_CONTROL_LUT, _CONTROL_FF = 4, 9


@dataclass(frozen=True)
class Delays:
    """What delay lines of one bit each take, summed over T_k."""

    srl: int
    ff: int

    @classmethod
    def of(cls, cycles: list[int]) -> Delays:
        """Of lines of so many cycles."""
        short = [c for c in cycles if c < _SHIFT_REGISTER]
        return cls(len(cycles) - len(short), sum(short))


@dataclass(frozen=True)
class _Tree:
    """An adder tree without its accumulator."""

    lut: int
    ff: int
    levels: int
    term_levels: tuple[int, ...]
    adder_levels: tuple[int, ...]


@cache
def _tree(terms: int, bits: int) -> _Tree:
    """Three nodes become one, level by level, until one or two are left; terms pass without registers."""
    nodes, waiting, lut, ff, level = terms, terms, 0, 0, 0
    term_levels = [0] * terms
    adder_levels: list[int] = []
    while nodes > 2:
        adders = nodes // 3
        adder_levels += [level] * adders
        waiting = min(waiting, nodes % 3)
        nodes = adders + nodes % 3
        level += 1
        width = bits + (min(3**level, terms) - 1).bit_length()
        lut += adders * width
        ff += (nodes - waiting) * width
        for term in range(terms - waiting, terms):
            term_levels[term] = level
    return _Tree(lut, ff, level, tuple(term_levels), (*adder_levels, level))


@dataclass(frozen=True)
class _Shape:
    """LUT (shift registers included) and FF of a DSP field, row and token, a LUT lane, row and token."""

    field: tuple[int, int]
    dsp_row: tuple[float, float]
    dsp_token: tuple[float, float]
    lane: tuple[int, int]
    lut_row: tuple[int, int]
    lut_token: tuple[int, int]


@cache
def _shape(bits: int, depth: int) -> _Shape:
    links = min(CASCADE[bits], depth)
    high, wide = (3, 1) if bits == 8 else (2, 2)
    tree = _tree(depth // links, _FIELD)
    late = [k % links + tree.term_levels[k // links] for k in range(depth)]
    delays = Delays.of([max(cycles, 1) for cycles in late])
    row_bits = 4 + 5 * (high - 1)
    borrow = _ROW_BORROW * (high - 1) * depth
    dsp_row = (borrow + row_bits * delays.srl) / high, row_bits * delays.ff / high
    pack = _TOKEN_BORROW[bits] * depth
    token_bits = bits * wide
    dsp_token = (pack + token_bits * delays.srl) / wide, token_bits * delays.ff / wide

    products = _tree(depth, bits + 3)
    wait = links + tree.levels + 2 - products.levels
    cycles = [wait + products.term_levels[k] for k in range(depth)]
    operand = Delays.of(cycles)
    carry = Delays.of([wait + 1 + products.adder_levels[k // 2] - cycles[k] for k in range(depth)])
    product = bits + 1 + (bits + 2) // 2
    return _Shape(
        field=(tree.lut, tree.ff),
        dsp_row=dsp_row,
        dsp_token=dsp_token,
        lane=(depth * product + products.lut, depth * (bits + 3) + products.ff),
        lut_row=(4 * operand.srl + carry.srl, 4 * operand.ff + carry.ff),
        lut_token=(bits * operand.srl, bits * operand.ff),
    )


def _table() -> np.ndarray:
    """``[A, log2 T_k, part, LUT or FF]``."""
    table = np.zeros((MAX_ACTIVATION_BITS + 1, len(_DEPTHS) + 1, 6, 2))
    for bits in range(MIN_ACTIVATION_BITS, MAX_ACTIVATION_BITS + 1):
        for depth in _DEPTHS:
            s = _shape(bits, depth)
            table[bits, depth.bit_length() - 1] = [
                s.field, s.dsp_row, s.dsp_token, s.lane, s.lut_row, s.lut_token,
            ]  # fmt: skip
    return table


_PARTS = _table()
_DSP_LANES = np.array([DSP_LANES.get(bits, 1) for bits in range(MAX_ACTIVATION_BITS + 1)])


def mac_tile(
    tokens: np.ndarray,
    rows: np.ndarray,
    depth: np.ndarray,
    bits: np.ndarray,
    dsp_rows: np.ndarray,
    sum_bits: np.ndarray,
) -> dict[str, np.ndarray]:
    """LUT (shift registers included), FF and DSP of MAC tiles; arrays over tiles.

    Args:
        tokens, rows, depth: T_n, T_m, T_k.
        bits: A.
        dsp_rows: atom rows on DSP slices.
        sum_bits: of an accumulator.
    """
    parts = _PARTS[bits, np.log2(depth).round().astype(np.int64)]
    lut_rows = rows - dsp_rows
    counts = np.stack(
        [
            tokens * dsp_rows,
            dsp_rows,
            tokens * (dsp_rows > 0),
            tokens * lut_rows,
            lut_rows,
            tokens * (lut_rows > 0),
        ],
        axis=-1,
    )
    lut, ff = np.moveaxis((parts * counts[..., None]).sum(axis=-2), -1, 0)
    accumulators = tokens * rows * sum_bits
    return {
        "lut": lut + accumulators + _CONTROL_LUT,
        "ff": ff + accumulators + _CONTROL_FF,
        "dsp": tokens * dsp_rows * depth // _DSP_LANES[bits],
    }
