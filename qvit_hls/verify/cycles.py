"""Where the cycles of a simulated frame go: per layer, and per kind of layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from qvit_hls.errors import QvitError
from qvit_hls.flow.build import read_json_object
from qvit_hls.hw.descriptor import DigitSource

#: Kinds of layers, as totals name them.
LINEAR, ATTENTION, VECTOR = "linear layers", "attention products", "vector units"


@dataclass(frozen=True)
class ProgramLayer:
    """A layer as the project's ``program.json`` lists it.

    Attributes:
        name: shown to people.
        unit: part of the accelerator that computes it.
        kind: LINEAR, ATTENTION or VECTOR.
        atom_macs: products of a signed 4-bit with an activation that it needs, padding excluded.
    """

    name: str
    unit: str
    kind: str
    atom_macs: int

    @property
    def is_gemm(self) -> bool:
        """Whether the MAC tile computes it. Such layers run in their order, and the others beside them."""
        return self.kind != VECTOR


@dataclass(frozen=True)
class LayerCycles:
    """When a layer ran.

    Attributes:
        layer: which one.
        begin, complete: cycles of the frame; layers overlap.
        ideal: cycles that its products would keep the whole array busy; 0 where there are none.
    """

    layer: ProgramLayer
    begin: int
    complete: int
    ideal: float

    @property
    def cycles(self) -> int:
        """From begin to complete."""
        return self.complete - self.begin


@dataclass(frozen=True)
class GroupCycles:
    """All layers of a kind.

    Attributes:
        kind: what they are.
        layers: how many.
        cycles: from the begin of the first to the completion of the last, over each run of successive ones;
            where runs overlap, once.
        ideal: cycles that their products would keep the whole array busy.
    """

    kind: str
    layers: int
    cycles: int
    ideal: float

    @property
    def utilisation(self) -> float:
        """Share of the array's capacity that is used meanwhile."""
        return utilisation(self.ideal, self.cycles)


@dataclass(frozen=True)
class FrameCycles:
    """One frame.

    Attributes:
        layers: in the order of the program.
        groups: linear layers, attention products, both of them together, vector units; as far as there are.
        total: from ap_start to ap_done.
    """

    layers: tuple[LayerCycles, ...]
    groups: tuple[GroupCycles, ...]
    total: int

    def to_json(self) -> dict[str, Any]:
        """The cycles as plain JSON values."""
        return {
            "total": self.total,
            "groups": [
                {
                    "kind": group.kind,
                    "layers": group.layers,
                    "cycles": group.cycles,
                    "ideal_cycles": group.ideal,
                    "utilisation": group.utilisation,
                }
                for group in self.groups
            ],
            "layers": [
                {
                    "layer": timed.layer.name,
                    "unit": timed.layer.unit,
                    "kind": timed.layer.kind,
                    "atom_macs": timed.layer.atom_macs,
                    "begin": timed.begin,
                    "complete": timed.complete,
                    "ideal_cycles": timed.ideal,
                    "utilisation": utilisation(timed.ideal, timed.cycles),
                }
                for timed in self.layers
            ],
        }


def utilisation(ideal: float, cycles: int) -> float:
    """Ideal by measured cycles; 0 where nothing was measured."""
    return ideal / cycles if cycles else 0.0


def busy(layers: Sequence[LayerCycles]) -> int:
    """Cycles in which at least one of some layers has begun and is not complete."""
    return _covered([(layer.begin, layer.complete) for layer in layers])


def read_layers(program: Path) -> list[ProgramLayer]:
    """The layers of a project's ``program.json``.

    Raises:
        QvitError: the file is missing or damaged, or lists no layers.
    """
    content = read_json_object(program)
    try:
        layers = []
        for item in content["layers"]:
            attention = item["descriptor"]["digit_source"] == DigitSource.MEMORY
            kind = VECTOR if item["unit"] != "gemm" else ATTENTION if attention else LINEAR
            layers.append(ProgramLayer(str(item["name"]), str(item["unit"]), kind, int(item["atom_macs"])))
    except (KeyError, TypeError, ValueError) as error:
        raise QvitError(
            f"{program} does not describe the layers as this version does. "
            "Make the project again with qvit-hls gen --mac rtl."
        ) from error
    return layers


def frame_cycles(
    layers: Sequence[ProgramLayer], events: np.ndarray, total: int, lanes: int
) -> FrameCycles | None:
    """When each layer of a frame ran, from the accelerator's counts; None where some layer is not in them.

    Args:
        layers: of the program.
        events: int64 ``[n, 5]``: cycle; from it on matrix products and other layers begun, and matrix
            products and other layers complete.
        total: cycles of the frame.
        lanes: products per cycle of the whole array.
    """
    timed = []
    before = {True: 0, False: 0}  # layers of the same kind
    for layer in layers:
        number, column = before[layer.is_gemm], 1 if layer.is_gemm else 2
        before[layer.is_gemm] += 1
        begun, complete = (events[events[:, at] > number, 0] for at in (column, column + 2))
        if not len(begun) or not len(complete):
            return None
        timed.append(LayerCycles(layer, int(begun[0]), int(complete[0]), layer.atom_macs / lanes))
    groups = [_group(kind, timed, (kind,)) for kind in (LINEAR, ATTENTION)]
    groups += [
        _group(f"{LINEAR} and {ATTENTION}", timed, (LINEAR, ATTENTION)),
        _group(VECTOR, timed, (VECTOR,)),
    ]
    return FrameCycles(tuple(timed), tuple(group for group in groups if group.layers), total)


def _group(title: str, timed: Sequence[LayerCycles], kinds: Sequence[str]) -> GroupCycles:
    runs = [list(run) for inside, run in groupby(timed, lambda item: item.layer.kind in kinds) if inside]
    return GroupCycles(
        title,
        sum(len(run) for run in runs),
        _covered([(run[0].begin, max(item.complete for item in run)) for run in runs]),
        sum(item.ideal for run in runs for item in run),
    )


def _covered(spans: Sequence[tuple[int, int]]) -> int:
    """Cycles in at least one of some spans, each from its first cycle to the one behind its last."""
    total, until = 0, 0
    for begin, end in sorted(spans):
        total += max(end - max(begin, until), 0)
        until = max(until, end)
    return total
