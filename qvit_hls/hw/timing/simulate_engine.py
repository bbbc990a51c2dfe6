"""What the processes of the schedule simulation share: counters, buffers, and what a layer asks of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from qvit_hls.hw.descriptor import Unit
from qvit_hls.hw.gemm_timing import RowTile, ceil_div, row_tiles
from qvit_hls.hw.timing.constants import GROUP_TILES
from qvit_hls.hw.timing.events import Kernel
from qvit_hls.hw.timing.timeline import Timeline

#: Steps of a vector unit that a drain's cycle blocks.
BOTH_BANKS = 3
#: The same where rows go to channels in no order: as often as random ones, of pairs and of single rows.
_RANDOM_BANKS = {2: (BOTH_BANKS, 1, BOTH_BANKS, 2), 1: (1, 1, 2, 2)}
#: All operands are there.
ALL_TILES = 1 << 30


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
    first_result: int
    pixels: int
    after_gemm: int
    after_vector: int
    gemm_by_tile: int
    vector_by_tile: int


@dataclass(frozen=True)
class LoadedTile:
    """A row tile in the weight buffer.

    Attributes:
        ready: first cycle in which a step may use it.
    """

    k_steps: int
    ready: int


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
        result = ALL_TILES
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
            return BOTH_BANKS
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
