"""Which earlier layers must be complete before a layer may read its operands: the descriptors' ``after``.

Layers are issued, and their results written, in order, so a layer never overwrites what an earlier one still
has to read; only reading too early must be prevented.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import (
    AFTER_BY_TOKEN_TILE,
    Destination,
    DigitSource,
    Memory,
    Scaling,
    Unit,
)
from qvit_hls.hw.gemm_timing import ceil_div
from qvit_hls.hw.scheduling.plan import PlannedLayer, Region

#: Memories beside those that hold tensors: attention's row maxima and normalisers, one word each.
_MAXIMA, _NORMALIZERS = -1, -2


def dependencies(layers: Sequence[PlannedLayer], config: AcceleratorConfig) -> list[int]:
    """The word ``after`` of each layer; the tensors must have been placed.

    It is the number n of first layers that must be complete. Bit ``AFTER_BY_TOKEN_TILE`` is set where the
    last of them, layer n - 1, may still be finishing: a token tile then waits only until that layer has
    written the same token tile. That is so for a GEMM with streamed digits whose operand is what the layer
    before it writes to the activation memory, when it reads nothing else of that layer.

    A vector unit runs alone, so all layers before it must be complete.
    """
    writers = _LastWriters()
    after = []
    for index, layer in enumerate(layers):
        needed = index
        if layer.descriptor.unit == Unit.GEMM:
            operand = writers.latest(_operand(layer, config))
            others = writers.latest(_other_reads(layer, config))
            needed = max(operand, others)
            if operand == index > others and _follows_by_token_tile(layer, layers[index - 1]):
                needed |= 1 << AFTER_BY_TOKEN_TILE
        after.append(needed)
        writers.note(index, _writes(layer, config))
    return after


#: A memory, and the words of it that are touched.
_Words = tuple[int, np.ndarray]


class _LastWriters:
    """One more than the index of the last layer that wrote each memory word; 0 where none has."""

    def __init__(self) -> None:
        self._of: dict[int, np.ndarray] = {}

    def latest(self, touched: Iterator[_Words]) -> int:
        """The latest of all these words."""
        return max((int(self._memory(memory, words)[words].max()) for memory, words in touched), default=0)

    def note(self, index: int, touched: Iterator[_Words]) -> None:
        """A layer writes these words."""
        for memory, words in touched:
            self._memory(memory, words)[words] = index + 1

    def _memory(self, memory: int, words: np.ndarray) -> np.ndarray:
        known = self._of.get(memory, np.zeros(0, np.int64))
        missing = int(words.max()) + 1 - len(known)
        if missing > 0:
            known = self._of[memory] = np.concatenate([known, np.zeros(missing, np.int64)])
        return known


def _words(region: Region, config: AcceleratorConfig) -> _Words:
    """The words of T_k channels that hold a region; all lanes of a word count as one."""
    tensor, depth = region.tensor, config.tile_depth
    tiles = np.arange(ceil_div(tensor.tokens, config.tile_tokens)) * (tensor.stride // depth)
    first = (tensor.base + region.column) // depth
    return int(tensor.memory), (first + tiles[:, None] + np.arange(ceil_div(region.channels, depth))).ravel()


def _operand(layer: PlannedLayer, config: AcceleratorConfig) -> Iterator[_Words]:
    if layer.x is not None:
        yield _words(layer.x, config)


def _other_reads(layer: PlannedLayer, config: AcceleratorConfig) -> Iterator[_Words]:
    d = layer.descriptor
    if layer.digits is not None:
        yield _words(layer.digits, config)
    if layer.y is not None and d.destination == Destination.WIDE_ADD:
        yield _words(layer.y, config)
    if d.scaling == Scaling.RECIPROCAL:
        yield _NORMALIZERS, np.zeros(1, np.int64)


def _writes(layer: PlannedLayer, config: AcceleratorConfig) -> Iterator[_Words]:
    d = layer.descriptor
    if layer.y is not None:
        yield _words(layer.y, config)
    if d.unit == Unit.GEMM and d.destination == Destination.SCORES:
        yield _MAXIMA, np.zeros(1, np.int64)
    if d.unit == Unit.SOFTMAX:
        yield _NORMALIZERS, np.zeros(1, np.int64)


def _follows_by_token_tile(layer: PlannedLayer, before: PlannedLayer) -> bool:
    """Whether a GEMM's token tiles are complete one by one as the layer before it writes them."""
    x, y = layer.x, before.y
    return (
        layer.descriptor.digit_source == DigitSource.STREAM
        and before.descriptor.unit == Unit.GEMM
        and before.descriptor.destination == Destination.ACTIVATION
        and x is not None
        and y is not None
        and x.tensor.memory == y.tensor.memory == Memory.ACTIVATION
        and (x.tensor.base + x.column, x.tensor.stride) == (y.tensor.base + y.column, y.tensor.stride)
        and layer.descriptor.tokens <= before.descriptor.tokens
    )
