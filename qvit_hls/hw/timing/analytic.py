"""The cycle model: when each layer of a frame begins and is complete, in closed form per layer.

One recurrence over the layers in the order of the program, vectorised over networks or over accelerators.
Of each layer it keeps when its first and its last token tile are complete, and takes what lies between as
evenly spaced.
``simulate.py`` steps through the same schedule slot by slot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qvit_hls.hw.timing.lanes import Lanes
from qvit_hls.hw.timing.network import ABSENT, NetworkShape
from qvit_hls.hw.timing.tiles import Tiles

#: What the cycles of a frame are spent on, as the MAC tile sees it.
CAUSES = ("array", "padding", "drain", "operands", "weights", "change", "ends")


@dataclass(frozen=True, eq=False)
class FrameTiming:
    """Cycles of frames, float64; the leading axes are those of networks or accelerators.

    Attributes:
        cycles: from ap_start to ap_done in the steady state, ``[...]``: this frame's image is on chip, and
            the next one is loaded meanwhile.
        begin, complete: of each layer, ``[..., L]``; a GEMM begins with its first step.
        layer_cycles: from its begin, or from the completion of the layer before it in its lane where that is
            later, to its completion; 0 where there is no layer.
        causes: where the frame's cycles go, ``[...]`` each; they add up to ``cycles``. ``array``: products
            that are needed; ``padding``: what fills up tokens, rows and channels to whole tiles; ``drain``:
            waiting for the drain; ``operands``: for other layers; ``weights``: for the loader; ``change``:
            from one layer to the next; ``ends``: after the last step.
        waits: each layer's part of ``drain``, ``operands``, ``weights`` and ``change``, ``[..., L]``.
        array: each layer's part of ``array``, ``[..., L]``.
    """

    cycles: np.ndarray
    begin: np.ndarray
    complete: np.ndarray
    layer_cycles: np.ndarray
    causes: dict[str, np.ndarray]
    waits: dict[str, np.ndarray]
    array: np.ndarray


def frame_timing(network: NetworkShape, tiles: Tiles) -> FrameTiming:
    """When the layers of networks run on the RTL engine.

    Args:
        network: one network ``[L]``, or many ``[S, L]``.
        tiles: one accelerator, or many ``[N]``; with many networks, N is S or 1.
    """
    lanes = _run(network, tiles, with_waits=True)
    begin, complete = np.stack(lanes.begin, -1), np.stack(lanes.complete[1:], -1)
    before = np.stack(lanes.lane_complete, -1)
    waits = {name: np.stack(values, -1) for name, values in lanes.waits.items()}
    cycles = lanes.frame_end()
    array = network.atom_macs / tiles.per_layer().lanes
    causes = {name: values.sum(-1) for name, values in waits.items()}
    causes["array"] = np.broadcast_to(array.sum(-1), cycles.shape)
    causes["padding"] = lanes.steps - causes["array"]
    causes["ends"] = cycles - sum(causes.values())
    return FrameTiming(
        cycles=cycles,
        begin=begin,
        complete=complete,
        layer_cycles=np.where(network.unit == ABSENT, 0.0, complete - np.maximum(begin, before)),
        causes={name: causes[name] for name in CAUSES},
        waits=waits,
        array=array,
    )


def frame_cycles(network: NetworkShape, tiles: Tiles) -> np.ndarray:
    """The ``cycles`` of :func:`frame_timing` without the rest, for a search: float64 ``[...]``."""
    return _run(network, tiles, with_waits=False).frame_end()


def _run(network: NetworkShape, tiles: Tiles, with_waits: bool) -> Lanes:
    lanes = Lanes(network, tiles, with_waits)
    for index in range(network.layers):
        lanes.layer(index)
    return lanes
