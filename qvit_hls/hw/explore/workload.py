"""A model as the exploration sees it: its layers without weights, and what it needs of the memories."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from functools import cached_property
from math import lcm
from typing import Any

import numpy as np

from qvit_hls.hw.accelerator import Mac
from qvit_hls.hw.descriptor import Descriptor, Unit
from qvit_hls.hw.explore.configuration import complete, unsized
from qvit_hls.hw.gemm_timing import ceil_div
from qvit_hls.hw.program import Program
from qvit_hls.hw.requirements import image_pixels
from qvit_hls.hw.schedule import schedule
from qvit_hls.hw.timing.network import NetworkShape
from qvit_hls.ir.graph import Graph

MEMORIES = ("activation_depth", "digit_depth", "wide_depth")
#: Fields of a sized configuration that a candidate sets, or that depend on its tile.
_VARYING = {
    *("tile_tokens", "tile_rows", "tile_depth", "dsp_rows", "weight_ports", "drain_rows", "image_ahead"),
    *("weight_depth", "max_row_tiles", "image_pixels"),
    *("program_words", "stream_words", "image_words", "result_words"),
    *MEMORIES,
}
#: T_m of schedules that are made for their memories only, which do not depend on it.
_ANY_ROWS = 256


class Workload:
    """One model on one kind of engine.

    Args:
        graph: the integer graph.
        mac: what the engine is made of.
    """

    def __init__(self, graph: Graph, mac: Mac) -> None:
        self.graph = graph
        self.mac: Mac = mac
        self._scheduled: dict[tuple[int, ...], Program] = {}
        self._descriptors: dict[int, Counter[Descriptor]] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return self.graph.name

    @cached_property
    def reference(self) -> Program:
        """The model on a narrow tile, with memories of the sizes it needs."""
        return complete(self.graph, unsized(self.graph, self.mac, (2, _ANY_ROWS, 2)))

    @cached_property
    def network(self) -> NetworkShape:
        """What the frame's cycles depend on; the same for every accelerator."""
        return NetworkShape.of_program(self.reference)

    @cached_property
    def different_layers(self) -> tuple[NetworkShape, np.ndarray]:
        """Layers that differ in their own cycles, ``[L]``, and how many there are of each, int64 ``[L]``."""
        order = [field.name for field in fields(NetworkShape)]
        alone = {name for name in order if name.startswith("after_") or name.endswith("_by_tile")}
        columns = np.stack([getattr(self.network, name) for name in order if name not in alone], axis=1)
        _, first, count = np.unique(columns, axis=0, return_index=True, return_counts=True)
        return NetworkShape(**{name: getattr(self.network, name)[first] for name in order}), count

    def descriptors(self, tile_depth: int) -> Counter[Descriptor]:
        """The layers on tiles of a depth, without addresses and numbers, and how many there are of each."""
        if tile_depth not in self._descriptors:
            layers = self._program(lcm(tile_depth, 2), tile_depth, True).layers
            self._descriptors[tile_depth] = Counter(_shape(layer.descriptor) for layer in layers)
        return self._descriptors[tile_depth]

    @cached_property
    def tokens(self) -> tuple[int, ...]:
        """Different lengths of the sequences that lie in the memories, in ascending order."""
        return tuple(sorted({layer.descriptor.tokens for layer in self.reference.layers} - {0}))

    def fixed_fields(self, tile_depth: int) -> dict[str, Any]:
        """Fields of AcceleratorConfig that are the same for every tile of a depth."""
        fixed = {n: value for n, value in self.reference.config.model_dump().items() if n not in _VARYING}
        return {**fixed, "image_pixels": image_pixels(self.graph, tile_depth)}

    def image_cycles(self, tile_depth: int) -> int:
        """Cycles to load an image."""
        channels, height, width = self.reference.image_shape
        return channels * height * width // image_pixels(self.graph, tile_depth)

    def weight_depth(self, tile_depth: int) -> int:
        """Steps of the longest matrix product."""
        layers = self._program(lcm(tile_depth, 2), tile_depth, True).layers
        return max(layer.descriptor.k_steps for layer in layers)

    def row_tiles(self, tile_rows: np.ndarray) -> np.ndarray:
        """Row tiles of the largest matrix product, for many T_m."""
        gemms = self.network.unit == Unit.GEMM
        most = int((self.network.rows + self.network.rows8)[gemms].max())
        return -(-most // tile_rows)

    def depths(self, tile_tokens: int, tile_depth: int, image_ahead: bool) -> tuple[int, ...]:
        """Exact depths of the memories, by placing the model's tensors."""
        depths = self._program(tile_tokens, tile_depth, image_ahead).depths
        return tuple(depths[name] for name in MEMORIES)

    def estimated_depths(self, tile_depth: int, tile_tokens: np.ndarray, image_ahead: bool) -> np.ndarray:
        """The depths as they would be were all tensors as long as the longest sequence, int64 ``[3, n]``.

        They are the exact ones of a narrow tile, by the ratio of the token tiles. Shorter sequences round up
        differently: the exact depths are a few per cent off.
        """
        narrow, longest = lcm(tile_depth, 2), self.tokens[-1]
        ratio = -(-longest // tile_tokens) / ceil_div(longest, narrow)
        exact = self.depths(narrow, tile_depth, image_ahead)
        return np.array([np.ceil(depth * ratio).astype(np.int64) for depth in exact])

    def _program(self, tile_tokens: int, tile_depth: int, image_ahead: bool) -> Program:
        """The schedule on any accelerator that needs the same memories."""
        key = (tile_depth, int(image_ahead), *(ceil_div(tokens, tile_tokens) for tokens in self.tokens))
        if key not in self._scheduled:
            tile = (tile_tokens, _ANY_ROWS, tile_depth)
            config = unsized(self.graph, self.mac, tile, image_ahead=image_ahead)
            self._scheduled[key] = schedule(self.graph, config)
        return self._scheduled[key]


def _shape(descriptor: Descriptor) -> Descriptor:
    nothing = ("x", "y", "digit", "trace")
    addresses = {f"{name}_{word}": 0 for name in nothing for word in ("base", "stride")}
    return replace(
        descriptor, **addresses, steps=0, after=0, trace_tokens=0, trace_channels=0, multiplier=0, shift=0,
        qmax=0, epsilon_low=0, epsilon_high=0,
    )  # fmt: skip
