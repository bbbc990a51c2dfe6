"""What every layer waits for: the descriptors' ``after``.

The engine runs GEMMs in one lane and all other layers in another. Each lane begins its layers in order, and
GEMMs also write their results in order, so within a lane only reading too early must be prevented. Across
lanes, a layer must neither read too early nor write what the other lane's earlier layers still read or write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum

import numpy as np

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import After, Destination, DigitSource, Memory, Scaling, Unit
from qvit_hls.hw.gemm_timing import ceil_div
from qvit_hls.hw.scheduling.plan import PlannedLayer, Region

#: Memories beside those that hold tensors: attention's row maxima and normalisers, one word for each of two
#: banks that its layers take in turn, and LayerNorm's moments.
_MAXIMA, _NORMALIZERS, _MOMENTS = -1, -2, -3
_BANKS = 2


class Lane(IntEnum):
    """The lanes of the engine."""

    GEMM = 0
    VECTOR = 1


#: Vector layers that run while no GEMM does: they write memories without giving way.
_ALONE = (Unit.LOAD_RESIDUAL, Unit.MEAN_TOKENS, Unit.STORE_RESULT)

#: Where a GEMM adds to what is there, and where it tracks the largest score.
_ADDING = (Destination.WIDE_ADD, Destination.SCORES_ADD)
_TRACKING = (Destination.SCORES, Destination.SCORES_ADD)

#: A memory, and the words of it that are touched.
_Words = tuple[int, np.ndarray]


def lane_of(unit: int) -> Lane:
    """The lane that runs a unit's layers."""
    return Lane.GEMM if unit == Unit.GEMM else Lane.VECTOR


def dependencies(layers: Sequence[PlannedLayer], config: AcceleratorConfig) -> list[After]:
    """What each layer waits for; the tensors must have been placed.

    A layer may follow the last layer that it needs token tile by token tile where that one writes just what
    this one reads as its operand, tile after tile, and nothing else of it is needed.
    """
    uses = _LastUses()
    banks = _Banks()
    counts = [0, 0]
    of_lane: tuple[list[PlannedLayer], list[PlannedLayer]] = ([], [])
    fence = 0  # vector layers up to the last that must not meet any GEMM
    result = []
    for layer in layers:
        lane, unit = lane_of(layer.descriptor.unit), layer.descriptor.unit
        bank = banks.of(layer)
        operand = list(_operand(layer, bank, config))
        others = list(_other_reads(layer, bank, config))
        writes = list(_writes(layer, bank, config))
        crossing = 1 - lane
        needs, by_operand = [0, 0], [0, 0]
        for of in Lane:
            by_operand[of] = uses.written(of, operand)
            needs[of] = uses.written(of, others)
        needs[crossing] = max(needs[crossing], uses.touched(crossing, writes))
        if lane == Lane.GEMM:
            needs[Lane.VECTOR] = max(needs[Lane.VECTOR], fence)
        elif unit in _ALONE:
            needs[Lane.GEMM] = counts[Lane.GEMM]
            if any(other.descriptor.unit != Unit.LOAD_IMAGE for other in of_lane[Lane.VECTOR]):
                needs[Lane.VECTOR] = counts[Lane.VECTOR]
        by_tile = [
            by_operand[of] > needs[of] and _follows_by_token_tile(layer, of_lane[of][by_operand[of] - 1])
            for of in Lane
        ]
        result.append(
            After(
                gemms=max(needs[Lane.GEMM], by_operand[Lane.GEMM]),
                vectors=max(needs[Lane.VECTOR], by_operand[Lane.VECTOR]),
                gemm_by_tile=by_tile[Lane.GEMM],
                vector_by_tile=by_tile[Lane.VECTOR],
            )
        )
        of_lane[lane].append(layer)
        counts[lane] += 1
        if unit in _ALONE or unit == Unit.LOAD_IMAGE:
            fence = counts[Lane.VECTOR]
        uses.note(lane, counts[lane], [*operand, *others], writes)
    return result


def image_released(layers: Sequence[PlannedLayer], image: PlannedLayer) -> int:
    """How many first GEMMs must be complete before another image may take this one's place."""
    gemms = [layer for layer in layers if layer.descriptor.unit == Unit.GEMM]
    assert image.y is not None
    tensor = image.y.tensor
    return max(
        (n for n, layer in enumerate(gemms, 1) if layer.x is not None and layer.x.tensor is tensor), default=0
    )


class _LastUses:
    """The last layer of each lane that wrote, and that read, each memory word; counted from 1, 0 for none."""

    def __init__(self) -> None:
        self._writers: dict[tuple[int, int], np.ndarray] = {}
        self._readers: dict[tuple[int, int], np.ndarray] = {}

    def written(self, lane: int, touched: Iterable[_Words]) -> int:
        """The latest layer of a lane that wrote any of these words."""
        return self._latest(self._writers, lane, touched)

    def touched(self, lane: int, touched: Iterable[_Words]) -> int:
        """The latest layer of a lane that wrote or read any of these words."""
        words = list(touched)
        return max(self._latest(self._writers, lane, words), self._latest(self._readers, lane, words))

    def note(self, lane: int, count: int, reads: Iterable[_Words], writes: Iterable[_Words]) -> None:
        """The layer that makes ``count`` layers of its lane reads and writes these words."""
        for of, touched in ((self._readers, reads), (self._writers, writes)):
            for memory, words in touched:
                self._known(of, lane, memory, words)[words] = count

    def _latest(self, of: dict[tuple[int, int], np.ndarray], lane: int, touched: Iterable[_Words]) -> int:
        return max(
            (int(self._known(of, lane, memory, words)[words].max()) for memory, words in touched), default=0
        )

    @staticmethod
    def _known(
        of: dict[tuple[int, int], np.ndarray], lane: int, memory: int, words: np.ndarray
    ) -> np.ndarray:
        known = of.get((lane, memory), np.zeros(0, np.int64))
        missing = int(words.max()) + 1 - len(known)
        if missing > 0:
            known = of[lane, memory] = np.concatenate([known, np.zeros(missing, np.int64)])
        return known


class _Banks:
    """Which bank of the row maxima or normalisers a layer uses: every kind of layer takes them in turn."""

    def __init__(self) -> None:
        self._next = dict.fromkeys(("scores", "softmax", "context"), 0)

    def of(self, layer: PlannedLayer) -> int:
        """The bank of this layer, which is the next of its kind."""
        d = layer.descriptor
        kind = None
        if d.unit == Unit.SOFTMAX:
            kind = "softmax"
        elif d.unit == Unit.GEMM and d.destination in _TRACKING:
            kind = "scores"
        elif d.unit == Unit.GEMM and d.scaling == Scaling.RECIPROCAL:
            kind = "context"
        if kind is None:
            return 0
        bank = self._next[kind]
        self._next[kind] = (bank + 1) % _BANKS
        return bank


def _words(region: Region, config: AcceleratorConfig) -> _Words:
    """The words of T_k channels that hold a region; all lanes of a word count as one."""
    tensor, depth = region.tensor, config.tile_depth
    tiles = np.arange(ceil_div(region.tokens, config.tile_tokens)) * (tensor.stride // depth)
    first = (tensor.base + region.column) // depth
    return int(tensor.memory), (first + tiles[:, None] + np.arange(ceil_div(region.channels, depth))).ravel()


def _operand(layer: PlannedLayer, bank: int, config: AcceleratorConfig) -> Iterator[_Words]:
    """What is there token tile by token tile as its writer goes on."""
    d = layer.descriptor
    if layer.x is not None:
        yield _words(layer.x, config)
    if d.unit == Unit.SOFTMAX:
        yield _MAXIMA, np.array([bank])
    if d.unit == Unit.LAYER_NORM and d.rows and d.scaling != Scaling.CONSTANT:
        yield _MOMENTS, np.zeros(1, np.int64)


def _other_reads(layer: PlannedLayer, bank: int, config: AcceleratorConfig) -> Iterator[_Words]:
    d = layer.descriptor
    if layer.digits is not None:
        yield _words(layer.digits, config)
    if layer.y is not None and d.destination in _ADDING:
        yield _words(layer.y, config)
    if d.scaling == Scaling.RECIPROCAL:
        yield _NORMALIZERS, np.array([bank])


def _writes(layer: PlannedLayer, bank: int, config: AcceleratorConfig) -> Iterator[_Words]:
    d = layer.descriptor
    if layer.y is not None:
        yield _words(layer.y, config)
    if d.unit == Unit.GEMM and d.destination in _TRACKING:
        yield _MAXIMA, np.array([bank])
    adds = d.unit == Unit.GEMM and d.destination == Destination.WIDE_ADD
    if adds or (d.unit == Unit.LAYER_NORM and not d.rows):  # the unit keeps its own ones where those are
        yield _MOMENTS, np.zeros(1, np.int64)
    if d.unit == Unit.SOFTMAX:
        yield _NORMALIZERS, np.array([bank])


#: Where a layer's operand must be written for it to follow by token tile.
_SOURCES = {
    Unit.GEMM: (Destination.ACTIVATION,),
    Unit.LAYER_NORM: (Destination.WIDE_ADD,),
    Unit.SOFTMAX: _TRACKING,
}


def _follows_by_token_tile(layer: PlannedLayer, before: PlannedLayer) -> bool:
    """Whether a layer's operand becomes complete token tile by token tile as the layer before it runs."""
    unit, writer = layer.descriptor.unit, before.descriptor.unit
    if writer == Unit.GEMM:
        in_order = before.descriptor.destination in _SOURCES.get(Unit(unit), ())
    else:
        in_order = writer == Unit.LAYER_NORM and unit == Unit.GEMM
    if unit == Unit.GEMM and layer.descriptor.digit_source != DigitSource.STREAM:
        in_order = False
    x, y = layer.x, before.y
    return (
        in_order
        and x is not None
        and y is not None
        and x.tensor.memory == y.tensor.memory != Memory.DIGIT
        and (x.tensor.base + x.column, x.tensor.stride) == (y.tensor.base + y.column, y.tensor.stride)
        and layer.descriptor.tokens <= before.descriptor.tokens
    )
