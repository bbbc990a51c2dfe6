"""What each GEMM of a network takes by itself: row tiles, slots, drains, beats. Arrays ``[..., L]``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qvit_hls.hw.descriptor import Destination
from qvit_hls.hw.gemm_timing import PARAMETER_BITS
from qvit_hls.hw.timing.constants import LOAD_FLUSH, LOAD_TILE
from qvit_hls.hw.timing.network import NetworkShape
from qvit_hls.hw.timing.tiles import Numbers, Tiles

#: Rows whose parameters fit one 128-bit word.
_ROWS_PER_WORD = 128 // PARAMETER_BITS
_ATOMS_PER_WORD = 32


@dataclass(frozen=True, eq=False)
class GemmWork:
    """Quantities of GEMM layers, float64; of other layers they mean nothing.

    Attributes:
        token_tiles, k_steps, row_tiles: how the layer is cut; one slot is a row tile by a token tile.
        first_slot, last_slot: cycles between slots of the first and the last row tile.
        between: cycles from the end of the layer's first slot to the end of its last one.
        first_drain, last_drain: cycles that a slot of the first and the last row tile drains.
        drain_bound: of ``between``, cycles in which the array waits for the drain.
        load_first, load_last, load_all: the loader's cycles for row tiles.
    """

    token_tiles: np.ndarray
    k_steps: np.ndarray
    row_tiles: np.ndarray
    first_slot: np.ndarray
    last_slot: np.ndarray
    between: np.ndarray
    first_drain: np.ndarray
    last_drain: np.ndarray
    drain_bound: np.ndarray
    load_first: np.ndarray
    load_last: np.ndarray
    load_all: np.ndarray


def gemm_work(network: NetworkShape, tiles: Tiles) -> GemmWork:
    """The work of every layer; ``tiles`` holds numbers, or arrays that end in an axis of length 1."""
    t_m, half = _f(tiles.tile_rows), _f(tiles.tile_rows) / 2
    tokens, rows = _f(network.tokens), _f(network.rows)
    k_steps = _f(network.k_parts) * np.ceil(_f(network.k) / _f(tiles.tile_depth))
    token_tiles = np.ceil(tokens / _f(tiles.tile_tokens))
    # Rows that drain in pairs: an odd number of two-digit rows gets one more.
    odd = (_f(tiles.drain_rows) == 2) & (network.rows8 % 2 == 1) & (network.rows8 < network.rows)
    rows8 = _f(network.rows8) + np.where(odd & (network.from_memory == 0), 1.0, 0.0)

    # Row tiles by kind: all two-digit rows, of both kinds, all one-digit rows, and what is left of those.
    count8 = np.floor(rows8 / half)
    mixed8 = rows8 - count8 * half
    mixed4 = np.where(mixed8 > 0, np.minimum(rows - rows8, t_m - 2 * mixed8), 0.0)
    rows4 = rows - rows8 - mixed4
    count4 = np.floor(rows4 / t_m)
    tail4 = rows4 - count4 * t_m
    kinds = (
        (count8, half, t_m),
        (_one(mixed8), mixed8 + mixed4, 2 * mixed8 + mixed4),
        (count4, t_m, t_m),
        (_one(tail4), tail4, tail4),
    )
    zero = np.zeros(np.broadcast_shapes(np.shape(count8), np.shape(k_steps), np.shape(token_tiles)))
    row_tiles = count8 + _one(mixed8) + count4 + _one(tail4) + zero
    all_slots, all_waits, load_all = zero, zero, zero
    firsts = [zero, zero, zero]  # slot, drain and load cycles of the first row tile, and of the last one
    lasts = [zero, zero, zero]
    seen = zero > 0
    for count, tile_rows, atoms in kinds:
        drain = _drain_cycles(network, tiles, tile_rows)
        load = _load_cycles(network, tiles, tile_rows, atoms, k_steps)
        slot = np.maximum(k_steps, drain)
        all_slots = all_slots + count * token_tiles * slot
        all_waits = all_waits + count * token_tiles * (slot - k_steps)
        load_all = load_all + count * load
        here = count > 0
        values = (slot, drain, load)
        firsts = [np.where(here & ~seen, v, known) for v, known in zip(values, firsts, strict=True)]
        lasts = [np.where(here, v, known) for v, known in zip(values, lasts, strict=True)]
        seen = seen | here
    return GemmWork(
        token_tiles=token_tiles,
        k_steps=k_steps,
        row_tiles=row_tiles,
        first_slot=firsts[0],
        last_slot=lasts[0],
        between=all_slots - lasts[0],
        first_drain=firsts[1],
        last_drain=lasts[1],
        drain_bound=all_waits - (lasts[0] - k_steps),
        load_first=firsts[2],
        load_last=lasts[2],
        load_all=load_all,
    )


def _drain_cycles(network: NetworkShape, tiles: Tiles, rows: np.ndarray) -> np.ndarray:
    """Cycles that a slot of so many rows drains."""
    plain = np.ceil(rows / _f(tiles.drain_rows))
    block_cycles = _f(tiles.tile_tokens) / _f(tiles.tile_depth)
    block = _f(tiles.drain_rows) * block_cycles
    # Where row tiles are no whole blocks, a tile mostly begins within one.
    split = (_f(tiles.tile_rows) / 2 % block != 0) & (network.rows > rows)
    blocks = np.ceil(rows / block) + np.where(split & (rows % block != 1), 1.0, 0.0)
    return np.where(network.destination == Destination.ACTIVATION_TRANSPOSED, blocks * block_cycles, plain)


def _load_cycles(
    network: NetworkShape, tiles: Tiles, rows: np.ndarray, atoms: np.ndarray, k_steps: np.ndarray
) -> np.ndarray:
    """Cycles of the loader for one row tile."""
    ports = _f(tiles.weight_ports)
    beats = np.ceil(rows / (_ROWS_PER_WORD * ports))
    beats = beats + k_steps * np.ceil(atoms * _f(tiles.tile_depth) / (_ATOMS_PER_WORD * ports))
    group = _f(np.gcd(tiles.tile_tokens, np.asarray(tiles.tile_rows) // 2))
    memory = np.ceil(rows / group) * k_steps + LOAD_FLUSH
    # The blocks of a transposed result are counted, of other results too.
    advance = np.floor(rows * _f(tiles.tile_depth) / (_f(tiles.drain_rows) * _f(tiles.tile_tokens)))
    return np.where(network.from_memory > 0, memory, beats * tiles.beat_cycles) + LOAD_TILE + advance


def _one(rows: np.ndarray) -> np.ndarray:
    return np.where(rows > 0, 1.0, 0.0)


def _f(value: Numbers) -> np.ndarray:
    return np.asarray(value, np.float64)
