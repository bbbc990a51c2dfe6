"""What 8-bit rows cost: cycles of a network by the widths of its rows, on one accelerator.

A row tile holds T_m rows of one digit; a row of 8 bits takes the place of two. The network is scheduled once;
other widths change a layer's number of two-digit rows, and which rows are written together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.board import Board
from qvit_hls.hw.cycles import estimate, item_bytes, weight_bytes
from qvit_hls.hw.descriptor import Descriptor, Destination
from qvit_hls.hw.gemm_timing import ceil_div
from qvit_hls.hw.program import Program, StreamedWeights
from qvit_hls.hw.scheduling.linear import in_whole_pairs
from qvit_hls.hw.timing.analytic import frame_cycles
from qvit_hls.hw.timing.network import NetworkShape, unpaired
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.work import gemm_work
from qvit_hls.hw.unit_cycles import layer_cycles
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.integer_ops import IntegerLinear
from qvit_hls.ir.passes.group_row_precisions import row_orders


@dataclass(frozen=True, eq=False)
class _StreamedGemm:
    """A GEMM whose weights are streamed: a linear layer, or what one head takes of it.

    Attributes:
        index: of the program's layer.
        shape: its descriptor, the same for layers of equal shape.
        layer: name of the linear layer.
        rows: of the linear layer.
        columns: weights of a row, padding included.
        odd: whether the output channel of each row is odd, bool ``[R]``.
        grouped: rows are reordered, 8-bit ones first.
    """

    index: int
    shape: Descriptor
    layer: str
    rows: slice
    columns: int
    odd: np.ndarray
    grouped: bool


class RowCost:
    """Cycles per frame by row widths.

    Args:
        graph: integer graph with 4-bit rows only, after INTEGER_PASSES.
        program: its schedule, on the accelerator in question.
        board: whose memory the weights come from.
        clock_mhz: of the accelerator.
        limit: cycles per frame that are allowed; None: as many as 4-bit rows take.
    """

    def __init__(
        self, graph: Graph, program: Program, board: Board, clock_mhz: float, limit: int | None = None
    ) -> None:
        self.config, self.board, self.clock_mhz = program.config, board, clock_mhz
        frame = estimate(program, board, clock_mhz)
        #: Cycles per frame with 4-bit rows only.
        self.four_bit_cycles = frame.cycles
        #: Cycles per frame that are allowed.
        self.limit = self.four_bit_cycles if limit is None else limit
        self._bytes_per_cycle = board.ddr_gbytes_per_s * 1e3 / clock_mhz
        self._tiles = Tiles.of_config(self.config, self._bytes_per_cycle)
        self._network = NetworkShape.of_program(program)
        self._loop_cycles = sum(layer.cycles for layer in frame.layers)
        self._gemms = list(_streamed_gemms(graph, program))
        self._layer_cycles = lru_cache(maxsize=None)(self._cycles_of_loops)
        self._own = lru_cache(maxsize=None)(self._own_cycles)
        self._other_bytes = sum(
            item_bytes(item, self.config)
            for layer in program.layers
            for item in layer.stream
            if not isinstance(item, StreamedWeights)
        )

    def parts(self, layer: str) -> int:
        """Matrix products that a linear layer is run as, of equally many rows: heads of values, else 1."""
        return sum(gemm.layer == layer for gemm in self._gemms)

    def own_cycles(self, layer: str) -> np.ndarray:
        """About how many cycles each part of a linear layer takes by itself, int64 ``[n + 1]``.

        By its number of 8-bit rows, up to n: all, or as many as the accelerator has row tiles for.
        """
        gemm = next(gemm for gemm in self._gemms if gemm.layer == layer)
        parts = int(self._network.k_parts[gemm.index])
        return self._own(gemm.shape, int(self._network.k[gemm.index]), parts)

    def frame_cycles(self, widths: Mapping[str, np.ndarray]) -> int:
        """Cycles per frame, as ``hw.cycles.estimate`` says of the scheduled network.

        Args:
            widths: 4 or 8 of each row, ``[R]``, by linear layer.
        """
        base = self._network
        rows8, same8, same4 = (x.copy() for x in (base.rows8, base.same_bank8, base.same_bank4))
        stream_bytes = self._other_bytes
        loop_cycles = self._loop_cycles
        for gemm in self._gemms:
            two_digits, d = self._two_digits(gemm, widths), gemm.shape
            count = int(two_digits.sum())
            stream_bytes += weight_bytes(self.config, d.rows, count, gemm.columns)
            rows8[gemm.index] = count
            if d.destination != Destination.ACTIVATION_TRANSPOSED:
                same8[gemm.index] = unpaired(gemm.odd[two_digits])
                same4[gemm.index] = unpaired(gemm.odd[~two_digits])
            if self.config.mac == "hls":
                loop_cycles += self._layer_cycles(d, count) - self._layer_cycles(d, 0)
        stream_cycles = int(stream_bytes / min(self.config.beat_bits / 8, self._bytes_per_cycle))
        if self.config.mac == "hls":
            return max(loop_cycles, stream_cycles)
        network = replace(base, rows8=rows8, same_bank8=same8, same_bank4=same4)
        return max(int(np.ceil(frame_cycles(network, self._tiles))), stream_cycles)

    def _two_digits(self, gemm: _StreamedGemm, widths: Mapping[str, np.ndarray]) -> np.ndarray:
        eight_bits = widths[gemm.layer][gemm.rows] == 8
        if gemm.grouped:
            eight_bits = np.sort(eight_bits)[::-1]
        return in_whole_pairs(eight_bits) if self.config.drain_rows == 2 else eight_bits

    def _cycles_of_loops(self, d: Descriptor, rows8: int) -> int:
        return layer_cycles(self.config, replace(d, rows8=rows8))

    def _own_cycles(self, d: Descriptor, k: int, k_parts: int) -> np.ndarray:
        rows8 = np.arange(d.rows + 1)
        if self.config.drain_rows == 2:
            rows8 = np.minimum(rows8 + rows8 % 2, d.rows)
        rows8 = rows8[-(-(d.rows + rows8) // self.config.tile_rows) <= self.config.max_row_tiles]
        if self.config.mac == "hls":
            return np.array([self._layer_cycles(d, int(count)) for count in rows8], np.int64)
        work = gemm_work(_one_gemm(d, k, k_parts, rows8), self._tiles)
        return np.ceil(np.maximum(work.between + work.last_slot, work.load_all)).astype(np.int64)


def with_all_row_tiles(graph: Graph, config: AcceleratorConfig) -> AcceleratorConfig:
    """``config`` with as many row tiles as the graph takes with 8-bit rows only."""
    most = max(len(node.op.weight) for node in graph if isinstance(node.op, IntegerLinear))
    tiles = max(config.max_row_tiles, ceil_div(2 * most, config.tile_rows))
    return config.model_copy(update={"max_row_tiles": tiles})


def _streamed_gemms(graph: Graph, program: Program) -> Iterator[_StreamedGemm]:
    linears = {node.name for node in graph if isinstance(node.op, IntegerLinear)}
    grouped = row_orders(graph)
    begin: dict[str, int] = {}
    for index, layer in enumerate(program.layers):
        for item in layer.stream:
            if isinstance(item, StreamedWeights):
                name = layer.name if layer.name in linears else layer.name.rpartition("[")[0]
                first = begin.get(name, 0)
                begin[name] = first + len(item.codes)
                # Channels ascend with the rows, whichever order they are streamed in.
                odd = np.sort(item.parameters.channel) % 2 == 1
                rows = slice(first, begin[name])
                shape = _without_addresses(layer.descriptor)
                yield _StreamedGemm(index, shape, name, rows, item.codes.shape[1], odd, name in grouped)


def _without_addresses(d: Descriptor) -> Descriptor:
    """What is the same for layers of equal shape."""
    return Descriptor(
        unit=d.unit, tokens=d.tokens, k=d.k, k_steps=d.k_steps, rows=d.rows, rows8=d.rows8,
        digit_source=d.digit_source, destination=d.destination, first_token=d.first_token,
        table_entries=d.table_entries,
    )  # fmt: skip


def _one_gemm(d: Descriptor, k: int, k_parts: int, rows8: np.ndarray) -> NetworkShape:
    """A layer as a network of alternatives, by the number of two-digit rows ``[n]``."""
    fields = dict.fromkeys(NetworkShape.__dataclass_fields__, 0) | {
        "unit": d.unit,
        "tokens": d.tokens,
        "k": k,
        "k_parts": k_parts,
        "rows": d.rows,
        "destination": d.destination,
    }
    columns = {name: np.full(len(rows8), value, np.int64) for name, value in fields.items()}
    return NetworkShape(**{**columns, "rows8": rows8})
