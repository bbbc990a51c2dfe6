"""What each layer of the vector lane takes by itself. Arrays ``[..., L]``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qvit_hls.hw.descriptor import Unit
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
from qvit_hls.hw.timing.network import NetworkShape
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.unit_cycles import window_tiles

_VALUES_PER_WORD = 8


@dataclass(frozen=True, eq=False)
class VectorWork:
    """Quantities of the vector lane's layers, float64; of GEMMs they mean nothing.

    Attributes:
        token_tiles: how the layer is cut.
        latency: from ``start`` to the first step whose result is written.
        first: from ``start`` to the completion of the first token tile.
        steps: per token tile, after the latency.
        per_tile: cycles per further token tile.
        last: from the cycle in which the last token tile is ready to its completion.
        tail: from the completion of the last token tile to ``done``.
        stream: of LOAD_RESIDUAL, the loader's cycles.
        image: of LOAD_IMAGE, cycles to load an image.
    """

    token_tiles: np.ndarray
    latency: np.ndarray
    first: np.ndarray
    steps: np.ndarray
    per_tile: np.ndarray
    last: np.ndarray
    tail: np.ndarray
    stream: np.ndarray
    image: np.ndarray


def vector_work(network: NetworkShape, tiles: Tiles) -> VectorWork:
    """The work of every layer; ``tiles`` holds numbers, or arrays that end in an axis of length 1."""
    unit, k = network.unit, np.asarray(network.k, np.float64)
    t_n, per_cycle = np.asarray(tiles.tile_tokens, np.float64), np.asarray(tiles.drain_rows)
    tokens = np.asarray(network.tokens, np.float64)
    count = np.maximum(np.ceil(tokens / t_n), 1)
    several = count > 1
    last_tokens = tokens - (count - 1) * t_n
    groups = np.ceil(k / per_cycle)
    zero = np.zeros(np.broadcast_shapes(unit.shape, groups.shape, count.shape))

    norm, softmax = unit == Unit.LAYER_NORM, unit == Unit.SOFTMAX
    own = norm & (network.rows == 0)
    scale = layer_norm_scale_latency(tiles.max_channels)
    # From a token tile's moments to the first step of its codes, and from the last step to the completion.
    scaled = LAYER_NORM_SCALED + scale
    coded = LAYER_NORM_WRITE - 1
    lead = np.where(own, LAYER_NORM_OWN + groups, LAYER_NORM_ADDED) + 1 + zero
    latency = np.where(norm, lead + scaled + np.minimum(t_n, tokens), zero)
    # Own moments: the second tile's are taken before the first tile's codes.
    latency = np.where(own & several, np.maximum(latency, 2 * groups + 1), latency)
    pace = np.maximum(t_n + 1, np.ceil((t_n + scale + 4) / 2))
    # From the codes of one token tile to those two later: own moments, scaling, and both tiles' passes.
    in_turn = np.maximum(2 * groups, t_n + 1)
    own_pace = np.maximum(in_turn, np.ceil((2 * groups + LAYER_NORM_OWN + scaled + t_n + 1) / 2))
    per_tile = np.where(own, own_pace, np.maximum(groups, pace))
    per_tile = np.where(softmax, np.maximum(groups, t_n), per_tile)
    first = latency + groups + np.where(norm, coded, 0)
    last = np.where(norm, lead - 1 + scaled + last_tokens + groups + coded, groups - 1)
    tail = np.where(softmax, last_tokens + softmax_latency(tiles.max_tokens), zero)
    touched = window_tiles(network.first_token, network.rows, tokens, t_n)
    passed = np.maximum(network.first_token, network.first_result) // t_n
    once = np.where(unit == Unit.MEAN_TOKENS, k * touched + passed + MEAN_TOKENS + clog2(t_n), 1.0)
    once = np.where(unit == Unit.STORE_RESULT, k + STORE_RESULT, once)
    by_tile = norm | softmax
    beats = np.ceil(t_n / (_VALUES_PER_WORD * np.asarray(tiles.weight_ports)))
    image = np.ceil(k * network.pixels / np.asarray(tiles.image_pixels)) + IMAGE_LOAD
    return VectorWork(
        token_tiles=np.where(by_tile, count, 1.0),
        latency=latency,
        first=np.where(by_tile, first, once),
        steps=groups + zero,
        per_tile=np.where(by_tile, per_tile, 0.0),
        last=np.where(by_tile, last, once),
        # The last token tile has no moments to wait for, and every second one waits for no others'.
        tail=tail - np.where(own & several, groups + np.where(count % 2, 0.0, own_pace - in_turn), 0.0),
        stream=count * k * beats * tiles.beat_cycles + zero,
        image=image + np.floor(network.first_token / t_n),
    )
