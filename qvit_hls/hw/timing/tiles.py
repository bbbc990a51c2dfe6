"""What an accelerator's cycles depend on: its tile, its streams and its buffers, as numbers or arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from qvit_hls.hw.accelerator import PORT_BITS, AcceleratorConfig

#: Numbers of one accelerator, or int64 arrays over candidates that broadcast against networks.
Numbers = int | np.ndarray


@dataclass(frozen=True, eq=False)
class Tiles:
    """One accelerator, or many: arrays ``[N]`` broadcast against networks ``[S, L]`` as their S.

    Attributes:
        tile_tokens, tile_rows, tile_depth: T_n, T_m, T_k.
        activation_bits: A; the depth of the MAC tile's pipeline depends on it.
        drain_rows: R, rows that drain per cycle; channels that LayerNorm and softmax take per cycle.
        weight_ports: 128-bit words of the weight stream per cycle.
        image_pixels: pixels that the image loader takes per cycle.
        weight_depth: steps that half of the weight buffer holds.
        max_tokens, max_channels: widths of softmax's and LayerNorm's numbers, and so their latencies.
        bytes_per_cycle: that the memory behind the weight ports delivers; infinite where it is no limit.
    """

    tile_tokens: Numbers
    tile_rows: Numbers
    tile_depth: Numbers
    activation_bits: Numbers
    drain_rows: Numbers
    weight_ports: Numbers
    image_pixels: Numbers
    weight_depth: Numbers
    max_tokens: Numbers
    max_channels: Numbers
    bytes_per_cycle: float | np.ndarray = np.inf

    @classmethod
    def of_config(cls, config: AcceleratorConfig, bytes_per_cycle: float = np.inf) -> Tiles:
        """One accelerator."""
        names = [f.name for f in fields(cls) if f.name != "bytes_per_cycle"]
        return cls(**{name: getattr(config, name) for name in names}, bytes_per_cycle=bytes_per_cycle)

    @classmethod
    def of_configs(cls, configs: Sequence[AcceleratorConfig], bytes_per_cycle: float = np.inf) -> Tiles:
        """Many accelerators, ``[N]``."""
        names = [f.name for f in fields(cls) if f.name != "bytes_per_cycle"]
        columns = {name: np.array([getattr(config, name) for config in configs], np.int64) for name in names}
        return cls(**columns, bytes_per_cycle=bytes_per_cycle)

    def per_layer(self) -> Tiles:
        """The same against arrays over layers: ``[N]`` becomes ``[N, 1]``."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Tiles(**{name: np.asarray(v)[..., None] if np.ndim(v) else v for name, v in values.items()})

    @property
    def lanes(self) -> Numbers:
        """Multiply-accumulates per cycle."""
        return self.tile_tokens * self.tile_rows * self.tile_depth

    @property
    def beat_cycles(self) -> float | np.ndarray:
        """Cycles per beat of the weight stream, at least 1."""
        return np.maximum(1.0, np.asarray(self.weight_ports) * (PORT_BITS // 8) / self.bytes_per_cycle)
