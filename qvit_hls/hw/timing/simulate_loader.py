"""The loader of the schedule simulation: tables, row tiles and digits, in order, as far ahead as room is."""

from __future__ import annotations

from math import ceil, gcd

from qvit_hls.hw.accelerator import ATOMS_PER_WORD, PORT_BITS
from qvit_hls.hw.descriptor import Unit
from qvit_hls.hw.gemm_timing import PARAMETER_BITS, RowTile, ceil_div
from qvit_hls.hw.timing.constants import LOAD_FLUSH, LOAD_TILE, MOST_TILES, TILE_TO_STEP
from qvit_hls.hw.timing.events import Process
from qvit_hls.hw.timing.simulate_engine import ALL_TILES, Engine, LoadedTile
from qvit_hls.hw.timing.timeline import Cause, Lane


class _Stream:
    """The weight stream: a beat per cycle, or as the memory delivers them. Beats wait for the loader."""

    def __init__(self, engine: Engine) -> None:
        beat_bytes = engine.tiles["weight_ports"] * PORT_BITS // 8
        self._interval = max(1.0, beat_bytes / engine.bytes_per_cycle)
        self._free = 0.0

    def take(self, beats: int, now: int, cycles: int | None = None) -> int:
        """The cycle behind the last of some beats that are taken from ``now`` on, in ``cycles`` at least."""
        self._free = max(self._free, now) + beats * self._interval
        return max(ceil(self._free), now + (beats if cycles is None else cycles))


def loader(engine: Engine) -> Process:
    """One layer after the other."""
    kernel, stream = engine.kernel, _Stream(engine)
    gemms: list[int] = []  # layers with an elementwise table so far; of softmax
    softmaxes: list[int] = []
    shifted: list[int] = []  # LayerNorms with shifts
    for index, layer in enumerate(engine.layers):
        while engine.known <= index:
            yield None
        if layer.unit == Unit.GEMM:
            if layer.table_entries:
                while gemms and not engine.complete[gemms[-1]]:
                    yield None
                gemms.append(index)
                yield _table(engine, index, stream)
            yield kernel.now + 1
            yield from _row_tiles(engine, index, stream)
            yield kernel.now + 1
        elif layer.unit == Unit.SOFTMAX and layer.table_entries:
            while softmaxes and not engine.complete[softmaxes[-1]]:
                yield None
            yield _table(engine, index, stream)
            yield kernel.now + 2
        elif layer.unit == Unit.LAYER_NORM and layer.table_entries:
            while shifted and not engine.complete[shifted[-1]]:
                yield None
            shifted.append(index)
            yield _table(engine, index, stream)
            yield kernel.now + 2
        elif layer.unit == Unit.LOAD_RESIDUAL:
            while engine.ready_tiles(layer) < ALL_TILES:
                yield None
            lanes = engine.tiles["tile_tokens"]
            per_channel = ceil_div(16 * lanes, engine.tiles["weight_ports"] * PORT_BITS)
            end = stream.take(ceil_div(layer.tokens, lanes) * layer.k * per_channel, kernel.now + 1)
            engine.timeline.add(Lane.LOADER, index, Cause.WORK, kernel.now + 1, end)
            yield end + 1
        else:
            yield kernel.now + 2
        if layer.unit == Unit.SOFTMAX:
            softmaxes.append(index)
        engine.load_layer = index + 1
        kernel.at(kernel.now, lambda: None)


def _table(engine: Engine, index: int, stream: _Stream) -> int:
    """Cycle behind a table's last entry: one entry per cycle, and one for each beat."""
    now, entries = engine.kernel.now + 1, engine.layers[index].table_entries
    beats = ceil_div(entries * 8, engine.tiles["weight_ports"] * PORT_BITS)
    end = stream.take(beats, now, beats + entries)
    engine.timeline.add(Lane.LOADER, index, Cause.WORK, now, end)
    return end


def _row_tiles(engine: Engine, index: int, stream: _Stream) -> Process:
    kernel, layer, tiles = engine.kernel, engine.layers[index], engine.tiles
    k_steps = engine.k_steps(layer)
    ports = tiles["weight_ports"]
    group = gcd(tiles["tile_tokens"], tiles["tile_rows"] // 2)
    block = tiles["drain_rows"] * tiles["tile_tokens"] // tiles["tile_depth"]
    for tile in engine.row_tiles(layer):
        waits_from, cause = kernel.now, Cause.ROOM
        while engine.free_steps < k_steps or engine.tiles_taken >= MOST_TILES:
            yield None
        while layer.from_memory and engine.ready_tiles(layer) < ALL_TILES:
            cause = Cause.OPERANDS
            yield None
        engine.timeline.add(Lane.LOADER, index, cause, waits_from, kernel.now)
        engine.free_steps -= k_steps
        engine.tiles_taken += 1
        begin = kernel.now
        if layer.from_memory:
            end = begin + 1 + ceil_div(tile.rows, group) * k_steps + LOAD_FLUSH
        else:
            end = stream.take(_beats(tile, tiles["tile_depth"], ports, k_steps), begin + 1)
        blocks = (tile.first_row % block + tile.rows) // block
        end += LOAD_TILE - 1 + blocks
        engine.timeline.add(Lane.LOADER, index, Cause.WORK, begin, end)
        engine.loaded.append(LoadedTile(k_steps, end + TILE_TO_STEP))
        kernel.at(end, lambda: None)
        yield end


def _beats(tile: RowTile, tile_depth: int, ports: int, k_steps: int) -> int:
    parameters = ceil_div(tile.rows * PARAMETER_BITS, ports * PORT_BITS)
    return parameters + k_steps * ceil_div(tile.atoms * tile_depth, ports * ATOMS_PER_WORD)
