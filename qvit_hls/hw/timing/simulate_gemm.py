"""The GEMM lane of the schedule simulation: the sequencer, with MAC tile and drain behind it."""

from __future__ import annotations

from dataclasses import dataclass

from qvit_hls.hw.descriptor import Destination, Unit
from qvit_hls.hw.gemm_timing import RowTile, ceil_div
from qvit_hls.hw.timing.constants import (
    DRAIN_STAGES,
    LAYER_NORM_WRITE,
    READ_LATENCY,
    SOFTMAX_WRITE,
    STEP_TO_COMPLETE,
    TRANSPOSED_TAIL,
    mac_latency,
)
from qvit_hls.hw.timing.events import Process
from qvit_hls.hw.timing.simulate_engine import BOTH_BANKS, Engine, LayerShape
from qvit_hls.hw.timing.timeline import Cause, Lane


def gemm_lane(engine: Engine) -> Process:
    """All GEMMs, one after the other."""
    kernel, timeline, tiles = engine.kernel, engine.timeline, engine.tiles
    pipeline = int(mac_latency(tiles["activation_bits"], tiles["tile_depth"]))
    block_cycles = tiles["tile_tokens"] // tiles["tile_depth"]
    last_end = -1
    drained = 0  # a slot may end from here on
    for index, layer in enumerate(engine.layers):
        while engine.known <= index:
            yield None
        if layer.unit != Unit.GEMM:
            yield kernel.now + 1
            _move(engine, index + 1)
            continue
        yield kernel.now + 1
        change = kernel.now
        timeline.add(Lane.ARRAY, index, Cause.CHANGE, last_end + 1, change)
        k_steps = engine.k_steps(layer)
        token_tiles = ceil_div(layer.tokens, tiles["tile_tokens"])
        transposed = layer.destination == Destination.ACTIVATION_TRANSPOSED
        row_tiles_here = engine.row_tiles(layer)
        drains = drain_cycles(layer, row_tiles_here, tiles)
        began = False
        for first in range(0, len(drains), group := engine.group_tiles(layer)):
            numbers = range(first, min(first + group, len(drains)))
            for token_tile, number in ((t, n) for t in range(token_tiles) for n in numbers):
                waits_from = kernel.now
                while token_tile == 0 and engine.next_tile_ready(number - first) is not True:
                    yield engine.next_tile_ready(number - first) or None
                weights_to = kernel.now
                while engine.ready_tiles(layer) <= token_tile:
                    yield None
                begin = kernel.now
                # Of a slot that waits for both, the one that comes last is the cause.
                cause = Cause.OPERANDS if begin > weights_to else Cause.WEIGHTS
                timeline.add(Lane.ARRAY, index, cause, waits_from, begin)
                if not began:
                    began, timeline.begin[index] = True, begin
                end = max(begin + k_steps - 1, drained)
                timeline.add(Lane.ARRAY, index, Cause.WORK, begin, begin + k_steps - 1)
                timeline.add(Lane.ARRAY, index, Cause.DRAIN, begin + k_steps - 1, end)
                timeline.add(Lane.ARRAY, index, Cause.WORK, end, end + 1)
                last = number == len(drains) - 1
                slot = _Slot(row_tiles_here[number], drains[number], last, token_tile == token_tiles - 1)
                _drain(engine, index, end + pipeline, slot)
                drained = end + drains[number]
                last_end = end
                yield end + 1
                if token_tile == token_tiles - 1:
                    engine.free_steps += k_steps
                    engine.tiles_taken -= 1
                    kernel.at(kernel.now, lambda: None)
            del engine.loaded[: len(numbers)]
        drained += block_cycles + TRANSPOSED_TAIL if transposed else 0
        _move(engine, index + 1)


def _move(engine: Engine, gemm_layer: int) -> None:
    engine.gemm_layer = gemm_layer
    engine.kernel.at(engine.kernel.now, lambda: None)


def drain_cycles(layer: LayerShape, row_tiles: list[RowTile], tiles: dict[str, int]) -> list[int]:
    """Cycles that a slot of each row tile drains."""
    if layer.destination == Destination.ACTIVATION_TRANSPOSED:
        block_cycles = tiles["tile_tokens"] // tiles["tile_depth"]
        block = tiles["drain_rows"] * block_cycles
        return [ceil_div(tile.first_row % block + tile.rows, block) * block_cycles for tile in row_tiles]
    cycles = [ceil_div(tile.rows, tiles["drain_rows"]) for tile in row_tiles]
    if tiles["drain_rows"] == 2:
        left8, left4 = layer.same_bank8, layer.same_bank4
        for number in reversed(range(len(row_tiles))):
            here4 = min(left4, row_tiles[number].rows4 // 2)
            here8 = min(left8, row_tiles[number].rows8 // 2)
            cycles[number] += here4 + here8
            left4, left8 = left4 - here4, left8 - here8
    return cycles


@dataclass(frozen=True)
class _Slot:
    """What the drain must know: ``last``: the layer's last row tile, ``layer_end``: its last tokens too."""

    tile: RowTile
    drain: int
    last: bool
    layer_end: bool


def _drain(engine: Engine, index: int, sums: int, slot: _Slot) -> None:
    """The drain of a slot whose last step reaches the sums in cycle ``sums`` + READ_LATENCY."""
    layer, kernel, tile, drain = engine.layers[index], engine.kernel, slot.tile, slot.drain
    begin = sums + READ_LATENCY + 1
    engine.timeline.add(Lane.DRAIN, index, Cause.WORK, begin, begin + drain)
    transposed = layer.destination == Destination.ACTIVATION_TRANSPOSED
    late = engine.tiles["tile_tokens"] // engine.tiles["tile_depth"] if transposed else 0
    reads = DRAIN_STAGES - 3
    for number in range(drain):
        cycle = begin + number
        if layer.destination in (Destination.WIDE_ADD, Destination.SCORES_ADD):
            engine.norm_blocked[cycle + reads] = BOTH_BANKS
            engine.softmax_blocked[cycle + reads] = BOTH_BANKS
        elif transposed:
            engine.norm_blocked[cycle + DRAIN_STAGES + late - LAYER_NORM_WRITE] = BOTH_BANKS
        elif layer.destination == Destination.ACTIVATION:
            engine.norm_blocked[cycle + DRAIN_STAGES - LAYER_NORM_WRITE] = engine.written_banks(
                layer, tile, number
            )
        elif layer.destination == Destination.DIGIT:
            engine.softmax_blocked[cycle + DRAIN_STAGES - SOFTMAX_WRITE] = BOTH_BANKS
    if not slot.last:
        return
    visible = sums + STEP_TO_COMPLETE + drain + (late + TRANSPOSED_TAIL if transposed else 0)

    def token_tile() -> None:
        engine.gemm_tiles += 1

    def whole_layer() -> None:
        engine.gemm_tiles, engine.complete[index] = 0, True
        engine.gemms += 1
        engine.timeline.complete[index] = visible

    kernel.at(visible, whole_layer if slot.layer_end else token_tile)
