"""What each GEMM of a network takes by itself: row tiles, slots, drains, beats. Arrays ``[..., L]``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qvit_hls.hw.descriptor import Destination
from qvit_hls.hw.gemm_timing import PARAMETER_BITS
from qvit_hls.hw.timing.constants import GROUP_TILES, LOAD_FLUSH, LOAD_TILE
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
        group: row tiles that take turns.
        first_group, last_group: cycles of the first and the last group per token tile.
        between: cycles from the end of the layer's first slot to the end of its last one.
        first_drains, last_drains: cycles that the same groups drain per token tile; first_drains8, those of
            two-digit rows.
        last_slot: cycles of the layer's last slot. last_drain: cycles that it drains.
        drain_bound: of ``between``, cycles in which the array waits for the drain.
        load_first, load_last, load_all: the loader's cycles for the first and the last row tile, and all;
            load_group, load_last_group: for the first and the last group.
    """

    token_tiles: np.ndarray
    k_steps: np.ndarray
    row_tiles: np.ndarray
    group: np.ndarray
    first_group: np.ndarray
    last_group: np.ndarray
    between: np.ndarray
    first_drains: np.ndarray
    first_drains8: np.ndarray
    last_drains: np.ndarray
    last_slot: np.ndarray
    last_drain: np.ndarray
    drain_bound: np.ndarray
    load_first: np.ndarray
    load_group: np.ndarray
    load_last_group: np.ndarray
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
    # Pairs for the same bank are the last ones of either kind.
    pairs = _f(tiles.drain_rows) == 2
    same8, same4 = np.where(pairs, network.same_bank8, 0.0), np.where(pairs, network.same_bank4, 0.0)
    in_mixed = np.minimum(same8, np.floor(mixed8 / 2))
    in_tail = np.minimum(same4, np.floor(tail4 / 2))
    slow8 = np.minimum(count8, np.ceil((same8 - in_mixed) / np.maximum(np.floor(half / 2), 1)))
    slow4 = np.minimum(count4, np.ceil((same4 - in_tail) / np.maximum(np.floor(t_m / 2), 1)))
    each8 = (same8 - in_mixed) / np.maximum(slow8, 1)
    each4 = (same4 - in_tail) / np.maximum(slow4, 1)
    left4 = np.where(slow4 > 0, 0.0, np.minimum(same4 - in_tail, np.floor(mixed4 / 2)))
    # How many tiles, of how many rows and atoms, how many pairs wait, and the share of two-digit rows.
    kinds = (
        (count8 - slow8, half, t_m, 0.0, 1.0),
        (slow8, half, t_m, each8, 1.0),
        (_one(mixed8), mixed8 + mixed4, 2 * mixed8 + mixed4, in_mixed + left4, 0.5),
        (count4 - slow4, t_m, t_m, 0.0, 0.0),
        (slow4, t_m, t_m, each4, 0.0),
        (_one(tail4), tail4, tail4, in_tail, 0.0),
    )
    zero = np.zeros(np.broadcast_shapes(np.shape(count8), np.shape(k_steps), np.shape(token_tiles)))
    row_tiles = count8 + _one(mixed8) + count4 + _one(tail4) + zero
    group = np.clip(np.floor(_f(tiles.weight_depth) / np.maximum(k_steps, 1)), 1, GROUP_TILES) + zero
    groups = np.ceil(row_tiles / group)
    before_last = (groups - 1) * group  # row tiles before the last group
    all_slots, all_waits, load_all = zero, zero, zero
    first_group, first_drains, first_load, last_load = zero, zero, zero, zero
    last_group, last_drains, first_drains8 = zero, zero, zero
    last_drain, load_first, load_last, begun = zero, zero, zero, zero
    for count, tile_rows, atoms, waiting, two_digits in kinds:
        if not np.any(count):
            continue
        drain = _drain_cycles(network, tiles, tile_rows) + waiting
        load = _load_cycles(network, tiles, tile_rows, atoms, k_steps)
        slot = np.maximum(k_steps, drain)
        all_slots = all_slots + count * token_tiles * slot
        all_waits = all_waits + count * token_tiles * (slot - k_steps)
        load_all = load_all + count * load
        in_first = np.clip(group - begun, 0, count)
        in_last = count - np.clip(before_last - begun, 0, count)
        first_group, last_group = first_group + in_first * slot, last_group + in_last * slot
        first_drains, last_drains = first_drains + in_first * drain, last_drains + in_last * drain
        first_drains8 = first_drains8 + in_first * drain * two_digits
        first_load, last_load = first_load + in_first * load, last_load + in_last * load
        here = count > 0
        load_first = np.where(here & (begun == 0), load, load_first)
        last_drain, load_last = np.where(here, drain, last_drain), np.where(here, load, load_last)
        begun = begun + count
    last_slot = np.maximum(k_steps, last_drain)
    return GemmWork(
        token_tiles=token_tiles,
        k_steps=k_steps,
        row_tiles=np.maximum(row_tiles, 1),
        group=np.maximum(np.minimum(group, row_tiles), 1),
        first_group=first_group,
        last_group=last_group,
        between=all_slots - last_slot,
        first_drains=first_drains,
        first_drains8=first_drains8,
        last_drains=last_drains,
        last_slot=last_slot,
        last_drain=last_drain,
        drain_bound=all_waits - (last_slot - k_steps),
        load_first=load_first,
        load_group=first_load,
        load_last_group=last_load,
        load_last=load_last,
        load_all=load_all,
    )


def _drain_cycles(network: NetworkShape, tiles: Tiles, rows: np.ndarray) -> np.ndarray:
    """Cycles that a slot of so many rows drains."""
    plain = np.ceil(rows / _f(tiles.drain_rows))
    block_cycles = _f(tiles.tile_tokens) / _f(tiles.tile_depth)
    block = _f(tiles.drain_rows) * block_cycles
    # Row tiles that are no whole blocks begin anywhere in one: the mean of the blocks that they touch.
    aligned = _f(tiles.tile_rows) / 2 % block == 0
    blocks = np.where(aligned, np.ceil(rows / block), (rows - 1) / block + 1)
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
    advance = rows * _f(tiles.tile_depth) / (_f(tiles.drain_rows) * _f(tiles.tile_tokens))
    return np.where(network.from_memory > 0, memory, beats * tiles.beat_cycles) + LOAD_TILE + advance


def _one(rows: np.ndarray) -> np.ndarray:
    return np.where(rows > 0, 1.0, 0.0)


def _f(value: Numbers) -> np.ndarray:
    return np.asarray(value, np.float64)
