"""The recurrence of the cycle model: loader, GEMM lane and vector lane, layer after layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qvit_hls.hw.descriptor import Destination, Unit
from qvit_hls.hw.timing.columns import by_layer, different
from qvit_hls.hw.timing.constants import (
    DESCRIPTOR_WORDS,
    END,
    LAYER_CHANGE,
    LOAD_LAYER,
    RING,
    START,
    STEP_TO_COMPLETE,
    TILE_TO_STEP,
    TRANSPOSED_TAIL,
    UNIT_COMPLETE,
    UNIT_START,
    mac_latency,
)
from qvit_hls.hw.timing.loader import LoadedTiles, WeightRing, table_cycles
from qvit_hls.hw.timing.network import ABSENT, NetworkShape
from qvit_hls.hw.timing.stalls import Source, reader_stalls
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.vector_units import vector_work
from qvit_hls.hw.timing.work import gemm_work

_WAITS = ("drain", "operands", "weights", "change")
#: What a LayerNorm must know of the GEMM before it, as in Source.
_SOURCE = ("group", "drains", "slot", "drain", "tiles")


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

    Attributes:
        begin: of each layer. complete: of each layer, behind a 0 for no layer.
        lane_complete: of the layer before in the same lane.
        waits: cycles of the MAC tile that each layer loses, by cause.
    """

    def __init__(self, network: NetworkShape, tiles: Tiles) -> None:
        self._tiles = tiles
        self._layers = by_layer(network)
        distinct, places = different(self._layers)
        columns = tiles.per_layer()
        gemms, vectors = by_layer(gemm_work(distinct, columns)), by_layer(vector_work(distinct, columns))
        self._gemms, self._vectors = [gemms[i] for i in places], [vectors[i] for i in places]
        self._zero = np.zeros(np.broadcast_shapes(network.unit.shape[:-1], np.shape(tiles.tile_tokens)))
        self._mac = mac_latency(tiles.activation_bits, tiles.tile_depth)
        self._pipeline = STEP_TO_COMPLETE + self._mac
        self._block = np.asarray(tiles.tile_tokens) / np.asarray(tiles.tile_depth)
        self.begin: list[np.ndarray] = []
        self.complete: list[np.ndarray] = [self._zero]
        self.lane_complete: list[np.ndarray] = []
        self.waits: dict[str, list[np.ndarray]] = {name: [] for name in _WAITS}
        self._first_complete: list[np.ndarray] = [self._zero]
        # When nothing needs the descriptors of the last RING layers any more.
        self._passed = [self._zero] * RING
        self._ring = WeightRing(2 * np.asarray(tiles.weight_depth), self._zero)
        self._state = {
            "known": self._zero + START,
            "load_free": self._zero + START,
            "last_step": self._zero - 1,
            "drained": self._zero,  # the array may end a slot from here on
            "skipped": self._zero,  # layers of the vector lane since the last GEMM
            **dict.fromkeys(_SOURCE, self._zero),
            "gemm_first": self._zero,
            "gemm_complete": self._zero,
            "vector_complete": self._zero,
            "image_cycles": self._zero,
            "image_from": self._zero,
        }

    def layer(self, index: int) -> None:
        """Advance by one layer."""
        unit, state = self._layers[index].unit, self._state
        present = unit != ABSENT
        known = state["known"] + DESCRIPTOR_WORDS
        known = np.maximum(known, self._passed[0] + DESCRIPTOR_WORDS)
        state["known"] = np.where(present, known, state["known"])
        lanes: list[tuple[np.ndarray, Callable[[int], _Outcome]]] = [
            (unit == Unit.GEMM, self._gemm),
            (present & (unit != Unit.GEMM), self._vector),
        ]
        gemm_before, vector_before = state["gemm_complete"], state["vector_complete"]
        # An absent layer is complete with what its lane completed before.
        begin, waits = self._zero, dict.fromkeys(_WAITS, self._zero)
        complete = first = self._zero
        for mask, run in lanes:
            if not mask.any():
                continue
            outcome = run(index)
            everywhere = bool(mask.all())

            def chosen(
                new: np.ndarray, old: np.ndarray, mask: np.ndarray = mask, all_: bool = everywhere
            ) -> np.ndarray:
                return new if all_ else np.where(mask, new, old)

            for name, value in outcome.state.items():
                state[name] = chosen(value, state[name])
            begin, complete = chosen(outcome.begin, begin), chosen(outcome.complete, complete)
            first = chosen(outcome.first_complete, first)
            waits = {name: chosen(outcome.waits.get(name, self._zero), waits[name]) for name in _WAITS}
        if not present.all():
            lane = state["gemm_complete"] if (unit == Unit.GEMM).any() else state["vector_complete"]
            complete, first = np.where(present, complete, lane), np.where(present, first, lane)
        self.begin.append(begin)
        self.complete.append(complete)
        self._first_complete.append(first)
        self.lane_complete.append(np.where(unit == Unit.GEMM, gemm_before, vector_before))
        passed = np.where(unit == Unit.GEMM, state["last_step"] + 1, state["vector_complete"])
        passed = np.maximum(passed, state["load_free"])
        passed = np.maximum(passed, self._passed[-1])
        if present.all():
            self._passed = [*self._passed[1:], passed]
        else:
            later = [*self._passed[1:], passed]
            self._passed = [np.where(present, n, o) for n, o in zip(later, self._passed, strict=True)]
        for name in _WAITS:
            self.waits[name].append(waits[name])

    @property
    def steps(self) -> np.ndarray:
        """Steps of the MAC tile for all layers."""
        steps = [work.row_tiles * work.token_tiles * work.k_steps for work in self._gemms]
        gemms = [layer.unit == Unit.GEMM for layer in self._layers]
        return sum((np.where(g, s, 0.0) for g, s in zip(gemms, steps, strict=True)), self._zero)

    def frame_end(self) -> np.ndarray:
        """When the frame is complete, and the next one's image is loaded."""
        state = self._state
        layers = np.maximum(state["gemm_complete"], state["vector_complete"])
        return np.maximum(layers, state["image_from"] + state["image_cycles"]) + END

    def _operands(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """When the first and the last token tile of a layer may be read."""
        layer = self._layers[index]
        single = layer.tokens <= self._tiles.tile_tokens
        first = last = self._zero
        for after, by_tile in (
            (layer.after_gemm, layer.gemm_by_tile),
            (layer.after_vector, layer.vector_by_tile),
        ):
            complete = _at(self.complete, after)
            begun = np.where(by_tile > 0, _at(self._first_complete, after), complete)
            first = np.maximum(first, begun)
            # A layer of one token tile waits for no other.
            last = np.maximum(last, np.where(single, begun, complete))
        return first, last

    def _gemm(self, index: int) -> _Outcome:
        layer, work, state = self._layers[index], self._gemms[index], self._state
        ready, all_ready = self._operands(index)
        several = work.token_tiles - 1

        # The loader: table, then row tiles, as far ahead as the ring has room.
        load = np.maximum(state["load_free"], state["known"]) + LOAD_LAYER
        load = load + table_cycles(layer.table_entries, self._tiles)
        load = np.where(layer.from_memory > 0, np.maximum(load, all_ready), load)
        each = work.load_all / work.row_tiles
        room = self._ring.room(work.k_steps)
        load = np.maximum(load, room.loaded(1.0, each) - each)
        weights = load + work.load_first + TILE_TO_STEP

        # The array: the first group of row tiles follows its operands, later ones find them complete.
        change = np.maximum(state["last_step"] + LAYER_CHANGE + state["skipped"], state["known"])
        begin = np.maximum(np.maximum(change, ready), weights)
        first_end = np.maximum(begin + work.k_steps - 1, state["drained"])
        group_free = first_end + several * work.first_group
        group_ready = np.maximum(group_free, all_ready + work.k_steps - 1)
        rest = work.between - several * work.first_group
        end = group_ready + rest
        # Bound by the loader: each time from the first step with a row tile that has just been loaded, the
        # last one of the first group, of the group before the last one, and of all. Those that do not fit
        # beside the first groups wait until these are used up, or until the layer before is done.
        group_end = group_ready + work.first_group - work.k_steps
        slot = work.first_group / work.group
        fit = np.minimum(self._ring.tiles(work.k_steps), work.row_tiles)
        used_up = group_end - (work.group - 1) * slot + (work.row_tiles - fit) * each
        loaded = np.maximum(load + work.load_all, np.where(work.row_tiles > fit, used_up, 0.0))
        loaded = np.maximum(loaded, room.loaded(fit, each) + (work.row_tiles - fit) * each)
        groups = np.ceil(work.row_tiles / work.group)
        last_tiles = work.row_tiles - (groups - 1) * work.group
        before_last = loaded - work.load_last_group + several * work.first_group
        before_last = before_last + work.token_tiles * work.last_group
        bound = loaded + several * work.last_group
        bound = np.where(groups > 1, np.maximum(bound, before_last), bound)
        first_loaded = np.maximum(load + work.load_group, room.loaded(work.group, each))
        by_group = first_loaded + work.between - (work.group - 1) * slot
        bound = np.maximum(bound, by_group) + TILE_TO_STEP + work.k_steps - 1
        weight_wait = np.maximum(bound - end, 0.0)
        end = end + weight_wait

        total = np.where(groups > 1, (end - group_end) / np.maximum(groups - 1, 1), 0.0)
        in_buffer = LoadedTiles(
            tiles=np.where(layer.unit == Unit.GEMM, work.row_tiles, 0.0),
            k_steps=work.k_steps,
            group=work.group,
            last=last_tiles,
            end=end,
            group_cycles=total,
            last_cycles=np.minimum(work.token_tiles * work.last_group, np.where(groups > 1, total, np.inf)),
            slot=work.last_group / last_tiles,
        )
        self._ring.push(in_buffer)
        transposed = layer.destination == Destination.ACTIVATION_TRANSPOSED
        tail = np.where(transposed, self._block + TRANSPOSED_TAIL, 0.0)
        complete = end + self._pipeline + work.last_drain + tail
        first_complete = complete - several * work.last_group
        source = (work.last_group, work.last_drains, work.last_slot, work.last_drain, last_tiles)
        return _Outcome(
            begin=begin,
            first_complete=first_complete,
            complete=complete,
            waits={
                "drain": first_end - begin - work.k_steps + 1 + work.drain_bound,
                "operands": np.maximum(ready - change, 0.0) + group_ready - group_free,
                "weights": begin - np.maximum(change, ready) + weight_wait,
                "change": change - state["last_step"] - 1,
            },
            state={
                "load_free": np.maximum(loaded, in_buffer.last_loaded(fit, each, work.load_last)),
                "last_step": end,
                "drained": end + work.last_drain + tail,
                "skipped": self._zero,
                **dict(zip(_SOURCE, source, strict=True)),
                "gemm_first": first_complete,
                "gemm_complete": complete,
                "image_from": np.where(state["gemm_complete"] > 0, state["image_from"], complete),
            },
        )

    def _vector(self, index: int) -> _Outcome:
        layer, work, state = self._layers[index], self._vectors[index], self._state
        ready, all_ready = self._operands(index)
        load = np.maximum(state["load_free"], state["known"]) + LOAD_LAYER
        load = load + table_cycles(layer.table_entries, self._tiles)
        residual = layer.unit == Unit.LOAD_RESIDUAL
        load = np.where(residual, np.maximum(load, all_ready) + work.stream, load)
        begin = np.maximum(np.maximum(state["vector_complete"], ready), load) + UNIT_START
        of_first, stalls = self._stalls(index, begin)
        first = begin + work.first + of_first
        last = begin + work.first + (work.token_tiles - 1) * work.per_tile + stalls
        complete = np.maximum(last, all_ready + work.last) + work.tail + UNIT_COMPLETE
        image = layer.unit == Unit.LOAD_IMAGE
        return _Outcome(
            begin=begin,
            first_complete=first + UNIT_COMPLETE,
            complete=complete,
            waits={},
            state={
                "load_free": load,
                "skipped": state["skipped"] + 1,
                "vector_complete": complete,
                "image_cycles": np.where(image, work.image, state["image_cycles"]),
            },
        )

    def _stalls(self, index: int, begin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cycles in which LayerNorm leaves a memory to the drain: in its first token tile, and in all."""
        layer, work, state = self._layers[index], self._vectors[index], self._state
        norm = layer.unit == Unit.LAYER_NORM
        if not norm.any():
            return self._zero, self._zero
        follows = norm & (layer.gemm_by_tile > 0)
        source = Source(*(state[name] for name in (*_SOURCE, "gemm_first", "gemm_complete")))
        of_first = np.where(follows, source.of_first(work, begin), 0.0)
        stalls = np.where(work.token_tiles > 1, source.of_all(work, begin), of_first)
        stalls = np.where(follows, stalls, 0.0)
        following = index + 1
        while following < len(self._layers) and not (self._layers[following].unit == Unit.GEMM).any():
            following += 1
        if following < len(self._layers):
            reader = self._layers[following]
            writes = (reader.vector_by_tile > 0) & (reader.destination == Destination.ACTIVATION)
            if writes.any():
                lost = reader_stalls(work, reader, self._gemms[following], self._tiles)
                stalls = stalls + np.where(norm & writes, lost, 0.0)
        return of_first, stalls


def _at(values: Sequence[np.ndarray], places: np.ndarray) -> np.ndarray:
    """For each network, the value at its place."""
    different = np.unique(places)
    result = values[int(different[0])]
    for place in different[1:]:
        result = np.where(places == place, values[int(place)], result)
    return result
