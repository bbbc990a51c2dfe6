"""Calibration sees every image once, whatever the batches, and goes on where it was stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_vit import plain_graph, random_images
from torch.testing import assert_close

from qvit_hls.errors import QvitError
from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ptq.calibration import CalibrationSettings, check_images, observe
from qvit_hls.ptq.observations import Observations
from qvit_hls.ptq.placement import BitWidths, place

PARTS = ("largest", "samples", "moments", "sums", "tokens", "sensitivity")


def equal(a: Observations, b: Observations) -> bool:
    return a.images == b.images and all(
        getattr(a, part).keys() == getattr(b, part).keys()
        and all(torch.equal(value, getattr(b, part)[name]) for name, value in getattr(a, part).items())
        for part in PARTS
    )


def test_observations_are_those_of_the_whole_set(graph: Graph) -> None:
    images = random_images(5)
    placement = place(graph, BitWidths())
    seen = observe(graph, placement, images, CalibrationSettings(batch_size=2))
    values = graph.run(images)
    for name, largest in seen.largest.items():
        assert_close(largest, values[name].abs().max())
    for node in graph:
        if isinstance(node.op, f.Linear):
            x = values[node.inputs[0]].flatten(0, -2)
            assert_close(seen.moments[node.inputs[0]], x.T @ x)
            assert_close(seen.sums[node.inputs[0]], x.sum(0), atol=1e-4, rtol=1e-4)
            assert seen.tokens[node.inputs[0]] == len(x)


def test_samples_are_values_of_all_images(graph: Graph) -> None:
    images = random_images(4)
    seen = observe(graph, place(graph, BitWidths()), images, CalibrationSettings(samples=40))
    values = graph.run(images)
    for name, samples in seen.samples.items():
        per_image = samples.reshape(4, -1)
        assert per_image.shape[1] >= 8
        for i in range(4):
            assert torch.isin(per_image[i], values[name][i]).all()


def test_sensitivity_is_the_squared_derivative_of_the_outputs() -> None:
    """The head's rows are the outputs themselves: its derivative is the random direction."""
    graph = plain_graph(blocks=1)
    seen = observe(graph, place(graph, BitWidths()), random_images(3), CalibrationSettings(seed=7))
    directions = [torch.randn(5, generator=torch.Generator().manual_seed((7 << 32) + i)) for i in range(3)]
    assert_close(seen.sensitivity["head"], torch.stack(directions).square().sum(0))


def test_a_stopped_calibration_goes_on_and_gives_the_same(graph: Graph, tmp_path: Path) -> None:
    images, placement = random_images(6), place(graph, BitWidths())
    settings = CalibrationSettings(batch_size=2)
    whole = observe(graph, placement, images, settings)
    done: list[int] = []

    def stop(stage: str, images_done: int, total: int) -> None:
        done.append(images_done)
        if images_done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        observe(graph, placement, images, settings, tmp_path, stop)
    resumed = observe(graph, placement, images, settings, tmp_path, lambda _, n, total: done.append(n))
    assert done == [0, 2, 4, 4, 6]
    assert equal(whole, resumed)
    again: list[int] = []
    assert equal(
        whole, observe(graph, placement, images, settings, tmp_path, lambda _, n, t: again.append(n))
    )
    assert again == [6]


def test_other_images_or_a_damaged_cache_start_over(graph: Graph, tmp_path: Path) -> None:
    images, placement = random_images(2), place(graph, BitWidths())
    first = observe(graph, placement, images, cache=tmp_path)
    other = observe(graph, placement, random_images(2, seed=1), cache=tmp_path)
    assert not torch.equal(first.largest["head"], other.largest["head"])
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    for file in files:
        file.write_bytes(file.read_bytes()[:100])
    assert equal(first, observe(graph, placement, images, cache=tmp_path))


def test_values_that_are_not_finite_are_named_where_they_arise(graph: Graph) -> None:
    overflow = []
    for node in graph:
        if isinstance(node.op, f.Linear) and node.name == "blocks.0.fc1":
            node = replace(node, op=replace(node.op, weight=np.full_like(node.op.weight, 3e38)))
        overflow.append(node)
    with pytest.raises(QvitError) as error:
        observe(graph.with_nodes(overflow), place(graph, BitWidths()), random_images(1))
    assert error.value.problems == (
        "blocks.0.fc1: the value contains NaN or infinity for a calibration image; a network can be "
        "quantized only where every value is finite.",
    )


def test_a_value_that_is_always_zero_is_named() -> None:
    graph = Graph(
        "dead",
        (
            Node("x", f.Input((2, 3)), (), (2, 3)),
            Node("dead", f.Linear(np.zeros((3, 3), np.float32)), ("x",), (2, 3)),
            Node("act", f.Elementwise("relu"), ("dead",), (2, 3)),
            Node("head", f.Linear(np.ones((3, 3), np.float32), np.ones(3, np.float32)), ("act",), (2, 3)),
        ),
        ("head",),
    )
    placement = place(graph, BitWidths())
    seen = observe(graph, placement, torch.ones(2, 2, 3))
    with pytest.raises(QvitError) as error:
        seen.check_ranges(placement)
    assert error.value.problems == tuple(
        f"{name}: the value is 0 for all 2 calibration images, so its range is empty and no step follows "
        "from it; calibrate with other images, or remove what computes it."
        for name in ("dead", "act")
    )


def test_all_that_is_wrong_with_the_images_is_said(graph: Graph) -> None:
    images = torch.zeros(3, 3, 8, 9)
    images[1, 0, 0, 0] = torch.nan
    with pytest.raises(QvitError) as error:
        check_images(graph, images, 8)
    assert error.value.problems == (
        "Calibration images have shape [3, 3, 8, 9]; it should be [n, 3, 8, 8].",
        "There are 3 calibration images; the method needs at least 8.",
        "1 of 3 calibration images contain NaN or infinity, the first is image 1; every value should be "
        "finite.",
    )
    with pytest.raises(QvitError, match="There are 0 calibration images; the method needs at least 1"):
        check_images(graph, torch.zeros(0, 3, 8, 8), 0)
