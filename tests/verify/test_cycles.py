"""Cycles per layer and per kind of layer, from the accelerator's counts of layers begun and complete."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qvit_hls.errors import QvitError
from qvit_hls.verify.cycles import (
    ATTENTION,
    LINEAR,
    VECTOR,
    LayerCycles,
    ProgramLayer,
    busy,
    frame_cycles,
    read_layers,
)

LAYERS = [
    ProgramLayer("norm", "layer_norm", VECTOR, 0),
    ProgramLayer("q", "gemm", LINEAR, 800),
    ProgramLayer("k", "gemm", LINEAR, 1600),
    ProgramLayer("scores[0]", "gemm", ATTENTION, 400),
    ProgramLayer("softmax[0]", "softmax", VECTOR, 0),
    ProgramLayer("proj", "gemm", LINEAR, 800),
]


def test_layers_overlap_and_runs_of_a_kind_are_counted_once() -> None:
    events = np.array(
        [  # matrix products and other layers begun, the same complete
            (5, 0, 1, 0, 0),
            (20, 1, 1, 0, 1),
            (30, 2, 1, 0, 1),
            (41, 2, 1, 1, 1),
            (50, 3, 1, 1, 1),
            (60, 3, 1, 3, 1),  # k and the scores complete in the same cycle
            (61, 3, 2, 3, 1),
            (70, 4, 2, 3, 2),
            (99, 4, 2, 4, 2),
            (120, 0, 0, 0, 0),  # the next frame begins
        ]
    )
    cycles = frame_cycles(LAYERS, events, 110, lanes=40)
    assert cycles is not None
    assert [(timed.begin, timed.complete, timed.ideal) for timed in cycles.layers] == [
        (5, 20, 0),
        (20, 41, 20),
        (30, 60, 40),
        (50, 60, 10),
        (61, 70, 0),
        (70, 99, 20),
    ]
    assert [(group.kind, group.layers, group.cycles, group.ideal) for group in cycles.groups] == [
        (LINEAR, 3, (60 - 20) + (99 - 70), 80),
        (ATTENTION, 1, 60 - 50, 10),
        (f"{LINEAR} and {ATTENTION}", 4, (60 - 20) + (99 - 70), 90),
        (VECTOR, 2, 15 + 9, 0),
    ]
    assert cycles.groups[0].utilisation == pytest.approx(80 / 69)
    assert cycles.to_json()["groups"][1]["utilisation"] == 1.0


def test_matrix_products_and_other_layers_run_side_by_side() -> None:
    events = np.array(
        [
            (0, 0, 1, 0, 0),
            (10, 1, 1, 0, 1),
            (20, 2, 1, 1, 1),
            (40, 3, 1, 2, 1),
            (50, 3, 2, 2, 1),
            (55, 4, 2, 2, 1),  # proj, before the softmax of the program is complete
            (60, 4, 2, 3, 1),
            (80, 4, 2, 4, 1),
            (85, 4, 2, 4, 2),
        ]
    )
    cycles = frame_cycles(LAYERS, events, 90, lanes=40)
    assert cycles is not None
    assert [(timed.begin, timed.complete) for timed in cycles.layers] == [
        (0, 10),
        (10, 20),
        (20, 40),
        (40, 60),
        (50, 85),
        (55, 80),
    ]
    assert [(group.kind, group.cycles) for group in cycles.groups] == [
        (LINEAR, (40 - 10) + (80 - 55)),
        (ATTENTION, 60 - 40),
        (f"{LINEAR} and {ATTENTION}", 80 - 10),  # 55 to 60 once
        (VECTOR, 10 + 35),
    ]


def test_cycles_of_several_layers_count_once_and_gaps_do_not() -> None:
    spans = [(30, 50), (0, 10), (5, 20), (35, 40)]
    assert busy([LayerCycles(LAYERS[0], begin, complete, 0) for begin, complete in spans]) == 20 + 20
    assert busy([]) == 0


def test_without_every_layers_events_there_are_no_cycles() -> None:
    assert frame_cycles(LAYERS, np.array([(5, 0, 1, 0, 0), (9, 4, 2, 3, 2)]), 10, lanes=40) is None


def test_the_kinds_of_layers_are_read_from_the_program(tmp_path: Path) -> None:
    path = tmp_path / "program.json"
    layers = [
        {"name": name, "unit": unit, "descriptor": {"digit_source": source}, "atom_macs": 7}
        for name, unit, source in (("a", "gemm", 0), ("b", "gemm", 1), ("c", "softmax", 0))
    ]
    path.write_text(json.dumps({"layers": layers}))
    assert [(layer.name, layer.kind) for layer in read_layers(path)] == [
        ("a", LINEAR),
        ("b", ATTENTION),
        ("c", VECTOR),
    ]
    del layers[1]["atom_macs"]
    path.write_text(json.dumps({"layers": layers}))
    with pytest.raises(QvitError) as error:
        read_layers(path)
    assert error.value.problems == (
        f"{path} does not describe the layers as this version does. "
        "Make the project again with qvit-hls gen --mac rtl.",
    )
