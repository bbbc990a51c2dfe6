"""Simulation of a frame's schedule, slot by slot: who waits for whom, and when every layer is complete.

Processes stand for the program reader, the loader, the sequencer with MAC tile and drain, and the vector
lane; they share the engine's buffers and counters. No values are computed.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from qvit_hls.hw.timing.constants import DESCRIPTOR_WORDS, END, RING, START
from qvit_hls.hw.timing.events import Process
from qvit_hls.hw.timing.network import ABSENT, NetworkShape
from qvit_hls.hw.timing.simulate_engine import Engine, LayerShape
from qvit_hls.hw.timing.simulate_gemm import gemm_lane
from qvit_hls.hw.timing.simulate_loader import loader
from qvit_hls.hw.timing.simulate_vector import image_ahead, vector_lane
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.timeline import Lane, Timeline


def simulate(network: NetworkShape, tiles: Tiles) -> Timeline:
    """The timeline of one frame in the steady state: its image is on chip, the next one is loaded meanwhile.

    Args:
        network: one network ``[L]`` without absent layers.
        tiles: one accelerator.

    Raises:
        ValueError: there is more than one of them, or layers are absent.
    """
    if network.unit.ndim != 1 or any(np.ndim(getattr(tiles, f.name)) for f in fields(tiles)):
        raise ValueError("simulate takes one network [L] and one accelerator")
    if (network.unit == ABSENT).any():
        raise ValueError("simulate takes a network without absent layers; NetworkShape.compact removes them")
    names = [f.name for f in fields(NetworkShape)]
    layers = [
        LayerShape(**{name: int(getattr(network, name)[index]) for name in names})
        for index in range(network.layers)
    ]
    numbers = {f.name: int(getattr(tiles, f.name)) for f in fields(tiles) if f.name != "bytes_per_cycle"}
    engine = Engine(layers, numbers, float(tiles.bytes_per_cycle))
    engine.complete = [False] * len(layers)
    engine.free_steps = 2 * numbers["weight_depth"]
    engine.timeline.begin = [0] * len(layers)
    engine.timeline.complete = [0] * len(layers)
    for process in (
        _reader(engine),
        loader(engine),
        gemm_lane(engine),
        vector_lane(engine),
        image_ahead(engine),
    ):
        engine.kernel.start(process)
    engine.kernel.run()
    last = max([*engine.timeline.complete, *(s.end for s in engine.timeline.spans[Lane.IMAGE])])
    engine.timeline.cycles = last + END
    return engine.timeline


def _reader(engine: Engine) -> Process:
    """Descriptors, a word per cycle, RING of them at a time."""
    yield START
    for index in range(len(engine.layers)):
        while index - min(engine.load_layer, engine.gemm_layer, engine.vector_layer) >= RING:
            yield None

        def read() -> None:
            engine.known += 1

        engine.kernel.at(engine.kernel.now + DESCRIPTOR_WORDS, read)
        yield engine.kernel.now + DESCRIPTOR_WORDS
