"""First estimate: cycles and weight traffic of every layer, from the descriptors of its program.

Layers run one after the other; the weight stream runs ahead of them through its FIFO, so a frame takes as
long as the longer of the two. Pipeline fill of the GEMM's loop and memory latency are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.board import Board
from qvit_hls.hw.descriptor import Unit
from qvit_hls.hw.gemm_timing import PARAMETER_BITS, ceil_div, round_up, row_tiles
from qvit_hls.hw.program import Program, StreamedConstant, StreamedTable, StreamItem
from qvit_hls.hw.unit_cycles import layer_cycles


@dataclass(frozen=True)
class LayerEstimate:
    """One layer.

    Attributes:
        cycles: of its loops.
        ideal_cycles: of its multiply-accumulates with every lane busy.
        stream_bytes: what it takes from the weight stream.
    """

    name: str
    unit: str
    macs: int
    atom_macs: int
    cycles: int
    ideal_cycles: float
    stream_bytes: int


@dataclass(frozen=True)
class Estimate:
    """A whole frame.

    Attributes:
        compute_cycles: all layers, one after the other.
        stream_cycles: the weight stream, at one beat per cycle or the memory's bandwidth.
        lanes: multiply-accumulates per cycle of the accelerator.
    """

    layers: tuple[LayerEstimate, ...]
    clock_mhz: float
    lanes: int
    compute_cycles: int
    stream_cycles: int
    stream_bytes: int

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
    """Cycles and traffic of a program."""
    config = program.config
    layers = tuple(
        LayerEstimate(
            name=layer.name,
            unit=Unit(layer.descriptor.unit).name.lower(),
            macs=layer.macs,
            atom_macs=layer.atom_macs,
            cycles=layer_cycles(config, layer.descriptor),
            ideal_cycles=layer.atom_macs / config.lanes,
            stream_bytes=sum(item_bytes(item, config) for item in layer.stream),
        )
        for layer in program.layers
    )
    total = sum(layer.stream_bytes for layer in layers)
    bytes_per_cycle = min(config.beat_bits / 8, board.ddr_gbytes_per_s * 1e3 / clock_mhz)
    return Estimate(
        layers=layers,
        clock_mhz=clock_mhz,
        lanes=config.lanes,
        compute_cycles=sum(layer.cycles for layer in layers),
        stream_cycles=int(total / bytes_per_cycle),
        stream_bytes=total,
    )


def item_bytes(item: StreamItem, config: AcceleratorConfig) -> int:
    """Bytes of one item of the weight stream; ``codegen/stream.py`` packs exactly so many."""
    beat = config.beat_bits
    if isinstance(item, StreamedTable):
        return round_up(len(item.entries) * 8, beat) // 8
    if isinstance(item, StreamedConstant):
        tokens, channels = item.codes.shape
        return ceil_div(tokens, config.tile_tokens) * channels * round_up(config.tile_tokens * 16, beat) // 8
    steps = ceil_div(item.codes.shape[1], config.tile_depth)
    bits = 0
    for tile in row_tiles(len(item.codes), item.rows8, config.tile_rows):
        bits += round_up(tile.rows * PARAMETER_BITS, beat) + steps * round_up(
            tile.atoms * config.tile_depth * 4, beat
        )
    return bits // 8
