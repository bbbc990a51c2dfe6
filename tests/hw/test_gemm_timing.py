"""Row tiles and cycles of a matrix product, against dealing rows one by one and simulating cycle by cycle."""

from __future__ import annotations

from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st
from targets import configurations

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.gemm_timing import RowTile, ceil_div, gemm_cycles, round_up, row_tiles

row_counts = st.integers(1, 300).flatmap(lambda rows: st.tuples(st.just(rows), st.integers(0, rows)))


def dealt_tiles(rows: int, rows8: int, tile_rows: int) -> list[RowTile]:
    """Rows dealt one after the other; one that does not fit any more opens the next tile."""
    tiles: list[list[int]] = [[]]
    for row in range(rows):
        atoms = 2 if row < rows8 else 1
        if sum(tiles[-1]) + atoms > tile_rows:
            tiles.append([])
        tiles[-1].append(atoms)
    found, first = [], 0
    for tile in tiles:
        found.append(RowTile(first, tile.count(2), tile.count(1)))
        first += len(tile)
    return found


@settings(max_examples=300)
@given(row_counts, st.integers(1, 60))
def test_row_tiles_are_rows_dealt_one_by_one(counts: tuple[int, int], half: int) -> None:
    rows, rows8 = counts
    tiles = row_tiles(rows, rows8, 2 * half)
    assert tiles == dealt_tiles(rows, rows8, 2 * half)
    assert len(tiles) == ceil_div(rows + rows8, 2 * half)
    assert all(tile.atoms == 2 * half for tile in tiles[:-1])
    assert sum(tile.rows for tile in tiles) == rows


def simulated_cycles(
    config: AcceleratorConfig, tokens: int, rows: int, rows8: int, k: int, from_memory: bool, transposed: bool
) -> int:
    """One cycle after the other: a loader, a multiplier and a drain that work side by side.

    The multiplier takes the token tiles of a row tile in turn and waits for the drain of the results
    before; a row tile begins when its digits are loaded, and then the loader turns to the next one.
    """
    steps = ceil(k / config.tile_depth)
    token_tiles = ceil(tokens / config.tile_tokens)
    ports = config.weight_ports
    loads, drains = [], []
    for tile in dealt_tiles(rows, rows8, config.tile_rows):
        if from_memory:
            loads.append(ceil(tile.rows / config.digit_group) * steps)
        else:  # two rows' parameters in a word, 32 atoms in a word
            loads.append(
                ceil(tile.rows / 2 / ports) + steps * ceil(tile.atoms * config.tile_depth / 32 / ports)
            )
        words = config.tile_tokens // config.tile_depth
        drains.append(ceil(tile.rows / config.transposed_rows) * words if transposed else tile.rows)
    jobs = [(token_tile == 0, drain) for drain in drains for token_tile in range(token_tiles)]
    loading = loads.pop(0)
    cycles = multiplying = draining = finished = 0  # finished: cycles to drain what the multiplier has done
    while jobs or multiplying or draining or finished:
        waits_for_digits = jobs and jobs[0][0] and loading
        if multiplying == draining == 0 and not waits_for_digits:
            draining, finished = finished, 0
            if jobs:
                first_of_row_tile, finished = jobs.pop(0)
                multiplying = steps
                if first_of_row_tile and loads:
                    loading = loads.pop(0)
        cycles += 1
        loading, multiplying, draining = max(loading - 1, 0), max(multiplying - 1, 0), max(draining - 1, 0)
    return cycles


@settings(max_examples=200)
@given(configurations(), row_counts, st.integers(1, 90), st.integers(1, 100), st.booleans(), st.booleans())
def test_cycles_are_those_of_a_simulation(
    config: AcceleratorConfig,
    counts: tuple[int, int],
    tokens: int,
    k: int,
    from_memory: bool,
    transposed: bool,
) -> None:
    rows, rows8 = counts
    if from_memory:
        rows8 = rows if rows8 else 0
    cycles = gemm_cycles(
        config, tokens=tokens, rows=rows, rows8=rows8, k=k, from_memory=from_memory, transposed=transposed
    )
    assert cycles == simulated_cycles(config, tokens, rows, rows8, k, from_memory, transposed)
    products = round_up(tokens, config.tile_tokens) * (rows + rows8) * k
    assert cycles * config.lanes >= products
