"""Packing the weight stream: digits, row parameters, tables and constants, in the engine's order.

The stream is a sequence of 128-bit words; word i lies behind port ``i % ports``. Every item starts at a
whole beat (one word of every port). ``hls_kernels/hls/weight_stream.hpp`` and ``gemm_load.hpp`` read it.
"""

from __future__ import annotations

import numpy as np

from qvit_hls.errors import QvitError
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.gemm_timing import RowTile, ceil_div, round_up, row_tiles
from qvit_hls.hw.program import (
    Program,
    RowParameters,
    StreamedConstant,
    StreamedTable,
    StreamedWeights,
    StreamItem,
)

WORD_BYTES = 16


def split_digits(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Balanced radix-16 digits: ``codes = 16 * high + low`` with both in [-8, 7].

    Args:
        codes: integers in [-136, 119].

    Returns:
        ``(high, low)``, int8.

    Raises:
        ValueError: a code has no such digits.
    """
    values = codes.astype(np.int64)
    if values.size and (values.min() < -136 or values.max() > 119):
        raise ValueError(f"codes {values.min()}..{values.max()} do not fit two balanced digits (-136..119)")
    low = ((values + 8) & 15) - 8
    return ((values - low) >> 4).astype(np.int8), low.astype(np.int8)


def pack_atoms(atoms: np.ndarray) -> bytes:
    """Signed 4-bit atoms, two per byte, the first one low."""
    nibbles = atoms.astype(np.uint8) & 15
    return (nibbles[0::2] | (nibbles[1::2] << 4)).astype(np.uint8).tobytes()


def pack_parameters(parameters: RowParameters, rows: slice) -> bytes:
    """64 bits per row: bias 30, multiplier 16, shift 6, channel 12, from the lowest bit."""
    bias = parameters.bias[rows].astype(np.int64).astype(np.uint64) & np.uint64((1 << 30) - 1)
    multiplier = parameters.multiplier[rows].astype(np.uint64) << np.uint64(30)
    shift = parameters.shift[rows].astype(np.uint64) << np.uint64(46)
    channel = parameters.channel[rows].astype(np.uint64) << np.uint64(52)
    return (bias | multiplier | shift | channel).astype("<u8").tobytes()


def pack_item(item: StreamItem, config: AcceleratorConfig) -> bytes:
    """One item of the stream, padded to whole beats."""
    beat = config.beat_bits // 8
    if isinstance(item, StreamedTable):
        return _padded(item.entries.astype(np.int8).tobytes(), beat)
    if isinstance(item, StreamedConstant):
        return _pack_constant(item.codes, config)
    packed = []
    for tile in row_tiles(len(item.codes), item.rows8, config.tile_rows):
        rows = slice(tile.first_row, tile.first_row + tile.rows)
        packed.append(_padded(pack_parameters(item.parameters, rows), beat))
        packed.append(_pack_tile(item, tile, config))
    return b"".join(packed)


def _pack_tile(item: StreamedWeights, tile: RowTile, config: AcceleratorConfig) -> bytes:
    """Digits of one row tile: step by step, in a step row by row, T_k atoms each."""
    depth = config.tile_depth
    steps = ceil_div(item.codes.shape[1], depth)
    atoms = np.zeros((round_up(tile.atoms, config.rows_per_beat), steps * depth), dtype=np.int8)
    wide = item.codes[tile.first_row : tile.first_row + tile.rows8]
    narrow = item.codes[tile.first_row + tile.rows8 : tile.first_row + tile.rows]
    k = item.codes.shape[1]
    atoms[0 : 2 * tile.rows8 : 2, :k], atoms[1 : 2 * tile.rows8 : 2, :k] = split_digits(wide)
    atoms[2 * tile.rows8 : tile.atoms, :k] = narrow
    return pack_atoms(atoms.reshape(len(atoms), steps, depth).transpose(1, 0, 2).reshape(-1))


def _pack_constant(codes: np.ndarray, config: AcceleratorConfig) -> bytes:
    """Token tile by token tile, channel by channel, the 16-bit codes of all lanes."""
    lanes = config.tile_tokens
    tokens, channels = codes.shape
    padded = np.zeros((round_up(tokens, lanes), channels), dtype="<i2")
    padded[:tokens] = codes
    by_lane = padded.reshape(-1, lanes, channels).transpose(0, 2, 1)
    row = np.zeros((*by_lane.shape[:2], round_up(lanes, config.beat_bits // 16)), dtype="<i2")
    row[..., :lanes] = by_lane
    return row.tobytes()


def _padded(data: bytes, unit: int) -> bytes:
    return data + bytes(-len(data) % unit)


def pack_stream(program: Program) -> list[bytes]:
    """The whole frame's stream, one byte string per port, all equally long.

    Raises:
        QvitError: a row's parameters do not fit their bits.
    """
    problems = [
        problem
        for layer in program.layers
        for item in layer.stream
        if isinstance(item, StreamedWeights)
        for problem in _parameter_problems(layer.name, item.parameters)
    ]
    if problems:
        raise QvitError(problems)
    ports = program.config.weight_ports
    stream = b"".join(pack_item(item, program.config) for layer in program.layers for item in layer.stream)
    words = np.frombuffer(stream, dtype=np.uint8).reshape(-1, ports, WORD_BYTES)
    return [words[:, port].tobytes() for port in range(ports)]


def _parameter_problems(layer: str, parameters: RowParameters) -> list[str]:
    limits = (
        ("bias", parameters.bias, -(1 << 29), (1 << 29) - 1),
        ("multiplier", parameters.multiplier, 0, (1 << 16) - 1),
        ("shift", parameters.shift, 1, 50),
        ("output channel", parameters.channel, 0, (1 << 12) - 1),
    )
    problems = []
    for name, values, low, high in limits:
        for row in np.flatnonzero((values < low) | (values > high)):
            problems.append(f"{layer}: {name} {values[row]} of streamed row {row} is outside {low}..{high}")
    return problems
