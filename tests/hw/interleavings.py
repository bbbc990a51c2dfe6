"""Every order in which the RTL engine may read and write while it runs a program: a partial order of events.

What comes before what, whatever the streams and the speed of the units, follows from the engine's two lanes,
its loader and the words ``after``. Two layers are safe if all their events that touch the same thing, one of
them writing, come in the program's order in every order that is possible.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import After, Destination, Scaling, Unit
from qvit_hls.hw.scheduling.plan import PlannedLayer, Region

#: A thing that events touch: a memory's word, a bank of row maxima of a token tile, and so on.
Thing = tuple[str | int, ...]
#: Layers that use the wide memory without giving way to the drain.
_UNYIELDING = (Unit.LOAD_RESIDUAL, Unit.MEAN_TOKENS, Unit.STORE_RESULT)
_WIDE_PORT: Thing = ("port of the wide memory",)


@dataclass(frozen=True)
class Hazard:
    """Two layers, the first one earlier in the program, whose order the engine leaves open."""

    first: int
    second: int
    thing: Thing


@dataclass
class _Lane:
    """Layers of a lane so far: the event that completes each, and the last event of its token tiles."""

    complete: list[int] = field(default_factory=list)
    tiles: list[list[int]] = field(default_factory=list)

    def awaited(self, count: int, by_tile: bool, tile: int | None) -> list[int]:
        """Events that come first where ``count`` layers are waited for; by a token tile, or by everything."""
        if count > len(self.complete):
            raise AssertionError(f"layer {len(self.complete)} of a lane waits for {count} before it")
        if count == 0:
            return []
        if by_tile and tile is not None and tile < len(self.tiles[count - 1]):
            return [*self.complete[: count - 1][-1:], self.tiles[count - 1][tile]]
        return [self.complete[count - 1]]


class Interleavings:
    """The events of a program's layers, and which of them come before which in every order.

    ``passes`` is how often a GEMM goes over its token tiles, ``banks`` how many banks attention's row maxima
    and normalisers have.
    """

    def __init__(
        self,
        layers: Sequence[PlannedLayer],
        waits: Sequence[After],
        config: AcceleratorConfig,
        passes: int = 2,
        banks: int = 2,
    ) -> None:
        """Run all layers of the program."""
        self._config, self._passes, self._banks = config, passes, banks
        self._layer_of: list[int] = []
        self._before: list[int] = []  # bit i: event i comes before this one in every order
        self._reads: dict[Thing, list[int]] = defaultdict(list)
        self._writes: dict[Thing, list[int]] = defaultdict(list)
        self._gemms, self._vectors = _Lane(), _Lane()
        self._loaded: list[int] = []
        self._step: list[int] = []
        self._drained: list[int] = []
        self._turns: Counter[str] = Counter()
        for index, (layer, after) in enumerate(zip(layers, waits, strict=True)):
            if layer.descriptor.unit == Unit.GEMM:
                self._gemm(index, layer, after)
            else:
                self._vector(index, layer, after)

    def hazards(self) -> set[Hazard]:
        """All pairs of layers that may touch a thing in the wrong order."""
        found = set()
        for thing, writes in self._writes.items():
            for event in writes:
                for other in (*writes, *self._reads[thing]):
                    first, second = sorted((event, other))
                    layers = self._layer_of[first], self._layer_of[second]
                    if layers[0] != layers[1] and not self._before[second] >> first & 1:
                        found.add(Hazard(*layers, thing))
        return found

    def _gemm(self, index: int, layer: PlannedLayer, after: After) -> None:
        """Digits are loaded ahead of the steps, results are drained behind them: each in order."""
        d = layer.descriptor
        if layer.digits is not None:
            self._loaded = [
                self._event(
                    index, [*self._loaded, *self._awaited(after)], reads=self._words(layer.digits, None)
                )
            ]
        loaded = self._loaded if layer.digits is not None else []
        scores = d.destination in (Destination.SCORES, Destination.SCORES_ADD)
        context = d.scaling == Scaling.RECIPROCAL
        maxima = self._bank("scores") if scores else 0
        normalizers = self._bank("context") if context else 0
        transposed = d.destination == Destination.ACTIVATION_TRANSPOSED
        tiles: list[int] = []
        for _ in range(self._passes):
            tiles = []
            for tile in range(self._tiles(d.tokens)):
                reads = self._words(layer.x, tile)
                self._step = [
                    self._event(index, [*self._step, *loaded, *self._awaited(after, tile)], reads=reads)
                ]
                writes = self._words(layer.y, None if transposed else tile)
                reads = {_WIDE_PORT}
                if d.destination in (Destination.WIDE_ADD, Destination.SCORES_ADD):
                    reads |= writes
                if scores:
                    writes |= {("maxima", maxima, tile)}
                if context:
                    reads |= {("normalizers", normalizers)}
                if d.destination == Destination.WIDE_ADD:
                    writes |= {("moments", tile)}
                self._drained = [self._event(index, [*self._drained, *self._step], reads, writes)]
                tiles += self._drained
        self._gemms.complete += self._drained
        self._gemms.tiles.append(tiles)

    def _vector(self, index: int, layer: PlannedLayer, after: After) -> None:
        """A unit begins when the one before is done, and takes token tile after token tile."""
        d = layer.descriptor
        now = self._vectors.complete[-1:]
        tiles: list[int] = []
        if d.unit in (Unit.LAYER_NORM, Unit.SOFTMAX):
            bank = self._bank("softmax") if d.unit == Unit.SOFTMAX else 0
            own_moments = d.unit == Unit.LAYER_NORM and d.rows == 0
            for tile in range(self._tiles(d.tokens)):
                reads = self._words(layer.x, tile)
                if own_moments:
                    now = [
                        self._event(index, [*now, *self._awaited(after, tile)], reads, {("moments", tile)})
                    ]
                reads |= {("maxima", bank, tile) if d.unit == Unit.SOFTMAX else ("moments", tile)}
                now = [self._event(index, [*now, *self._awaited(after, tile)], reads)]
                now = [self._event(index, now, writes=self._words(layer.y, tile))]
                if d.unit == Unit.LAYER_NORM:
                    tiles += now
            if d.unit == Unit.SOFTMAX:
                now = [self._event(index, now, writes={("normalizers", bank)})]
        elif d.unit == Unit.LOAD_RESIDUAL:
            # The loader does it, as soon as it may; the vector lane counts it in its turn.
            writes = {_WIDE_PORT, *self._words(layer.y, None)}
            self._loaded = [self._event(index, [*self._loaded, *self._awaited(after)], writes=writes)]
            now = [self._event(index, [*now, *self._loaded])]
        else:
            writes = self._words(layer.y, None) | ({_WIDE_PORT} if d.unit in _UNYIELDING else set())
            now = [self._event(index, [*now, *self._awaited(after)], self._words(layer.x, None), writes)]
        self._vectors.complete += now
        self._vectors.tiles.append(tiles)

    def _event(
        self,
        layer: int,
        after: Iterable[int],
        reads: Iterable[Thing] = (),
        writes: Iterable[Thing] = (),
    ) -> int:
        number, before = len(self._layer_of), 0
        for event in after:
            before |= self._before[event] | 1 << event
        self._layer_of.append(layer)
        self._before.append(before)
        for things, touched in ((self._reads, reads), (self._writes, writes)):
            for thing in touched:
                things[thing].append(number)
        return number

    def _awaited(self, after: After, tile: int | None = None) -> list[int]:
        gemms = self._gemms.awaited(after.gemms, after.gemm_by_tile, tile)
        return [*gemms, *self._vectors.awaited(after.vectors, after.vector_by_tile, tile)]

    def _bank(self, kind: str) -> int:
        self._turns[kind] += 1
        return (self._turns[kind] - 1) % self._banks

    def _tiles(self, tokens: int) -> int:
        return max(1, -(-tokens // self._config.tile_tokens))

    def _words(self, region: Region | None, tile: int | None) -> set[Thing]:
        """Words of a region, of one token tile or (None) of all."""
        if region is None:
            return set()
        tensor, depth = region.tensor, self._config.tile_depth
        every = range(self._tiles(tensor.tokens))
        return {
            (int(tensor.memory), (tensor.base + region.column + of * tensor.stride + channel) // depth)
            for of in (every if tile is None else [tile] if tile in every else [])
            for channel in range(region.channels)
        }
