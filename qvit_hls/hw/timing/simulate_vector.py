"""The vector lane of the schedule simulation, and the image that is loaded ahead.

A unit takes no step in a cycle that the drain has blocked. The drain knows at least _CHUNK cycles ahead which
cycles those will be, so steps are counted in chunks of so many cycles.
"""

from __future__ import annotations

from collections.abc import Generator

from qvit_hls.hw.descriptor import Unit
from qvit_hls.hw.gemm_timing import ceil_div
from qvit_hls.hw.timing.constants import (
    IMAGE_LOAD,
    LAYER_NORM_ADDED,
    LAYER_NORM_OWN,
    LAYER_NORM_SCALED,
    LAYER_NORM_WRITE,
    MEAN_TOKENS,
    STORE_RESULT,
    clog2,
    layer_norm_scale_latency,
    softmax_latency,
)
from qvit_hls.hw.timing.events import Process, Wait
from qvit_hls.hw.timing.simulate_engine import Engine, LayerShape
from qvit_hls.hw.timing.timeline import Cause, Lane

_CHUNK = 6


def vector_lane(engine: Engine) -> Process:
    """All layers but GEMMs, one after the other."""
    kernel, timeline = engine.kernel, engine.timeline
    for index, layer in enumerate(engine.layers):
        while engine.known <= index:
            yield None
        if layer.unit == Unit.GEMM:
            yield kernel.now + 1
            engine.vector_layer = index + 1
            kernel.at(kernel.now, lambda: None)
            continue
        by_tile = layer.unit in (Unit.LAYER_NORM, Unit.SOFTMAX)
        waits_from = kernel.now
        while engine.load_layer <= index or engine.ready_tiles(layer) < (1 if by_tile else layer.tokens + 1):
            yield None
        timeline.add(Lane.VECTOR, index, Cause.OPERANDS, waits_from, kernel.now)
        yield kernel.now + 1
        start = kernel.now
        timeline.begin[index] = start
        if layer.unit == Unit.LAYER_NORM:
            done = yield from _layer_norm(engine, index, start)
        elif layer.unit == Unit.SOFTMAX:
            done = yield from _softmax(engine, index, start)
        else:
            done = start + _simple_cycles(engine, layer)
            timeline.add(Lane.VECTOR, index, Cause.WORK, start, done)
        visible = done + 1

        def complete(index: int = index, visible: int = visible) -> None:
            engine.complete[index], engine.vector_layer, engine.vector_tiles = True, index + 1, 0
            timeline.complete[index] = visible

        kernel.at(visible, complete)
        yield visible


def image_ahead(engine: Engine) -> Process:
    """The next frame's image, once the GEMM that reads this one's is complete."""
    kernel = engine.kernel
    for index, layer in enumerate(engine.layers):
        if layer.unit == Unit.LOAD_IMAGE:
            while not engine.complete[index] or engine.gemms < layer.rows:
                yield None
            begin = kernel.now + 1
            groups = ceil_div(layer.k * layer.pixels, engine.tiles["image_pixels"])
            end = begin + groups + IMAGE_LOAD + layer.first_token // engine.tiles["tile_tokens"]
            engine.timeline.add(Lane.IMAGE, index, Cause.WORK, begin, end)


def _simple_cycles(engine: Engine, layer: LayerShape) -> int:
    lanes = engine.tiles["tile_tokens"]
    if layer.unit == Unit.MEAN_TOKENS:
        return layer.k * ceil_div(layer.tokens, lanes) + MEAN_TOKENS + int(clog2(lanes))
    if layer.unit == Unit.STORE_RESULT:
        return layer.k + STORE_RESULT
    return 1  # the loader, or the frame before, has done it


def _steps(engine: Engine, index: int, count: int, blocked: dict[int, int]) -> Generator[Wait, None, int]:
    """Take so many steps from now on; returns the cycle of the last one."""
    taken = 0
    kernel, timeline = engine.kernel, engine.timeline
    last = kernel.now
    while count > 0:
        for cycle in range(kernel.now, kernel.now + _CHUNK):
            cause = Cause.DRAIN if blocked.get(cycle, 0) >> taken % 2 & 1 else Cause.WORK
            timeline.add(Lane.VECTOR, index, cause, cycle, cycle + 1)
            if cause == Cause.WORK:
                count, taken, last = count - 1, taken + 1, cycle
                if not count:
                    break
        yield kernel.now + _CHUNK if count else last + 1
    return last


def _softmax(engine: Engine, index: int, start: int) -> Generator[Wait, None, int]:
    layer, kernel, tiles = engine.layers[index], engine.kernel, engine.tiles
    lanes, groups = tiles["tile_tokens"], ceil_div(layer.k, tiles["drain_rows"])
    count = ceil_div(layer.tokens, lanes)
    last = start - lanes
    yield start + 1
    for tile in range(count):
        waits_from = kernel.now
        while engine.ready_tiles(layer) <= tile:
            yield None
        engine.timeline.add(Lane.VECTOR, index, Cause.OPERANDS, waits_from, kernel.now)
        if groups > 1:
            yield from _steps(engine, index, groups - 1, engine.softmax_blocked)
        # The sums of another token tile are still being taken over.
        earliest = last + lanes
        engine.timeline.add(Lane.VECTOR, index, Cause.WORK, kernel.now, earliest)
        yield max(kernel.now, earliest)
        last = yield from _steps(engine, index, 1, engine.softmax_blocked)
    tokens = layer.tokens - (count - 1) * lanes
    done = last + tokens + int(softmax_latency(tiles["max_tokens"]))
    engine.timeline.add(Lane.VECTOR, index, Cause.WORK, last + 1, done)
    return done


def _layer_norm(engine: Engine, index: int, start: int) -> Generator[Wait, None, int]:
    layer, kernel, tiles = engine.layers[index], engine.kernel, engine.tiles
    lanes, steps = tiles["tile_tokens"], ceil_div(layer.k, tiles["drain_rows"])
    count = ceil_div(layer.tokens, lanes)
    scale = int(layer_norm_scale_latency(tiles["max_channels"]))
    own = layer.rows == 0
    served = start  # cycle from which the scaling may begin with another token tile
    begun: list[int] = []  # first step of each token tile's codes
    ready: list[int] = []  # when the moments of each token tile are counted
    last = start
    yield start + 1
    if not own:
        kernel.start(_counted_moments(engine, index, count, ready))
    for tile in range(count):
        # Own moments are read a token tile ahead of the codes.
        while own and len(ready) < min(tile + 2, count):
            yield from _until_ready(engine, index, len(ready))
            end = yield from _steps(engine, index, steps, engine.norm_blocked)
            ready.append(end + 1 + LAYER_NORM_OWN)
        waits_from = kernel.now
        while len(ready) <= tile:
            yield None
        engine.timeline.add(Lane.VECTOR, index, Cause.OPERANDS, waits_from, kernel.now)
        tokens = min(lanes, layer.tokens - tile * lanes)
        serving = max(ready[tile], served, begun[tile - 2] + 1 if tile > 1 else 0)
        served = serving + tokens + 1
        scaled = serving + LAYER_NORM_SCALED + tokens + scale
        engine.timeline.add(Lane.VECTOR, index, Cause.WORK, kernel.now, scaled)
        yield max(kernel.now, scaled)
        begun.append(kernel.now)
        last = yield from _steps(engine, index, steps, engine.norm_blocked)

        def coded(tile: int = tile) -> None:
            engine.vector_tiles = tile + 1

        if tile < count - 1:
            kernel.at(last + LAYER_NORM_WRITE + 1, coded)
    done = last + LAYER_NORM_WRITE
    engine.timeline.add(Lane.VECTOR, index, Cause.WORK, last + 1, done)
    return done


def _counted_moments(engine: Engine, index: int, count: int, ready: list[int]) -> Process:
    """Note when each token tile's moments can be read, which the drain counts as it writes."""
    kernel = engine.kernel
    for tile in range(count):
        while engine.ready_tiles(engine.layers[index]) <= tile:
            yield None
        ready.append(kernel.now + LAYER_NORM_ADDED)
        kernel.at(kernel.now, lambda: None)


def _until_ready(engine: Engine, index: int, tile: int) -> Process:
    waits_from = engine.kernel.now
    while engine.ready_tiles(engine.layers[index]) <= tile:
        yield None
    engine.timeline.add(Lane.VECTOR, index, Cause.OPERANDS, waits_from, engine.kernel.now)
