"""Arrays over layers, taken apart: what is equal is computed once, what is constant is a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TypeVar

import numpy as np

from qvit_hls.hw.timing.network import NetworkShape
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.vector_units import VectorWork
from qvit_hls.hw.timing.work import GemmWork

Work = TypeVar("Work", GemmWork, VectorWork)
_FIELDS = [f.name for f in fields(NetworkShape)]
#: What layers wait for does not change what they take by themselves.
_ALONE = [name for name in _FIELDS if not name.startswith("after_") and not name.endswith("_by_tile")]


def by_layer(network: NetworkShape) -> list[NetworkShape]:
    """Networks ``[..., L]`` as L layers; a field that all networks share is a number."""
    count = network.layers
    columns = {}
    for name in _FIELDS:
        values = getattr(network, name)
        values = np.broadcast_to(values, (*values.shape[:-1], count))
        moved = np.ascontiguousarray(np.moveaxis(values, -1, 0)).reshape(count, -1)
        same = (moved == moved[:, :1]).all(1)
        columns[name] = [moved[i, 0] if same[i] else moved[i] for i in range(count)]
    return [NetworkShape(**{name: columns[name][i] for name in _FIELDS}) for i in range(count)]


def work_of(
    compute: Callable[[NetworkShape, Tiles], Work], layers: Sequence[NetworkShape], tiles: Tiles
) -> list[Work]:
    """What each of some layers takes by itself, from a function of layers ``[..., L]``.

    Layers that are equal, or equal in some networks, are computed once.
    """
    found: dict[bytes, int] = {}
    distinct: list[NetworkShape] = []
    places = []
    for layer in layers:
        key = b"|".join(np.asarray(getattr(layer, name)).tobytes() for name in _ALONE)
        if key not in found:
            found[key] = len(distinct)
            distinct.append(layer)
        places.append(found[key])
    single = all(np.ndim(getattr(tiles, f.name)) == 0 for f in fields(tiles))
    results = (_in_each_network if single else _of_each)(compute, distinct, tiles)
    return [results[place] for place in places]


def _of_each(
    compute: Callable[[NetworkShape, Tiles], Work], layers: Sequence[NetworkShape], tiles: Tiles
) -> list[Work]:
    columns = {
        name: np.stack(np.broadcast_arrays(*(getattr(layer, name) for layer in layers)), -1)
        for name in _FIELDS
    }
    work = compute(NetworkShape(**columns), tiles.per_layer())
    shape = np.broadcast_shapes(*(np.shape(getattr(work, f.name)) for f in fields(work)))
    moved = {
        f.name: np.ascontiguousarray(np.moveaxis(np.broadcast_to(getattr(work, f.name), shape), -1, 0))
        for f in fields(work)
    }
    return [type(work)(**{name: values[i] for name, values in moved.items()}) for i in range(len(layers))]


def _in_each_network(
    compute: Callable[[NetworkShape, Tiles], Work], layers: Sequence[NetworkShape], tiles: Tiles
) -> list[Work]:
    """The same for one accelerator: networks that have an equal layer share its work."""
    chosen: dict[str, list[np.ndarray]] = {name: [] for name in _FIELDS}
    parts: list[tuple[int, int, np.ndarray | None]] = []
    begin = 0
    for layer in layers:
        values = [np.asarray(getattr(layer, name)) for name in _FIELDS]
        first, inverse = _different([v for v, name in zip(values, _FIELDS, strict=True) if name in _ALONE])
        count = 1 if inverse is None else len(first)
        for name, value in zip(_FIELDS, values, strict=True):
            chosen[name].append(np.full(count, value) if value.ndim == 0 else value[first])
        parts.append((begin, begin + count, inverse))
        begin += count
    work = compute(NetworkShape(**{name: np.concatenate(c) for name, c in chosen.items()}), tiles)
    arrays = {f.name: np.broadcast_to(getattr(work, f.name), begin) for f in fields(work)}
    return [
        type(work)(**{name: _taken(values[start:end], inverse) for name, values in arrays.items()})
        for start, end, inverse in parts
    ]


def _different(values: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """Networks that differ in a layer's values, and which of them each one equals; None: all are equal."""
    varying = [value for value in values if value.ndim]
    if not varying:
        return np.zeros(1, np.int64), None
    lows, highs = [int(v.min()) for v in varying], [int(v.max()) for v in varying]
    combined = 1
    for low, high in zip(lows, highs, strict=True):
        combined *= high - low + 1
    if combined >= np.iinfo(np.int64).max:
        _, first, inverse = np.unique(np.stack(varying), axis=1, return_index=True, return_inverse=True)
        return first, inverse.reshape(-1)
    key = np.zeros_like(varying[0])
    for value, low, high in zip(varying, lows, highs, strict=True):
        key = key * (high - low + 1) + (value - low)
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return first, inverse


def _taken(values: np.ndarray, inverse: np.ndarray | None) -> np.ndarray:
    if inverse is None or (values == values[0]).all():
        return values[0]
    return values.take(inverse)
