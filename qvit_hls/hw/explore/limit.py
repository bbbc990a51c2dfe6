"""What stops the next faster design: a resource of the board, how weights come in, or the model itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qvit_hls.hw.explore.cost import RESOURCE_WORDS, RESOURCES
from qvit_hls.hw.explore.search import geometric_mean
from qvit_hls.hw.explore.space import HEADROOM, Space

#: Less than this is no faster design.
_FASTER = 0.99
#: A design that weights hold back by less than this is not held back by them.
_HELD_BACK = 0.95
#: Larger designs that are timed, those closest to the board first.
_LOOKED_AT = 2048
_PART = 256


@dataclass(frozen=True)
class BindingConstraint:
    """What holds a design back.

    Attributes:
        kind: ``lut``, ``ff``, ``dsp``, ``bram36``, several joined by ``+``, ``bandwidth``, ``ports``,
            ``target`` or ``model``.
        sentence: the same in words, with what would be enough.
    """

    kind: str
    sentence: str


def binding_constraint(space: Space, chosen: int, cycles: np.ndarray) -> BindingConstraint:
    """What stops the fastest design that fits from being faster.

    Args:
        chosen: the design's position in the space.
        cycles: its cycles per frame, int64 ``[models]``.
    """
    now = float(geometric_mean(cycles[None])[0])
    weights = _weights(space, chosen, now)
    if weights is not None:
        return weights
    over = space.needs > space.limits
    least = geometric_mean(space.least_cycles)
    # Other designs are about as far from their lower bound as this one.
    candidates = np.flatnonzero(over.any(axis=1) & (least * (now / least[chosen]) < _FASTER * now))
    excess = space.excess(space.needs[candidates])
    # One resource too few before several.
    order = np.lexsort((candidates, excess, over[candidates].sum(axis=1)))
    closest, gain = -1, 0.0
    for start in range(0, min(len(order), _LOOKED_AT), _PART):
        part = candidates[order[start : start + _PART]]
        taken = geometric_mean(space.cycles(part))
        better = np.flatnonzero(taken < _FASTER * now)
        if len(better):
            closest, gain = int(part[better[0]]), float(taken[better[0]])
            break
    if closest < 0:
        return BindingConstraint(
            "model",
            f"the model's shape: no design up to {HEADROOM - 1:.0%} larger than the board's share was found "
            "that is faster",
        )
    names = [index for index in range(len(RESOURCES)) if over[closest, index]]
    lacks = " and ".join(
        f"{RESOURCE_WORDS[RESOURCES[i]]} ({space.needs[closest, i]:,} instead of {space.limits[i]:,})"
        for i in names
    )
    return BindingConstraint(
        "+".join(RESOURCES[i] for i in names),
        f"{lacks}: the next faster design, {gain:,.0f} cycles per frame instead of {now:,.0f}, needs so many",
    )


def _weights(space: Space, chosen: int, now: float) -> BindingConstraint | None:
    """Whether the memory's bandwidth holds a design back, or the ports between it and the weights."""

    def cycles(bytes_per_cycle: float, weight_ports: int) -> float:
        return float(geometric_mean(space.cycles_at(chosen, bytes_per_cycle, weight_ports)[None])[0])

    ports = int(space.candidates.weight_ports[chosen])
    wide = cycles(np.inf, ports)
    if wide < _HELD_BACK * now:
        return BindingConstraint(
            "bandwidth",
            f"the memory's bandwidth, {space.board.ddr_gbytes_per_s:g} GB/s: were it no limit, the same "
            f"design would take {wide:,.0f} cycles per frame instead of {now:,.0f}",
        )
    more = cycles(space.bytes_per_cycle, 2 * ports)
    if 2 * ports > space.board.weight_ports and more < _HELD_BACK * now:
        return BindingConstraint(
            "ports",
            f"the weight ports, {ports} of 128 bits: with {2 * ports}, the same design would take "
            f"{more:,.0f} cycles per frame instead of {now:,.0f}",
        )
    return None
