"""The recurrence of the cycle model: loader, GEMM lane and vector lane, layer after layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from qvit_hls.hw.descriptor import Destination, Unit
from qvit_hls.hw.timing.columns import by_layer, work_of
from qvit_hls.hw.timing.constants import (
    DESCRIPTOR_WORDS,
    END,
    LAYER_CHANGE,
    LOAD_LAYER,
    RING,
    START,
    STEP_TO_COMPLETE,
    TRANSPOSED_TAIL,
    UNIT_COMPLETE,
    UNIT_START,
    mac_latency,
)
from qvit_hls.hw.timing.gemm_loading import GemmLoading
from qvit_hls.hw.timing.loader import WeightRing, table_cycles
from qvit_hls.hw.timing.network import ABSENT, NetworkShape
from qvit_hls.hw.timing.stalls import Source, reader_stalls
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.vector_units import vector_work
from qvit_hls.hw.timing.work import gemm_work

WAITS = ("drain", "operands", "weights", "change")


@dataclass(frozen=True, eq=False)
class _Outcome:
    """A layer's times, and the state behind it."""

    begin: np.ndarray
    first_complete: np.ndarray
    complete: np.ndarray
    waits: dict[str, np.ndarray]
    state: dict[str, np.ndarray]


class Lanes:
    """Times of the layers so far, each an array over networks or accelerators, in cycles after ap_start.

    Args:
        with_waits: keep what each layer waits for; a search does without.

    Attributes:
        begin: of each layer. complete: of each layer, behind a 0 for no layer.
        lane_complete: of the layer before in the same lane.
        waits: cycles of the MAC tile that each layer loses, by cause.
    """

    def __init__(self, network: NetworkShape, tiles: Tiles, with_waits: bool = True) -> None:
        self._tiles = tiles
        self._with_waits = with_waits
        self._layers = by_layer(network)
        gemm, vector = network.unit == Unit.GEMM, (network.unit != Unit.GEMM) & (network.unit != ABSENT)
        over_networks = tuple(range(network.unit.ndim - 1))
        self._present = [_mask(layer.unit != ABSENT) for layer in self._layers]
        gemms = [int(i) for i in np.flatnonzero(gemm.any(over_networks))]
        vectors = [int(i) for i in np.flatnonzero(vector.any(over_networks))]
        alone = [replace(self._layers[i], unit=np.int64(Unit.GEMM)) for i in gemms]
        self._gemms = dict(zip(gemms, work_of(gemm_work, alone, tiles), strict=True))
        alone = [_one_unit(self._layers[i]) for i in vectors]
        self._vectors = dict(zip(vectors, work_of(vector_work, alone, tiles), strict=True))
        # GEMMs that LayerNorms follow token tile by token tile.
        norms = (network.unit == Unit.LAYER_NORM) & (network.gemm_by_tile > 0)
        self._followed = set(np.unique(np.broadcast_to(network.after_gemm, norms.shape)[norms] - 1).tolist())
        shapes = [np.shape(getattr(network, f.name))[:-1] for f in fields(network)]
        self._zero = np.zeros(np.broadcast_shapes(*shapes, np.shape(tiles.tile_tokens)))
        self._pipeline = STEP_TO_COMPLETE + mac_latency(tiles.activation_bits, tiles.tile_depth)
        self._block = np.asarray(tiles.tile_tokens) / np.asarray(tiles.tile_depth)
        self.begin: list[np.ndarray] = []
        self.complete: list[np.ndarray] = [self._zero]
        self.lane_complete: list[np.ndarray] = []
        self.waits: dict[str, list[np.ndarray]] = {name: [] for name in WAITS}
        self._first_complete: list[np.ndarray] = [self._zero]
        # When nothing needs the descriptors of the last RING layers any more.
        self._passed = [self._zero] * RING
        self._source = Source(**{f.name: self._zero for f in fields(Source)})
        self._ring = WeightRing(2 * np.asarray(tiles.weight_depth), self._zero)
        self._state = {
            "known": self._zero + START,
            "load_free": self._zero + START,
            "last_step": self._zero - 1,
            "drained": self._zero,  # the array may end a slot from here on
            "skipped": self._zero,  # layers of the vector lane since the last GEMM
            "gemm_first": self._zero,  # as in first_complete, of the lane's last layer
            "gemm_complete": self._zero,
            "vector_first": self._zero,
            "vector_complete": self._zero,
        }
        self._image_cycles = self._image_from = self._zero
        self._image_read = np.zeros(self._zero.shape, bool)

    def layer(self, index: int) -> None:
        """Advance by one layer."""
        state, unit, present = self._state, self._layers[index].unit, self._present[index]
        known = np.maximum(state["known"], self._passed[0]) + DESCRIPTOR_WORDS
        state["known"] = _chosen(present, known, state["known"])
        gemm_before, vector_before = state["gemm_complete"], state["vector_complete"]
        # An absent layer is complete with what its lane completed before.
        begin, waits = self._zero, dict.fromkeys(WAITS, self._zero)
        complete = gemm_before if index in self._gemms else vector_before
        first = state["gemm_first" if index in self._gemms else "vector_first"]
        for run, works in ((self._gemm, self._gemms), (self._vector, self._vectors)):
            if index not in works:
                continue
            mask = _mask((unit == Unit.GEMM) if run == self._gemm else (unit != Unit.GEMM) & (unit != ABSENT))
            outcome = run(index, mask)
            for name, value in outcome.state.items():
                state[name] = _chosen(mask, value, state[name])
            begin, complete = _chosen(mask, outcome.begin, begin), _chosen(mask, outcome.complete, complete)
            first = _chosen(mask, outcome.first_complete, first)
            waits |= {name: _chosen(mask, value, waits[name]) for name, value in outcome.waits.items()}
        self.begin.append(begin)
        self.complete.append(complete)
        self._first_complete.append(first)
        if self._with_waits:
            self.lane_complete.append(np.where(unit == Unit.GEMM, gemm_before, vector_before))
            for name in WAITS:
                self.waits[name].append(waits[name])
        passed = state["vector_complete"]
        if index in self._gemms:
            passed = _chosen(_mask(unit == Unit.GEMM), state["last_step"] + 1, passed)
        passed = np.maximum(np.maximum(passed, state["load_free"]), self._passed[-1])
        later = [*self._passed[1:], passed]
        self._passed = [_chosen(present, new, old) for new, old in zip(later, self._passed, strict=True)]

    @property
    def steps(self) -> np.ndarray:
        """Steps of the MAC tile for all layers."""
        result = self._zero
        for index, work in self._gemms.items():
            steps = work.row_tiles * work.token_tiles * work.k_steps
            result = result + np.where(self._layers[index].unit == Unit.GEMM, steps, 0.0)
        return result

    def frame_end(self) -> np.ndarray:
        """When the frame is complete, and the next one's image is loaded."""
        state = self._state
        layers = np.maximum(state["gemm_complete"], state["vector_complete"])
        return np.maximum(layers, self._image_from + self._image_cycles) + END

    def _operands(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """When the first and the last token tile of a layer may be read."""
        layer = self._layers[index]
        single = layer.tokens <= self._tiles.tile_tokens
        first = last = self._zero
        for after, by_tile in (
            (layer.after_gemm, layer.gemm_by_tile),
            (layer.after_vector, layer.vector_by_tile),
        ):
            if not np.any(after):
                continue
            complete = _at(self.complete, after)
            if not np.any(by_tile):
                first, last = np.maximum(first, complete), np.maximum(last, complete)
                continue
            begun = _chosen(_mask(by_tile > 0), _at(self._first_complete, after), complete)
            first = np.maximum(first, begun)
            # A layer of one token tile waits for no other.
            last = np.maximum(last, _chosen(_mask(single), begun, complete))
        return first, last

    def _gemm(self, index: int, mask: np.ndarray | None) -> _Outcome:
        layer, work, state = self._layers[index], self._gemms[index], self._state
        ready, all_ready = self._operands(index)
        several = work.token_tiles - 1

        # The loader: table, then row tiles, as far ahead as the ring has room.
        load = np.maximum(state["load_free"], state["known"]) + LOAD_LAYER
        load = load + table_cycles(layer.table_entries, self._tiles)
        load = _chosen(_mask(layer.from_memory > 0), np.maximum(load, all_ready), load)
        loading = GemmLoading.into(self._ring, work, load)
        weights = loading.first_step

        # The array: the first group of row tiles follows its operands, later ones find them complete.
        change = np.maximum(state["last_step"] + LAYER_CHANGE + state["skipped"], state["known"])
        begin = np.maximum(np.maximum(change, ready), weights)
        first_end = np.maximum(begin + work.k_steps - 1, state["drained"])
        group_free = first_end + several * work.first_group
        group_ready = np.maximum(group_free, all_ready + work.k_steps - 1)
        end = group_ready + (work.between - several * work.first_group)
        group_end = group_ready + (work.first_group - work.k_steps)
        loaded = loading.loaded(group_end)
        free_end, end = end, np.maximum(end, loading.last_step(loaded))
        in_buffer = loading.in_buffer(group_end, end)
        self._ring.push(in_buffer, mask)
        last_loaded = in_buffer.last_loaded(loading.fit, loading.each, work.load_last)

        transposed = layer.destination == Destination.ACTIVATION_TRANSPOSED
        tail = np.where(transposed, self._block + TRANSPOSED_TAIL, 0.0)
        complete = end + (self._pipeline + work.last_drain + tail)
        first_complete = complete - several * work.last_group
        if index in self._followed:
            source = Source(
                work.last_group, work.last_drains, work.last_slot, work.last_drain, loading.last_tiles,
                first_complete, complete,
            )  # fmt: skip
            self._source = source.where(mask, self._source)
        if not self._image_read.all():
            first_one = ~self._image_read if mask is None else mask & ~self._image_read
            self._image_from = np.where(first_one, complete, self._image_from)
            self._image_read = self._image_read | first_one
        waits = {}
        if self._with_waits:
            waits = {
                "drain": first_end - begin - work.k_steps + 1 + work.drain_bound,
                "operands": np.maximum(ready - change, 0.0) + group_ready - group_free,
                "weights": begin - np.maximum(change, ready) + end - free_end,
                "change": change - state["last_step"] - 1,
            }
        return _Outcome(
            begin=begin,
            first_complete=first_complete,
            complete=complete,
            waits=waits,
            state={
                "load_free": np.maximum(loaded, last_loaded),
                "last_step": end,
                "drained": end + (work.last_drain + tail),
                "skipped": self._zero,
                "gemm_first": first_complete,
                "gemm_complete": complete,
            },
        )

    def _vector(self, index: int, mask: np.ndarray | None) -> _Outcome:
        layer, work, state = self._layers[index], self._vectors[index], self._state
        ready, all_ready = self._operands(index)
        load = np.maximum(state["load_free"], state["known"]) + LOAD_LAYER
        load = load + table_cycles(layer.table_entries, self._tiles)
        residual = _mask(layer.unit == Unit.LOAD_RESIDUAL)
        load = _chosen(residual, np.maximum(load, all_ready) + work.stream, load)
        begin = np.maximum(np.maximum(state["vector_complete"], ready), load) + UNIT_START
        of_first, stalls = self._stalls(index, begin)
        first = begin + (work.first + UNIT_COMPLETE) + of_first
        last = begin + (work.first + (work.token_tiles - 1) * work.per_tile) + stalls
        complete = np.maximum(last, all_ready + work.last) + (work.tail + UNIT_COMPLETE)
        image = _mask(layer.unit == Unit.LOAD_IMAGE)
        self._image_cycles = _chosen(image, work.image + self._zero, self._image_cycles)
        return _Outcome(
            begin=begin,
            first_complete=first,
            complete=complete,
            waits={},
            state={
                "load_free": load,
                "skipped": state["skipped"] + 1,
                "vector_first": first,
                "vector_complete": complete,
            },
        )

    def _stalls(self, index: int, begin: np.ndarray) -> tuple[np.ndarray | float, np.ndarray | float]:
        """Cycles in which LayerNorm leaves a memory to the drain: in its first token tile, and in all."""
        layer, work = self._layers[index], self._vectors[index]
        norm = layer.unit == Unit.LAYER_NORM
        if not norm.any():
            return 0.0, 0.0
        follows = _mask(norm & (layer.gemm_by_tile > 0))
        of_first = _chosen(follows, self._source.of_first(work, begin), self._zero)
        many = _mask(work.token_tiles > 1)
        stalls = _chosen(follows, _chosen(many, self._source.of_all(work, begin), of_first), self._zero)
        following = min((other for other in self._gemms if other > index), default=None)
        if following is not None:
            reader = self._layers[following]
            writes = (reader.vector_by_tile > 0) & (reader.destination == Destination.ACTIVATION) & norm
            if writes.any():
                lost = reader_stalls(work, reader, self._gemms[following], self._tiles)
                stalls = stalls + np.where(writes, lost, 0.0)
        return of_first, stalls


def _mask(where: np.ndarray | bool) -> np.ndarray | None:
    """None in place of a mask that is true everywhere."""
    return None if np.all(where) else np.asarray(where)


def _chosen(mask: np.ndarray | None, new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """What is new where the mask holds."""
    if mask is None:
        return new
    if not mask.ndim:
        return old  # a single number is false where it is no None
    return np.where(mask, new, old)


def _one_unit(layer: NetworkShape) -> NetworkShape:
    """A layer of the vector lane whose unit is a number where it is the same in all networks that have it."""
    units = np.unique(layer.unit[layer.unit != ABSENT]) if np.ndim(layer.unit) else [layer.unit]
    return replace(layer, unit=np.int64(units[0])) if len(units) == 1 else layer


def _at(values: Sequence[np.ndarray], places: np.ndarray) -> np.ndarray:
    """For each network, the value at its place."""
    if not np.ndim(places):
        return values[int(places)]
    different = np.unique(places)
    result = values[int(different[0])]
    for place in different[1:]:
        result = np.where(places == place, values[int(place)], result)
    return result
