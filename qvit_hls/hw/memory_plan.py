"""Placing tensors in the lane memories: first fit over lifetimes."""

from __future__ import annotations

from dataclasses import dataclass, field

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import Memory
from qvit_hls.hw.gemm_timing import ceil_div, round_up

#: The RTL engine begins layers while earlier ones still run. A tensor keeps its place free from so many
#: layers before its first: then a layer need not wait for another tensor's last reader.
_LEAD = {"hls": 0, "rtl": 2}


@dataclass(eq=False)
class Tensor:
    """A tensor ``[tokens, channels]`` in an on-chip memory.

    Attributes:
        channels: including padding; rounded up to whole words of T_k when it is placed.
        first, last: indices of the first and last layer that touches it (inclusive).
        base: channels of a lane before it; set by ``place``.
    """

    name: str
    memory: Memory
    tokens: int
    channels: int
    first: int = -1
    last: int = -1
    base: int = field(default=-1, init=False)
    stride: int = field(default=0, init=False)

    def touch(self, layer: int) -> None:
        """Extend the lifetime to a layer."""
        self.first = layer if self.first < 0 else min(self.first, layer)
        self.last = max(self.last, layer)

    def depth(self, config: AcceleratorConfig) -> int:
        """Channels of each lane that the tensor takes."""
        return ceil_div(self.tokens, config.tile_tokens) * round_up(self.channels, config.tile_depth)


def place(tensors: list[Tensor], config: AcceleratorConfig) -> dict[Memory, int]:
    """Give every tensor its base and stride; return the depth that each memory needs.

    Tensors whose lifetimes overlap never share addresses: also a layer's source and its result, so a
    layer may read one while it writes the other.
    """
    lead = _LEAD[config.mac]
    depths = dict.fromkeys((Memory.ACTIVATION, Memory.DIGIT, Memory.WIDE), config.tile_depth)
    placed: list[Tensor] = []
    for tensor in sorted(tensors, key=lambda t: (t.first, -t.depth(config), t.name)):
        neighbours = sorted(
            (other.base, other.base + other.depth(config))
            for other in placed
            if other.memory == tensor.memory
            and other.first - lead <= tensor.last
            and tensor.first - lead <= other.last
        )
        base, need = 0, tensor.depth(config)
        for start, end in neighbours:
            if base + need <= start:
                break
            base = max(base, end)
        tensor.base, tensor.stride = base, round_up(tensor.channels, config.tile_depth)
        placed.append(tensor)
        depths[tensor.memory] = max(depths[tensor.memory], base + need)
    return depths
