"""Cycles and weight traffic of every layer of a program.

The RTL engine's cycles come from the cycle model (``timing/``): lanes overlap, and the weight stream comes at
the memory's bandwidth. The C++ engine runs layers one after the other; the weight stream runs ahead of them
through its FIFO, so a frame takes as long as the longer of the two. Pipeline fill of its loops and memory
latency are not in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.board import Board
from qvit_hls.hw.descriptor import Descriptor, Destination, DigitSource, Unit
from qvit_hls.hw.gemm_timing import (
    PARAMETER_BITS,
    ceil_div,
    drain_cycles,
    load_cycles,
    round_up,
    row_tiles,
)
from qvit_hls.hw.program import Program, StreamedConstant, StreamedTable, StreamItem
from qvit_hls.hw.timing.analytic import FrameTiming, frame_timing
from qvit_hls.hw.timing.network import NetworkShape
from qvit_hls.hw.timing.simulate import simulate
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.timeline import Timeline
from qvit_hls.hw.unit_cycles import layer_cycles

#: What most of a layer's cycles are spent on.
ARRAY, DRAIN, OPERANDS, WEIGHTS, VECTOR_UNIT = "array", "drain", "operands", "weights", "vector unit"


@dataclass(frozen=True)
class LayerEstimate:
    """One layer.

    Attributes:
        cycles: of the C++ engine's loops. With the RTL engine: from the layer's begin, or from the completion
            of the layer before it in its lane where that is later, to its completion.
        ideal_cycles: of its multiply-accumulates with every lane busy.
        stream_bytes: what it takes from the weight stream.
        bottleneck: what most of its cycles are spent on: ``array`` (with padding), waiting for the ``drain``,
            for ``operands`` or for ``weights``; or ``vector unit``, for layers that are no matrix product.
    """

    name: str
    unit: str
    macs: int
    atom_macs: int
    cycles: int
    ideal_cycles: float
    stream_bytes: int
    bottleneck: str


@dataclass(frozen=True)
class Estimate:
    """A whole frame.

    Attributes:
        compute_cycles: all layers: one after the other, or as the RTL engine overlaps them.
        stream_cycles: the weight stream, at one beat per cycle or the memory's bandwidth.
        lanes: multiply-accumulates per cycle of the accelerator.
        timing: of the RTL engine, when layers run and what the MAC tile waits for; None for the C++ engine.
    """

    layers: tuple[LayerEstimate, ...]
    clock_mhz: float
    lanes: int
    compute_cycles: int
    stream_cycles: int
    stream_bytes: int
    timing: FrameTiming | None = None

    @property
    def cycles(self) -> int:
        """Cycles per frame."""
        return max(self.compute_cycles, self.stream_cycles)

    @property
    def frames_per_second(self) -> float:
        """At the clock."""
        return self.clock_mhz * 1e6 / self.cycles

    @property
    def atom_macs(self) -> int:
        """4-bit multiply-accumulates per frame; an 8-bit weight counts as two."""
        return sum(layer.atom_macs for layer in self.layers)

    @property
    def share_of_ideal(self) -> float:
        """Ideal multiply-accumulate cycles over all cycles."""
        return self.atom_macs / self.lanes / self.cycles


def estimate(program: Program, board: Board, clock_mhz: float) -> Estimate:
    """Cycles and traffic of a program; a frame's image is loaded while the frame before it runs."""
    config = program.config
    bytes_per_cycle = _bytes_per_cycle(board, clock_mhz)
    timing = None
    descriptors = [layer.descriptor for layer in program.layers]
    if config.mac == "rtl":
        timing = frame_timing(NetworkShape.of_program(program), Tiles.of_config(config, bytes_per_cycle))
        cycles = [round(float(value)) for value in timing.layer_cycles]
        bottlenecks = [_rtl_bottleneck(timing, index, d) for index, d in enumerate(descriptors)]
        compute_cycles = int(np.ceil(timing.cycles))
    else:
        cycles = [layer_cycles(config, d) for d in descriptors]
        bottlenecks = [_loop_bottleneck(config, d) for d in descriptors]
        compute_cycles = sum(cycles)
    layers = tuple(
        LayerEstimate(
            name=layer.name,
            unit=Unit(layer.descriptor.unit).name.lower(),
            macs=layer.macs,
            atom_macs=layer.atom_macs,
            cycles=cycles[index],
            ideal_cycles=layer.atom_macs / config.lanes,
            stream_bytes=sum(item_bytes(item, config) for item in layer.stream),
            bottleneck=bottlenecks[index],
        )
        for index, layer in enumerate(program.layers)
    )
    total = sum(layer.stream_bytes for layer in layers)
    return Estimate(
        layers=layers,
        clock_mhz=clock_mhz,
        lanes=config.lanes,
        compute_cycles=compute_cycles,
        stream_cycles=int(total / min(config.beat_bits / 8, bytes_per_cycle)),
        stream_bytes=total,
        timing=timing,
    )


def most_cycles(clock_mhz: float, frames_per_second: float) -> int:
    """Cycles per frame with which a rate is just reached."""
    # The quotient of a rate that a whole number of cycles gives may round to just below that number.
    return math.floor(clock_mhz * 1e6 / frames_per_second * (1 + 1e-12))


def frame_timeline(program: Program, board: Board, clock_mhz: float) -> Timeline:
    """When everything in a frame happens on the RTL engine, by the simulation of its schedule."""
    tiles = Tiles.of_config(program.config, _bytes_per_cycle(board, clock_mhz))
    return simulate(NetworkShape.of_program(program), tiles)


def _bytes_per_cycle(board: Board, clock_mhz: float) -> float:
    return board.ddr_gbytes_per_s * 1e3 / clock_mhz


def _rtl_bottleneck(timing: FrameTiming, index: int, d: Descriptor) -> str:
    if d.unit != Unit.GEMM:
        return VECTOR_UNIT
    waits = {name: float(timing.waits[name][index]) for name in (DRAIN, OPERANDS, WEIGHTS)}
    steps = float(timing.layer_cycles[index]) - sum(waits.values())
    return max({ARRAY: steps, **waits}.items(), key=lambda item: item[1])[0]


def _loop_bottleneck(config: AcceleratorConfig, d: Descriptor) -> str:
    """Which of the three that share an iteration of the C++ engine's loop would take longest alone."""
    if d.unit != Unit.GEMM:
        return VECTOR_UNIT
    from_memory = d.digit_source == DigitSource.MEMORY
    transposed = d.destination == Destination.ACTIVATION_TRANSPOSED
    token_tiles = ceil_div(d.tokens, config.tile_tokens)
    tiles = row_tiles(d.rows, d.rows8, config.tile_rows)
    loads = sum(load_cycles(config, tile, d.k_steps, from_memory) for tile in tiles)
    alone = {
        ARRAY: len(tiles) * token_tiles * d.k_steps,
        DRAIN: token_tiles * sum(drain_cycles(config, tile, transposed) for tile in tiles),
        OPERANDS if from_memory else WEIGHTS: loads,
    }
    return max(alone.items(), key=lambda item: item[1])[0]


def item_bytes(item: StreamItem, config: AcceleratorConfig) -> int:
    """Bytes of one item of the weight stream; ``codegen/stream.py`` packs exactly so many."""
    beat = config.beat_bits
    if isinstance(item, StreamedTable):
        return round_up(len(item.entries) * 8, beat) // 8
    if isinstance(item, StreamedConstant):
        tokens, channels = item.codes.shape
        return ceil_div(tokens, config.tile_tokens) * channels * round_up(config.tile_tokens * 16, beat) // 8
    return weight_bytes(config, len(item.codes), item.rows8, item.codes.shape[1])


def weight_bytes(config: AcceleratorConfig, rows: int, rows8: int, columns: int) -> int:
    """Bytes of a linear layer's weights and row parameters in the stream; ``rows8`` rows have two digits."""
    beat, steps = config.beat_bits, ceil_div(columns, config.tile_depth)
    bits = 0
    for tile in row_tiles(rows, rows8, config.tile_rows):
        bits += round_up(tile.rows * PARAMETER_BITS, beat) + steps * round_up(
            tile.atoms * config.tile_depth * 4, beat
        )
    return bits // 8
