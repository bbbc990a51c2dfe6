"""Simulation of a frame's schedule, slot by slot: who waits for whom, and when every layer is complete.

Processes stand for the program reader, the loader, the sequencer with MAC tile and drain, and the vector
lane; they share the engine's buffers and counters. No values are computed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

from qvit_hls.hw.descriptor import Destination, Unit
from qvit_hls.hw.gemm_timing import RowTile, ceil_div, row_tiles
from qvit_hls.hw.timing.constants import (
    DESCRIPTOR_WORDS,
    DRAIN_STAGES,
    END,
    GROUP_TILES,
    LAYER_NORM_WRITE,
    READ_LATENCY,
    RING,
    SOFTMAX_WRITE,
    START,
    STEP_TO_COMPLETE,
    TRANSPOSED_TAIL,
    mac_latency,
)
from qvit_hls.hw.timing.events import Kernel, Process
from qvit_hls.hw.timing.network import ABSENT, NetworkShape
from qvit_hls.hw.timing.simulate_loader import LoadedTile, loader
from qvit_hls.hw.timing.simulate_vector import image_ahead, vector_lane
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.timeline import Cause, Lane, Timeline

#: Steps of a vector unit that a drain's cycle blocks.
_BOTH = 3
#: The same where rows go to channels in no order: as often as random ones, of pairs and of single rows.
_RANDOM_BANKS = {2: (_BOTH, 1, _BOTH, 2), 1: (1, 1, 2, 2)}
#: All operands are there.
_ALL = 1 << 30


@dataclass(frozen=True)
class LayerShape:
    """One layer: the fields of NetworkShape as numbers."""

    unit: int
    tokens: int
    k: int
    k_parts: int
    rows: int
    rows8: int
    same_bank8: int
    same_bank4: int
    from_memory: int
    destination: int
    table_entries: int
    first_token: int
    pixels: int
    after_gemm: int
    after_vector: int
    gemm_by_tile: int
    vector_by_tile: int


@dataclass
class Engine:
    """What the processes share.

    Attributes:
        known: layers whose descriptors have been read; load_layer, gemm_layer, vector_layer: which one the
            loader and each lane run or come to next.
        complete: which layers are complete; gemm_tiles, vector_tiles: token tiles of the running one of each
            lane that are.
        loaded: row tiles in the weight buffer, the first of them not before the cycle that stands with it.
        norm_blocked, softmax_blocked: cycles in which these units leave a memory to the drain, and for which
            of their steps: bit 0 for even ones, bit 1 for odd ones, which write other banks.
    """

    layers: list[LayerShape]
    tiles: dict[str, int]
    bytes_per_cycle: float
    kernel: Kernel = field(default_factory=Kernel)
    timeline: Timeline = field(default_factory=Timeline)
    known: int = 0
    load_layer: int = 0
    gemm_layer: int = 0
    vector_layer: int = 0
    gemms: int = 0
    complete: list[bool] = field(default_factory=list)
    gemm_tiles: int = 0
    vector_tiles: int = 0
    loaded: list[LoadedTile] = field(default_factory=list)
    free_steps: int = 0
    tiles_taken: int = 0
    norm_blocked: dict[int, int] = field(default_factory=dict)
    softmax_blocked: dict[int, int] = field(default_factory=dict)

    def ready_tiles(self, layer: LayerShape) -> int:
        """Token tiles of a layer whose operands are there."""
        result = _ALL
        for after, by_tile, running in (
            (layer.after_gemm, layer.gemm_by_tile, self.gemm_tiles),
            (layer.after_vector, layer.vector_by_tile, self.vector_tiles),
        ):
            if after and not self.complete[after - 1]:
                result = min(result, running if by_tile and self._first_open(after - 1) else 0)
        return result

    def _first_open(self, index: int) -> bool:
        """Whether all layers of its lane before this one are complete."""
        lane = self.layers[index].unit == Unit.GEMM
        for other in range(index - 1, -1, -1):
            if (self.layers[other].unit == Unit.GEMM) == lane:
                return self.complete[other]
        return True

    def next_tile_ready(self, number: int) -> int | bool:
        """Whether a row tile of the group may be used: True, the cycle from which it may, or False."""
        if number >= len(self.loaded):
            return False
        ready = self.loaded[number].ready
        return ready <= self.kernel.now or ready

    def group_tiles(self, layer: LayerShape) -> int:
        """Row tiles that take turns: as many as half of the weight buffer holds."""
        return max(1, min(GROUP_TILES, self.tiles["weight_depth"] // self.k_steps(layer)))

    def written_banks(self, layer: LayerShape, tile: RowTile, number: int) -> int:
        """Which banks of the activation memory a slot's drain writes in a cycle, as in ``norm_blocked``.

        Rows of one precision come in the order of their channels, and so do those of layers with a table.
        Where precisions are mixed, two-digit rows fall on banks at random, and pairs of one-digit rows too.
        """
        drain_rows = self.tiles["drain_rows"]
        if 2 * drain_rows > self.tiles["tile_depth"]:
            return _BOTH
        in_order = layer.table_entries or layer.rows8 in (0, layer.rows)
        if in_order or (drain_rows == 1 and number >= tile.rows8):
            return 1 << number % 2
        return _RANDOM_BANKS[drain_rows][number % 4]

    def k_steps(self, layer: LayerShape) -> int:
        """Steps of a slot."""
        return layer.k_parts * ceil_div(layer.k, self.tiles["tile_depth"])

    def row_tiles(self, layer: LayerShape) -> list[RowTile]:
        """Row tiles of a GEMM; two-digit rows come in pairs where rows drain in pairs."""
        rows8 = layer.rows8
        if self.tiles["drain_rows"] == 2 and not layer.from_memory and rows8 % 2 and rows8 < layer.rows:
            rows8 += 1
        return row_tiles(layer.rows, rows8, self.tiles["tile_rows"])


def simulate(network: NetworkShape, tiles: Tiles) -> Timeline:
    """The timeline of one frame in the steady state: its image is on chip, the next one is loaded meanwhile.

    Args:
        network: one network ``[L]`` without absent layers.
        tiles: one accelerator.

    Raises:
        ValueError: there is more than one of them, or layers are absent.
    """
    if network.unit.ndim != 1 or any(np.ndim(getattr(tiles, f.name)) for f in fields(tiles)):
        raise ValueError("simulate takes one network [L] and one accelerator")
    if (network.unit == ABSENT).any():
        raise ValueError("simulate takes a network without absent layers; NetworkShape.compact removes them")
    names = [f.name for f in fields(NetworkShape)]
    layers = [
        LayerShape(**{name: int(getattr(network, name)[index]) for name in names})
        for index in range(network.layers)
    ]
    numbers = {f.name: int(getattr(tiles, f.name)) for f in fields(tiles) if f.name != "bytes_per_cycle"}
    engine = Engine(layers, numbers, float(tiles.bytes_per_cycle))
    engine.complete = [False] * len(layers)
    engine.free_steps = 2 * numbers["weight_depth"]
    engine.timeline.begin = [0] * len(layers)
    engine.timeline.complete = [0] * len(layers)
    for process in (
        _reader(engine),
        loader(engine),
        _gemm_lane(engine),
        vector_lane(engine),
        image_ahead(engine),
    ):
        engine.kernel.start(process)
    engine.kernel.run()
    last = max([*engine.timeline.complete, *(s.end for s in engine.timeline.spans[Lane.IMAGE])])
    engine.timeline.cycles = last + END
    return engine.timeline


def _reader(engine: Engine) -> Process:
    """Descriptors, a word per cycle, RING of them at a time."""
    yield START
    for index in range(len(engine.layers)):
        while index - min(engine.load_layer, engine.gemm_layer, engine.vector_layer) >= RING:
            yield None

        def read() -> None:
            engine.known += 1

        engine.kernel.at(engine.kernel.now + DESCRIPTOR_WORDS, read)
        yield engine.kernel.now + DESCRIPTOR_WORDS


def _gemm_lane(engine: Engine) -> Process:
    """The sequencer, with MAC tile and drain behind it."""
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
        if layer.destination == Destination.WIDE_ADD:
            engine.norm_blocked[cycle + reads] = _BOTH
            engine.softmax_blocked[cycle + reads] = _BOTH
        elif transposed:
            engine.norm_blocked[cycle + DRAIN_STAGES + late - LAYER_NORM_WRITE] = _BOTH
        elif layer.destination == Destination.ACTIVATION:
            engine.norm_blocked[cycle + DRAIN_STAGES - LAYER_NORM_WRITE] = engine.written_banks(
                layer, tile, number
            )
        elif layer.destination == Destination.DIGIT:
            engine.softmax_blocked[cycle + DRAIN_STAGES - SOFTMAX_WRITE] = _BOTH
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
