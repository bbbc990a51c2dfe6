"""How a GEMM is cut into tiles, and how many cycles its loop takes.

The engine runs one loop at an initiation interval of 1. Each iteration loads a part of the next row
tile's digits, multiplies one step of the current tile, and writes a part of the previous tile's
results. Slots follow each other: one per (row tile, token tile), and each is as long as the longest of
the three needs. ``hls_kernels/hls/gemm.hpp`` steps through the same slots.
"""

from __future__ import annotations

from dataclasses import dataclass

from qvit_hls.hw.accelerator import AcceleratorConfig

#: Bits of one row's parameters in the weight stream: bias 30, multiplier 16, shift 6, channel 12.
PARAMETER_BITS = 64


def ceil_div(a: int, b: int) -> int:
    """``a / b`` rounded up."""
    return -(-a // b)


def round_up(a: int, b: int) -> int:
    """The least multiple of b that is not less than a."""
    return ceil_div(a, b) * b


@dataclass(frozen=True)
class RowTile:
    """The rows of one tile: first ``rows8`` of two digits, then ``rows4`` of one.

    Attributes:
        first_row: index of the tile's first row in the layer's row order.
    """

    first_row: int
    rows8: int
    rows4: int

    @property
    def rows(self) -> int:
        """Rows of the tile."""
        return self.rows8 + self.rows4

    @property
    def atoms(self) -> int:
        """Atom rows of the tile."""
        return 2 * self.rows8 + self.rows4


def row_tiles(rows: int, rows8: int, tile_rows: int) -> list[RowTile]:
    """Cut ``rows8`` two-digit rows followed by ``rows - rows8`` one-digit rows into tiles of T_m atoms."""
    tiles = []
    row, atoms = 0, 2 * rows8 + (rows - rows8)
    while atoms > 0:
        here8 = min(max(rows8 - row, 0), tile_rows // 2)
        here4 = min(rows - row - here8, tile_rows - 2 * here8)
        tiles.append(RowTile(row, here8, here4))
        row += here8 + here4
        atoms -= 2 * here8 + here4
    return tiles


def load_cycles(config: AcceleratorConfig, tile: RowTile, k_steps: int, from_memory: bool) -> int:
    """Cycles to fill half of the weight buffer with one row tile (and its parameters)."""
    if from_memory:
        return ceil_div(tile.rows, config.digit_group) * k_steps
    parameters = ceil_div(tile.rows * PARAMETER_BITS, config.beat_bits)
    return parameters + k_steps * ceil_div(tile.atoms * config.tile_depth * 4, config.beat_bits)


def drain_cycles(config: AcceleratorConfig, tile: RowTile, transposed: bool) -> int:
    """Cycles to requantize and write one tile's results for one token tile."""
    if transposed:
        words = config.tile_tokens // config.tile_depth
        return ceil_div(tile.rows, config.transposed_rows) * words
    return tile.rows


def gemm_cycles(
    config: AcceleratorConfig,
    *,
    tokens: int,
    rows: int,
    rows8: int,
    k: int,
    from_memory: bool,
    transposed: bool,
) -> int:
    """Iterations of the engine's loop for one GEMM; the trip count in its descriptor."""
    k_steps = ceil_div(k, config.tile_depth)
    token_tiles = ceil_div(tokens, config.tile_tokens)
    tiles = row_tiles(rows, rows8, config.tile_rows)
    loads = [load_cycles(config, tile, k_steps, from_memory) for tile in tiles] + [0]
    drains = [0] + [drain_cycles(config, tile, transposed) for tile in tiles]
    cycles = loads[0]
    for index in range(len(tiles)):
        first = max(k_steps, drains[index])
        others = (token_tiles - 1) * max(k_steps, drains[index + 1])
        cycles += max(first + others, loads[index + 1])
    return cycles + drains[-1]
