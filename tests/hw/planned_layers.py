"""Planned layers made by hand, and a transformer's program with several heads, blocks and token tiles."""

from __future__ import annotations

from models import network
from targets import configuration

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import Descriptor, Destination, DigitSource, Memory, Scaling, Unit
from qvit_hls.hw.memory_plan import Tensor
from qvit_hls.hw.program import Program
from qvit_hls.hw.schedule import schedule
from qvit_hls.hw.scheduling.plan import PlannedLayer, Region
from qvit_hls.nets.config import BlockConfig

CONFIG = configuration((8, 12, 8), mac="rtl")


def region(memory: Memory, base: int, tokens: int, channels: int) -> Region:
    """All of a tensor that is placed there."""
    tensor = Tensor("", memory, tokens, channels)
    tensor.base, tensor.stride = base, -(-channels // CONFIG.tile_depth) * CONFIG.tile_depth
    return Region(tensor, channels)


def gemm(
    x: Region,
    y: Region,
    digits: Region | None = None,
    destination: Destination = Destination.ACTIVATION,
    scaling: Scaling = Scaling.PER_ROW,
) -> PlannedLayer:
    """A GEMM of all tokens of its operand."""
    source = DigitSource.STREAM if digits is None else DigitSource.MEMORY
    descriptor = Descriptor(
        unit=Unit.GEMM,
        tokens=x.tensor.tokens,
        destination=destination,
        scaling=scaling,
        digit_source=source,
    )
    return PlannedLayer("gemm", descriptor, x=x, digits=digits, y=y)


def unit(which: Unit, x: Region | None = None, y: Region | None = None, rows: int = 0) -> PlannedLayer:
    """A vector layer of all tokens of what it reads, or else writes."""
    read = x if x is not None else y
    descriptor = Descriptor(unit=which, tokens=read.tensor.tokens if read is not None else 0, rows=rows)
    return PlannedLayer(which.name, descriptor, x=x, y=y)


def program(pooling: str, config: AcceleratorConfig = CONFIG) -> Program:
    """A program of two blocks, 26 tokens (25 with mean pooling)."""
    blocks = (
        BlockConfig(heads=3, head_dim=5, mlp_hidden=18),
        BlockConfig(heads=1, head_dim=9, mlp_hidden=30),
    )
    return schedule(network(pooling=pooling, image_size=20, blocks=[b.model_dump() for b in blocks]), config)
