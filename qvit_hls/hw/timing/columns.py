"""Arrays over layers, taken apart into layers: equal ones are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TypeVar

import numpy as np

from qvit_hls.hw.timing.network import NetworkShape
from qvit_hls.hw.timing.vector_units import VectorWork
from qvit_hls.hw.timing.work import GemmWork

Record = TypeVar("Record", NetworkShape, GemmWork, VectorWork)
#: What layers wait for does not change what they take by themselves.
_ALONE = [
    f.name
    for f in fields(NetworkShape)
    if not f.name.startswith("after_") and not f.name.endswith("_by_tile")
]


def by_layer(record: Record) -> list[Record]:
    """A record of arrays ``[..., L]`` as L records; each array is contiguous."""
    shape = np.broadcast_shapes(*(np.shape(getattr(record, f.name)) for f in fields(record)))
    moved = {
        f.name: np.ascontiguousarray(np.moveaxis(np.broadcast_to(getattr(record, f.name), shape), -1, 0))
        for f in fields(record)
    }
    return [type(record)(**{name: values[i] for name, values in moved.items()}) for i in range(shape[-1])]


def different(layers: Sequence[NetworkShape]) -> tuple[NetworkShape, list[int]]:
    """Those of some layers ``[...]`` that differ in what they take by themselves, and which one each is.

    Returns:
        ``(layers [..., D], places)``: layer i equals the one at ``places[i]``.
    """
    found: dict[bytes, int] = {}
    chosen: list[NetworkShape] = []
    places = []
    for layer in layers:
        key = b"".join(getattr(layer, name).tobytes() for name in _ALONE)
        if key not in found:
            found[key] = len(chosen)
            chosen.append(layer)
        places.append(found[key])
    names = [f.name for f in fields(NetworkShape)]
    stacked = {name: np.moveaxis(np.stack([getattr(one, name) for one in chosen]), 0, -1) for name in names}
    return NetworkShape(**stacked), places
