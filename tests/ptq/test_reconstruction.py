"""Block reconstruction: nearer outputs than rounding gives, on the grids, and the same every time."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from plain_vit import random_images

from qvit_hls.errors import QvitError
from qvit_hls.ir.float_ops import Constant, Linear
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.interpreter import steps as run_steps
from qvit_hls.ir.lowering import lower
from qvit_hls.ptq.annotate import WeightRows, annotate
from qvit_hls.ptq.block_learning import BlockReconstruction, BlockTask
from qvit_hls.ptq.block_run import QuantizedBlock
from qvit_hls.ptq.blocks import cut_blocks
from qvit_hls.ptq.methods import Brecq
from qvit_hls.ptq.placement import BitWidths, Placement, place
from qvit_hls.ptq.quantize import QuantizationSettings, quantize_graph
from qvit_hls.ptq.reconstruction import Reconstruction, reconstruct
from qvit_hls.ptq.rows import EightBitShare, search_rows

IMAGES = random_images(128)
SHORT = BlockReconstruction(iterations=120, batch_size=16, hold=0.8)


@dataclass
class Start:
    """Where reconstruction begins: nearest rounding, most rows with 4 bits, and activations of 7."""

    graph: Graph
    placement: Placement
    steps: dict[str, float]
    rows: dict[str, WeightRows]

    def reconstruct(self, settings: BlockReconstruction = SHORT) -> Reconstruction:
        return reconstruct(self.graph, self.graph, self.placement, IMAGES, self.steps, self.rows, settings)

    def annotated(self, found: Reconstruction | None = None) -> Graph:
        if found is None:
            return annotate(self.graph, self.placement, self.steps, self.rows)
        return annotate(found.graph, self.placement, found.steps, self.rows)


@pytest.fixture(scope="module")
def start(graph: Graph) -> Start:
    placement = place(graph, BitWidths())
    values = graph.run(IMAGES)
    steps = {
        grid.name: float(np.float32(max(float(values[name].abs().max()) for name in grid.values) / grid.qmax))
        for grid in placement.grids
    }
    rows = {}
    for node in graph:
        if isinstance(node.op, Linear):
            weight = torch.from_numpy(node.op.weight).float()
            bits = torch.tensor([8] + [4] * (len(weight) - 1), dtype=torch.uint8)
            rows[node.name] = WeightRows(bits, search_rows(weight).chosen(bits))
    return Start(graph, placement, steps, rows)


@pytest.fixture(scope="module")
def found(start: Start) -> Reconstruction:
    return start.reconstruct()


def output_error(graph: Graph, wanted: Graph, images: torch.Tensor) -> float:
    (a,), (b,) = ([g.run(images)[name] for name in g.outputs] for g in (graph, wanted))
    return float((a - b).square().mean())


def test_every_block_ends_nearer_than_nearest_rounding(found: Reconstruction) -> None:
    assert [error.output for error in found.errors] == [
        "add",
        "blocks.0.add_1",
        "blocks.1.add_1",
        "head.reshape",
    ]
    assert all(error.learned <= error.start for error in found.errors)
    assert all(error.learned < 0.8 * error.start for error in found.errors[1:3])


def test_the_network_is_nearer_for_other_images_too(start: Start, found: Reconstruction) -> None:
    images = random_images(64, seed=9)
    nearest = output_error(start.annotated(), start.graph, images)
    assert output_error(start.annotated(found), start.graph, images) < 0.9 * nearest


def test_weights_are_on_their_grids_and_next_to_the_float_ones(start: Start, found: Reconstruction) -> None:
    moved = 0
    for node in start.graph:
        if not isinstance(node.op, Linear):
            continue
        op, rows = found.graph[node.name].op, start.rows[node.name]
        assert isinstance(op, Linear)
        step = rows.step.double().numpy()[:, None]
        codes, wanted = op.weight / step, node.op.weight / step
        limit = np.where(rows.bits == 8, 119, 7)[:, None]
        assert np.abs(codes - np.rint(codes)).max() < 1e-4
        assert (np.abs(codes) <= limit + 1e-4).all()
        assert np.abs(codes - np.clip(wanted, -limit, limit)).max() < 1 + 1e-4
        moved += int((np.abs(codes - np.clip(wanted, -limit, limit)) > 0.501).sum())
    assert moved > 20


def test_annotation_keeps_the_learned_codes(start: Start, found: Reconstruction) -> None:
    annotated = start.annotated(found)
    for name, rows in start.rows.items():
        learned, op = found.graph[name].op, annotated[name].op
        assert isinstance(learned, Linear) and isinstance(op, Linear)
        assert np.array_equal(op.weight, learned.weight)
        assert np.array_equal(op.row_bits, rows.bits)


def test_steps_of_operands_are_learned_and_others_stay(start: Start, found: Reconstruction) -> None:
    changed = {name for name, step in found.steps.items() if step != start.steps[name]}
    assert {"blocks.0.norm1", "blocks.0.q", "blocks.1.k", "blocks.1.fc1", "norm"} <= changed
    # The image, the residual stream, scores and outputs.
    assert not changed & {"images", "patch", "blocks.0.scores", "head"}
    fixed = start.reconstruct(replace(SHORT, step_rate=0, iterations=5))
    assert fixed.steps == start.steps


def test_a_block_computes_what_the_annotated_graph_computes(start: Start) -> None:
    """What is learned is the error of what lowering gets."""
    annotated = start.annotated()
    values = {node.name: value for node, _, value in run_steps(annotated, (IMAGES,), keep=True)}
    for block in cut_blocks(start.graph):
        # With the annotated graph's biases, which are in whole accumulator steps.
        quantized = QuantizedBlock(
            start.graph, annotated, block, start.placement, start.steps, start.rows, 0.8
        )
        found, expected = quantized.run_quantized(values[block.source]), values[block.output]
        # What is on the edge of a code may fall either way.
        assert (found - expected).abs().median() < 1e-6
        assert (found - expected).square().mean() < 1e-6 * expected.square().mean()


def test_the_same_seed_gives_the_same_network(start: Start) -> None:
    settings = replace(SHORT, iterations=8, rounding_rate=0.5, regularizer=100.0)
    first, second = start.reconstruct(settings), start.reconstruct(settings)
    other = start.reconstruct(replace(settings, seed=1))
    assert first.errors == second.errors and first.steps == second.steps
    assert first.steps != other.steps
    for node in first.graph:
        if isinstance(node.op, Linear):
            again = second.graph[node.name].op
            assert isinstance(again, Linear) and np.array_equal(node.op.weight, again.weight)


@pytest.mark.parametrize(
    ("shape", "images"),
    [((50, 4), 2), ((7, 4), 14), ((99, 4), 1), ((100, 4), 1), ((101, 4), 1), ((4,), 20), ((2, 3, 4), 16)],
)
def test_a_gradient_step_has_images_for_so_many_tokens(shape: tuple[int, ...], images: int) -> None:
    seen = []

    def run(x: torch.Tensor, drop: float, generator: torch.Generator) -> torch.Tensor:
        seen.append(len(x))
        return x * logits

    logits = torch.zeros(1, requires_grad=True)
    rounding = SimpleNamespace(logits=logits, indecision=lambda beta: logits.sum())
    block = cast(QuantizedBlock, SimpleNamespace(run=run, roundings={"fc": rounding}, log_ratios={}))
    values = torch.zeros(24, *shape)
    settings = BlockReconstruction(iterations=2, batch_size=20, batch_tokens=100)
    task = BlockTask(values, values, values, values[0], settings)
    assert list(task.learn(block, 1.0)) == [1, 2]
    assert seen == [images] * 2


def test_switches_change_what_is_learned(start: Start) -> None:
    settings = replace(SHORT, iterations=30)
    results = [
        start.reconstruct(changed)
        for changed in (settings, replace(settings, fisher=0), replace(settings, drop=0.0))
    ]
    assert len({tuple(sorted(found.steps.items())) for found in results}) == 3
    assert all(found.errors[1].learned < found.errors[1].start for found in results)


def test_what_is_worse_than_the_start_is_not_kept(start: Start) -> None:
    """One step, and so long a one that it turns most roundings over."""
    found = start.reconstruct(replace(SHORT, iterations=1, warm_up=1, rounding_rate=50.0, step_rate=0))
    assert any(error.learned == error.start for error in found.errors)
    for error, block in zip(found.errors, cut_blocks(start.graph), strict=True):
        if error.learned == error.start:
            for node in block.linears:
                op, nearest = found.graph[node.name].op, start.annotated()[node.name].op
                assert isinstance(op, Linear) and isinstance(nearest, Linear)
                assert np.array_equal(op.weight, nearest.weight)


def test_the_method_starts_from_ridge_correction_and_lowers(graph: Graph) -> None:
    method = Brecq(reconstruction=replace(SHORT, iterations=20, hold=0.6))
    stages: dict[str, int] = {}

    def progress(stage: str, done: int, total: int) -> None:
        assert stages.get(stage, 0) <= done <= total
        stages[stage] = done

    settings = QuantizationSettings(method, BitWidths(activation=7), EightBitShare(0.25))
    quantized = quantize_graph(graph, IMAGES[:32], settings, progress=progress)
    assert stages["correct weights"] == 14 and stages["reconstruct blocks"] == 4 * 20
    images = random_images(64, seed=5)
    integer = lower(quantized.graph)
    codes, expected = integer.run(images)["head"], quantized.graph.run(images)["head"]
    quant = integer["head"].quant
    assert quant is not None
    # Functions are tables in one of them only.
    assert (codes.double() * quant.scale - expected).square().mean() < 1e-3 * expected.square().mean()
    for node in quantized.graph:
        if not isinstance(node.op, Constant):
            assert set(node.inputs) <= {other.name for other in quantized.graph}


def test_bad_settings_are_all_named() -> None:
    with pytest.raises(QvitError) as error:
        BlockReconstruction(iterations=0, rounding_rate=0, drop=1, beta_high=1, warm_up=-0.5)
    assert error.value.problems == (
        "Block reconstruction's iterations is 0; it should be at least 1.",
        "Block reconstruction's rounding_rate is 0; it should be greater than 0.",
        "Block reconstruction's drop is 1; it should be at least 0 and less than 1.",
        "Block reconstruction's beta_high is 1; it should be at least beta_low, 2.",
        "Block reconstruction's warm_up is -0.5; it should be 0 to 1.",
    )


def test_too_few_images_are_refused(graph: Graph) -> None:
    expected = "There are 31 calibration images; the method needs at least 32."
    with pytest.raises(QvitError, match=f"^{re.escape(expected)}$"):
        quantize_graph(graph, IMAGES[:31], QuantizationSettings(Brecq()))
