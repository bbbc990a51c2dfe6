"""The recurrence of the cycle model: loader, GEMM lane and vector lane, layer after layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from qvit_hls.hw.descriptor import Destination, Unit
from qvit_hls.hw.timing.constants import (
    DESCRIPTOR_WORDS,
    END,
    LAYER_CHANGE,
    LOAD_LAYER,
    MOST_TILES,
    RING,
    START,
    STEP_TO_COMPLETE,
    TILE_TO_STEP,
    TRANSPOSED_TAIL,
    UNIT_COMPLETE,
    UNIT_START,
    mac_latency,
)
from qvit_hls.hw.timing.loader import WeightRing, table_cycles
from qvit_hls.hw.timing.network import ABSENT, NetworkShape
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.vector_units import VectorWork
from qvit_hls.hw.timing.work import GemmWork

_Record = TypeVar("_Record", NetworkShape, GemmWork, VectorWork)
_WAITS = ("drain", "operands", "weights", "change")


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

    def __init__(self, network: NetworkShape, tiles: Tiles, gemm: GemmWork, vector: VectorWork) -> None:
        self._tiles = tiles
        self._layers = _by_layer(network)
        self._gemms, self._vectors = _by_layer(gemm), _by_layer(vector)
        shape = np.broadcast_shapes(*(np.shape(getattr(gemm, f.name))[:-1] for f in fields(gemm)))
        self._zero = np.zeros(np.broadcast_shapes(shape, np.shape(tiles.weight_depth)))
        self._pipeline = STEP_TO_COMPLETE + mac_latency(tiles.activation_bits, tiles.tile_depth)
        self._block = np.asarray(tiles.tile_tokens) / np.asarray(tiles.tile_depth)
        self.begin: list[np.ndarray] = []
        self.complete: list[np.ndarray] = [self._zero]
        self.lane_complete: list[np.ndarray] = []
        self.waits: dict[str, list[np.ndarray]] = {name: [] for name in _WAITS}
        self._first_complete: list[np.ndarray] = [self._zero]
        self._passed: list[np.ndarray] = []  # when nothing needs a layer's descriptor any more
        self._drains: list[np.ndarray] = [self._zero]  # of a slot of each layer's last row tile
        self._ring = WeightRing(2 * np.asarray(tiles.weight_depth), MOST_TILES, self._zero)
        self._state = {
            "known": self._zero + START,
            "load_free": self._zero + START,
            "last_step": self._zero - 1,
            "drained": self._zero,  # the array may end a slot from here on
            "skipped": self._zero,  # layers of the vector lane since the last GEMM
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
        if index >= RING:
            known = np.maximum(known, self._passed[index - RING] + DESCRIPTOR_WORDS)
        state["known"] = np.where(present, known, state["known"])
        lanes: list[tuple[np.ndarray, Callable[[int], _Outcome]]] = [
            (unit == Unit.GEMM, self._gemm),
            (present & (unit != Unit.GEMM), self._vector),
        ]
        gemm_before, vector_before = state["gemm_complete"], state["vector_complete"]
        # An absent layer is complete with what its lane completed before.
        begin, waits = self._zero, dict.fromkeys(_WAITS, self._zero)
        complete = first = self._zero
        drain = self._zero
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
            if run == self._gemm:
                drain = chosen(self._gemms[index].last_drain + self._zero, drain)
        if not present.all():
            lane = state["gemm_complete"] if (unit == Unit.GEMM).any() else state["vector_complete"]
            complete, first = np.where(present, complete, lane), np.where(present, first, lane)
        self.begin.append(begin)
        self.complete.append(complete)
        self._first_complete.append(first)
        self._drains.append(drain)
        self.lane_complete.append(np.where(unit == Unit.GEMM, gemm_before, vector_before))
        passed = np.where(unit == Unit.GEMM, state["last_step"] + 1, state["vector_complete"])
        passed = np.maximum(passed, state["load_free"])
        self._passed.append(np.maximum(passed, self._passed[-1]) if self._passed else passed)
        for name in _WAITS:
            self.waits[name].append(waits[name])

    def frame_end(self) -> np.ndarray:
        """When the frame is complete, and the next one's image is loaded."""
        state = self._state
        layers = np.maximum(state["gemm_complete"], state["vector_complete"])
        return np.maximum(layers, state["image_from"] + state["image_cycles"]) + END

    def _operands(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """When the first and the last token tile of a layer may be read."""
        layer = self._layers[index]
        first = last = self._zero
        for after, by_tile in (
            (layer.after_gemm, layer.gemm_by_tile),
            (layer.after_vector, layer.vector_by_tile),
        ):
            complete = _at(self.complete, after)
            first = np.maximum(first, np.where(by_tile > 0, _at(self._first_complete, after), complete))
            last = np.maximum(last, complete)
        return first, last

    def _gemm(self, index: int) -> _Outcome:
        layer, work, state = self._layers[index], self._gemms[index], self._state
        ready, all_ready = self._operands(index)
        several = work.token_tiles - 1

        # The loader: table, then row tiles, as far ahead as the ring has room.
        load = np.maximum(state["load_free"], state["known"]) + LOAD_LAYER
        load = load + table_cycles(layer.table_entries, self._tiles)
        load = np.where(layer.from_memory > 0, np.maximum(load, all_ready), load)
        load = np.maximum(load, self._ring.room_for(1.0, work.k_steps))
        weights = load + work.load_first + TILE_TO_STEP

        # The array: the first row tile follows its operands, later ones find them complete.
        change = np.maximum(state["last_step"] + LAYER_CHANGE + state["skipped"], state["known"])
        begin = np.maximum(np.maximum(change, ready), weights)
        first_end = np.maximum(begin + work.k_steps - 1, state["drained"])
        row_free = first_end + several * work.first_slot
        row_end = np.maximum(row_free, all_ready + work.k_steps - 1)
        end = row_end + work.between - several * work.first_slot
        # Bound by the loader: from its first row tile on, or from when those loaded ahead are used up.
        behind = work.row_tiles - self._ring.tiles(work.k_steps)
        used_up = row_end + 1 + np.maximum(behind, 0) * work.load_all / work.row_tiles
        loaded = np.where(behind > 0, np.maximum(load + work.load_all, used_up), load + work.load_all)
        bound = loaded + TILE_TO_STEP + work.k_steps - 1 + several * work.last_slot
        weight_wait = np.maximum(bound - end, 0.0)
        end = end + weight_wait

        spacing = np.where(work.row_tiles > 1, (end - row_end) / np.maximum(work.row_tiles - 1, 1), 0.0)
        tiles = np.where(layer.unit == Unit.GEMM, work.row_tiles, 0.0)
        self._ring.push(tiles, work.k_steps, end, spacing)
        transposed = layer.destination == Destination.ACTIVATION_TRANSPOSED
        tail = np.where(transposed, self._block + TRANSPOSED_TAIL, 0.0)
        complete = end + self._pipeline + work.last_drain + tail
        return _Outcome(
            begin=begin,
            first_complete=complete - several * work.last_slot,
            complete=complete,
            waits={
                "drain": first_end - begin - work.k_steps + 1 + work.drain_bound,
                "operands": np.maximum(ready - change, 0.0) + row_end - row_free,
                "weights": begin - np.maximum(change, ready) + weight_wait,
                "change": change - state["last_step"] - 1,
            },
            state={
                "load_free": np.maximum(loaded, self._ring.room_for(0.0, self._zero) + work.load_last),
                "last_step": end,
                "drained": end + work.last_drain + tail,
                "skipped": self._zero,
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
        first = begin + work.first
        last = first + (work.token_tiles - 1) * work.per_tile + self._stalls(index, begin, all_ready)
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

    def _stalls(self, index: int, begin: np.ndarray, all_ready: np.ndarray) -> np.ndarray:
        """Cycles in which LayerNorm leaves a memory to the drain of the GEMM before it or behind it."""
        layer, work = self._layers[index], self._vectors[index]
        if not (layer.unit == Unit.LAYER_NORM).any():
            return self._zero
        several = work.token_tiles - 1
        before = _at(self._first_complete, layer.after_gemm)
        slot = (all_ready - before) / np.maximum(several, 1)
        left = np.clip((all_ready - begin - work.latency) / np.maximum(slot, 1), 0, several)
        stalls = np.where(layer.gemm_by_tile > 0, left * _at(self._drains, layer.after_gemm), 0.0)
        following = index + 1
        while following < len(self._layers) and not (self._layers[following].unit == Unit.GEMM).any():
            following += 1
        if following < len(self._layers):
            reader = self._layers[following]
            writes = (reader.vector_by_tile > 0) & (reader.destination == Destination.ACTIVATION)
            stalls = stalls + np.where(
                writes, np.maximum(several - 1, 0) * self._gemms[following].first_drain, 0.0
            )
        return np.where(layer.unit == Unit.LAYER_NORM, stalls, 0.0)


def _by_layer(record: _Record) -> list[_Record]:
    """A record of arrays ``[..., L]`` as L records; each array is contiguous."""
    shape = np.broadcast_shapes(*(np.shape(getattr(record, f.name)) for f in fields(record)))
    moved = {
        f.name: np.ascontiguousarray(np.moveaxis(np.broadcast_to(getattr(record, f.name), shape), -1, 0))
        for f in fields(record)
    }
    return [type(record)(**{name: values[i] for name, values in moved.items()}) for i in range(shape[-1])]


def _at(values: Sequence[np.ndarray], places: np.ndarray) -> np.ndarray:
    """For each network, the value at its place."""
    low, high = int(places.min()), int(places.max())
    if low == high:
        return values[low]
    result = values[low]
    for place in range(low + 1, high + 1):
        if (here := places == place).any():
            result = np.where(here, values[place], result)
    return result
