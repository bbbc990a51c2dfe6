"""What a program needs of an accelerator, and what is said where an accelerator lacks it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from models import CONFIG, changed, compiled, network
from targets import configuration

from qvit_hls.errors import QvitError
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.board import load_board
from qvit_hls.hw.explore.choose import choose_accelerator
from qvit_hls.hw.explore.configuration import program_for
from qvit_hls.hw.requirements import requirements
from qvit_hls.hw.schedule import schedule
from qvit_hls.ir.graph import Graph, Node, Quantization
from qvit_hls.ir.integer_ops import (
    Embed,
    IntegerContext,
    IntegerLayerNorm,
    IntegerLinear,
    IntegerScores,
    Patches,
    QuantizedInput,
)
from qvit_hls.quant.levels import EXPONENT_LEVELS

TILE = (8, 12, 8)


@pytest.fixture(scope="module")
def accelerator() -> AcceleratorConfig:
    """The accelerator that is just large enough for the small network."""
    return choose_accelerator(compiled(), load_board("zcu102"), TILE).config


def lacks(graph: Graph, config: AcceleratorConfig) -> tuple[str, ...]:
    with pytest.raises(QvitError) as refused:
        program_for(graph, config)
    return refused.value.problems


def block(**changes: int) -> list[dict[str, int]]:
    return [{**CONFIG.blocks[0].model_dump(), **changes}]


def test_the_model_that_an_accelerator_was_chosen_for_fits_and_fills_it(
    accelerator: AcceleratorConfig,
) -> None:
    program = program_for(compiled(), accelerator)
    needs = requirements(compiled(), program)
    # Accumulators are wider than these weights need: those of the next training fit, too.
    needs["accumulator_bits"] = max(needs["accumulator_bits"], accelerator.accumulator_bits)
    assert needs == {name: getattr(accelerator, name) for name in needs}


@pytest.mark.parametrize(
    "changes",
    [
        {"eight_bit_share": 0.0},
        {"activation_bits": 4},
        {"residual_bits": 12},
        {"table_bits": 5},
        {"image_size": 8},
        {"embed_dim": 9},
        {"blocks": block(heads=1)},
        {"blocks": block(mlp_hidden=7)},
        {"classes": 2},
        {"activation": "relu"},
    ],
)
def test_smaller_models_fit(accelerator: AcceleratorConfig, changes: dict[str, object]) -> None:
    program_for(network(**changes), accelerator)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"activation_bits": 8}, "the model needs 8 activation bits; the accelerator has 7"),
        ({"table_bits": 9}, "the model needs 9 bits into the elementwise table; the accelerator has 8"),
        ({"embed_dim": 20}, "the model needs 20 channels of the residual stream; the accelerator has 12"),
        ({"image_size": 16}, "the model needs 17 tokens; the accelerator has 10"),
        ({"pooling": "mean"}, "the model needs a token mean unit; the accelerator has none"),
        ({"classes": 60}, "the model needs 7 row tiles of one matrix product; the accelerator has 2"),
        (
            {"blocks": block(head_dim=30)},
            "the model needs 8 steps in half of the weight buffer; the accelerator has 3",
        ),
        (
            {"patch_size": 3},
            "the model's patches are 3 pixels wide; the accelerator loads 4 pixels at once, so patches are "
            "a multiple of that",
        ),
    ],
)
def test_what_a_larger_model_needs_is_named(
    accelerator: AcceleratorConfig, changes: dict[str, object], name: str
) -> None:
    assert name in lacks(network(**changes), accelerator)


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        ("activation_depth", "channels per lane of the activation memory"),
        ("digit_depth", "channels per lane of the digit memory"),
        ("wide_depth", "channels per lane of the wide memory"),
        ("weight_depth", "steps in half of the weight buffer"),
        ("max_row_tiles", "row tiles of one matrix product"),
        ("max_tokens", "tokens"),
        ("max_channels", "channels of the residual stream"),
        ("accumulator_bits", "accumulator bits"),
        ("table_bits", "bits into the elementwise table"),
    ],
)
def test_every_size_is_checked_and_nothing_else_is_said(
    accelerator: AcceleratorConfig, memory: str, words: str
) -> None:
    need = requirements(compiled(), program_for(compiled(), accelerator))[memory]
    smaller = accelerator.model_copy(update={memory: need - 1})
    assert lacks(compiled(), smaller) == (f"the model needs {need} {words}; the accelerator has {need - 1}",)


@pytest.mark.parametrize(("unit", "words"), [("softmax", "softmax unit"), ("layer_norm", "LayerNorm unit")])
def test_every_unit_is_checked(accelerator: AcceleratorConfig, unit: str, words: str) -> None:
    without = accelerator.model_copy(update={unit: False})
    assert lacks(compiled(), without) == (f"the model needs a {words}; the accelerator has none",)


def test_shifts_of_a_layer_norm_are_checked(accelerator: AcceleratorConfig) -> None:
    graph = compiled()
    op = graph["norm"].op
    assert isinstance(op, IntegerLayerNorm)
    graph = changed(graph, "norm", op=replace(op, shifts=np.ones(12, np.uint8)))
    assert lacks(graph, accelerator) == (
        "the model needs a LayerNorm with a shift per channel; the accelerator has none",
    )
    with_shifts = accelerator.model_copy(update={"norm_shifts": True})
    for model in (graph, compiled()):
        program_for(model, with_shifts)


def test_all_lacks_are_named_at_once(accelerator: AcceleratorConfig) -> None:
    smaller = accelerator.model_copy(update={"max_tokens": 9, "softmax": False, "activation_bits": 6})
    assert lacks(compiled(), smaller) == (
        "the model needs 10 tokens; the accelerator has 9",
        "the model needs a softmax unit; the accelerator has none",
        "the model needs 7 activation bits; the accelerator has 6",
    )


def test_output_channels_beyond_the_weight_streams_numbers_are_refused(
    accelerator: AcceleratorConfig,
) -> None:
    graph = compiled()
    op = graph["head"].op
    assert isinstance(op, IntegerLinear)
    repeated = {
        name: np.resize(getattr(op, name), (4100, *getattr(op, name).shape[1:]))
        for name in ("weight", "row_bits", "bias", "multiplier", "shift")
    }
    graph = changed(graph, "head", op=replace(op, **repeated), shape=(1, 4100))
    assert "head has 4100 rows; the weight stream numbers at most 4096" in lacks(graph, accelerator)


def in_magnitude(code: int) -> int:
    """The two digits of a code, added in magnitude."""
    low = (code + 8) % 16 - 8
    return abs(code - low) + abs(low)


def test_accumulators_hold_the_largest_sums() -> None:
    """The bound is that of the worst input, digit by digit, over all matrix products."""
    graph = compiled()
    sums = []
    for node in graph:
        inputs = [graph[name] for name in node.inputs]
        qmax = [n.quant.qmax for n in inputs if n.quant is not None]
        if isinstance(node.op, IntegerLinear):
            for bits, bias, codes in zip(
                node.op.row_bits.tolist(), node.op.bias.tolist(), node.op.weight.tolist(), strict=True
            ):
                digits = sum(in_magnitude(code) if bits == 8 else abs(code) for code in codes)
                sums.append(abs(bias) + digits * qmax[0])
        elif isinstance(node.op, IntegerScores):
            keys = max(in_magnitude(code) for code in range(qmax[1] + 1))
            sums.append(inputs[0].shape[1] // node.op.heads * qmax[0] * keys)
        elif isinstance(node.op, IntegerContext):
            exponents = max(in_magnitude(code) for code in range(EXPONENT_LEVELS + 1))
            sums.append(inputs[1].shape[0] * qmax[1] * exponents)
    least = max(sums).bit_length() + 1
    needed = requirements(graph, schedule(graph, configuration(TILE)))["accumulator_bits"]
    assert least <= needed <= least + 1


def test_a_large_epsilon_asks_for_a_wider_square_root(accelerator: AcceleratorConfig) -> None:
    graph = compiled()
    op = graph["norm"].op
    assert isinstance(op, IntegerLayerNorm)
    channels = accelerator.max_channels  # 12: the root is built for sums below 2**40
    assert channels == 12
    for epsilon, needed in ((1 << 39, 12), (1 << 40, 16), (1 << 44, 64), (1 << 52, 1024)):
        program = schedule(graph, accelerator)
        grown = changed(graph, "norm", op=replace(op, epsilon=epsilon))
        assert requirements(grown, program)["max_channels"] == needed


def test_the_least_values_of_a_configuration_are_enough_for_the_smallest_graph() -> None:
    """One pixel of one bit: no requirement falls below what a configuration can hold."""
    quant, wide = Quantization(1.0, 1), Quantization(1.0, 2047)
    one = np.ones(1, np.int64)
    linear = IntegerLinear(np.ones((1, 1), np.int8), np.full(1, 4, np.uint8), one, one, one, 2047)
    nodes = (
        Node("image", QuantizedInput((1, 1, 1)), (), (1, 1, 1), quant),
        Node("patches", Patches(1), ("image",), (1, 1), quant),
        Node("linear", linear, ("patches",), (1, 1), wide),
        Node("embed", Embed(np.zeros((1, 1), np.int32), 0, 2047), ("linear",), (1, 1), wide),
    )
    program = schedule(Graph("smallest", nodes, ("embed",)), configuration(TILE))
    needs = requirements(Graph("smallest", nodes, ("embed",)), program)
    assert (needs["accumulator_bits"], needs["activation_bits"], needs["table_bits"]) == (8, 4, 0)
    assert not (needs["softmax"] or needs["layer_norm"] or needs["mean_tokens"])
