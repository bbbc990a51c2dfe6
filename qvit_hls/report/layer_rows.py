"""Rows of a table of layers: the heads of one attention share a row, in a deep network each block does."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

#: Beyond this many rows, the layers of a block share one.
_MOST_ROWS = 64
_HEAD = re.compile(r"\[\d+\]$")
_BLOCK = re.compile(r"(.*?\.\d+)\.")


def group_layers(
    layers: Sequence[T], name: Callable[[T], str], alone: Callable[[T], bool] = lambda layer: False
) -> list[tuple[str, list[T]]]:
    """Row titles with the layers that each row is about, in the order of their first layers.

    Args:
        layers: in the accelerator's order.
        name: a layer's name (``blocks.3.attn.scores[1]``).
        alone: layers that keep a row of their own.
    """
    rows = _grouped(layers, lambda layer: name(layer) if alone(layer) else _HEAD.sub("", name(layer)))
    if len(rows) > _MOST_ROWS:
        rows = _grouped(layers, lambda layer: name(layer) if alone(layer) else _block(name(layer)))
    return [
        (
            title
            if len({_HEAD.sub("", name(layer)) for layer in group}) == 1
            else f"{title} ({len(group)} layers)",
            group,
        )
        for title, group in rows
    ]


def _block(name: str) -> str:
    found = _BLOCK.match(name)
    return _HEAD.sub("", name) if found is None else found[1]


def _grouped(layers: Sequence[T], title: Callable[[T], str]) -> list[tuple[str, list[T]]]:
    rows: dict[str, list[T]] = {}
    for layer in layers:
        rows.setdefault(title(layer), []).append(layer)
    return list(rows.items())
