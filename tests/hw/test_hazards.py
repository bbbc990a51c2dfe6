"""Two lanes: no layer reads or writes too early, in any order that the words ``after`` allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interleavings import Interleavings
from planned_layers import CONFIG, gemm, program, unit
from targets import configuration

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import After, Destination, DigitSource, Memory, Scaling, Unit
from qvit_hls.hw.memory_plan import Tensor, place
from qvit_hls.hw.program import Layer
from qvit_hls.hw.scheduling.dependencies import dependencies
from qvit_hls.hw.scheduling.plan import PlannedLayer, Region

_MEMORIES = {
    Destination.ACTIVATION: Memory.ACTIVATION,
    Destination.ACTIVATION_TRANSPOSED: Memory.ACTIVATION,
    Destination.DIGIT: Memory.DIGIT,
}


def planned(layer: Layer, config: AcceleratorConfig) -> PlannedLayer:
    """A finished layer with the regions that its descriptor names."""
    d = layer.descriptor

    def named(memory: int, base: int, stride: int, tokens: int, channels: int) -> Region:
        tensor = Tensor(layer.name, Memory(memory), tokens, stride)
        tensor.base, tensor.stride = base, stride
        return Region(tensor, channels)

    x = digits = y = None
    if d.unit not in (Unit.LOAD_IMAGE, Unit.LOAD_RESIDUAL):
        x = named(
            Memory.ACTIVATION if d.unit == Unit.GEMM else Memory.WIDE, d.x_base, d.x_stride, d.tokens, d.k
        )
    if d.digit_source == DigitSource.MEMORY:
        digits = named(Memory.DIGIT, d.digit_base, d.digit_stride, d.rows, d.k)
    if d.trace_channels:
        y = named(d.trace_memory, d.trace_base, d.trace_stride, d.trace_tokens, d.trace_channels)
    elif d.unit == Unit.LOAD_RESIDUAL:
        y = named(Memory.WIDE, d.y_base, d.y_stride, d.tokens, d.k)
    assert (y is None) == (d.unit == Unit.STORE_RESULT)
    return PlannedLayer(layer.name, d, x=x, digits=digits, y=y)


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("tile", [(8, 12, 8), (16, 40, 8), (40, 8, 8)])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_program_has_no_hazard_in_any_order(pooling: str, tile: tuple[int, int, int], passes: int) -> None:
    config = configuration(tile, mac="rtl")
    layers = program(pooling, config).layers
    waits = [After.of_word(layer.descriptor.after) for layer in layers]
    regions = [planned(layer, config) for layer in layers]
    assert Interleavings(regions, waits, config, passes).hazards() == set()


def hazards_without(
    name: str, layers: Sequence[Layer], banks: int = 2, **changes: Any
) -> set[tuple[str, str]]:
    """Pairs of layers that may meet when one layer waits for something else."""
    waits = [After.of_word(layer.descriptor.after) for layer in layers]
    index = [layer.name for layer in layers].index(name)
    waits[index] = replace(waits[index], **changes)
    found = Interleavings([planned(layer, CONFIG) for layer in layers], waits, CONFIG, banks=banks).hazards()
    return {(layers[hazard.first].name, layers[hazard.second].name) for hazard in found}


@pytest.mark.parametrize(
    ("name", "changes", "before"),
    [
        ("blocks.0.norm1", {"gemms": 0}, "patch_embed"),
        ("blocks.0.attn.q", {"vectors": 2}, "blocks.0.norm1"),
        ("blocks.0.attn.scores[0]", {"gemms": 2}, "blocks.0.attn.k"),
        ("blocks.0.attn.softmax[2]", {"gemms": 8}, "blocks.0.attn.scores[2]"),
        ("blocks.0.attn.context[2]", {"vectors": 5}, "blocks.0.attn.softmax[2]"),
        ("blocks.0.attn.proj", {"gemms": 11, "gemm_by_tile": True}, "blocks.0.attn.context[2]"),
        ("blocks.0.mlp.fc2", {"gemms": 13}, "blocks.0.mlp.fc1"),
        ("result", {"gemms": 0}, "head"),
    ],
)
def test_a_wait_that_is_missing_is_a_hazard(name: str, changes: dict[str, Any], before: str) -> None:
    layers = program("cls").layers
    assert hazards_without(name, layers) == set()
    assert (before, name) in hazards_without(name, layers, **changes)


def test_one_bank_of_maxima_and_normalizers_would_be_a_hazard() -> None:
    layers = program("cls").layers
    found = hazards_without("result", layers, banks=1)
    assert ("blocks.0.attn.softmax[0]", "blocks.0.attn.scores[1]") in found
    assert ("blocks.0.attn.context[0]", "blocks.0.attn.softmax[2]") not in found


@st.composite
def plans(draw: st.DrawFn) -> list[PlannedLayer]:
    """Layers on tensors that share memory where their lifetimes allow it."""
    tokens = draw(st.integers(1, 40))
    pools: dict[Memory, list[Tensor]] = {
        memory: [] for memory in (Memory.ACTIVATION, Memory.DIGIT, Memory.WIDE)
    }
    layers: list[PlannedLayer] = []
    tensors: list[Tensor] = []

    def some_region(memory: Memory, fresh: bool) -> Region:
        if fresh or not pools[memory]:
            pools[memory].append(Tensor(str(len(tensors)), memory, tokens, draw(st.integers(1, 40))))
            tensors.append(pools[memory][-1])
        tensor = draw(st.sampled_from(pools[memory][-3:]))
        words = -(-tensor.channels // CONFIG.tile_depth)
        first = draw(st.integers(0, words - 1)) * CONFIG.tile_depth * draw(st.integers(0, 1))
        tensor.touch(len(layers))
        return Region(tensor, draw(st.integers(1, tensor.channels - first)), first)

    def last_result(memory: Memory) -> Region:
        """What the layer before wrote, where that is in this memory."""
        previous = layers[-1].y if layers else None
        if previous is None or previous.tensor.memory != memory or draw(st.booleans()):
            return some_region(memory, False)
        previous.tensor.touch(len(layers))
        return previous

    for _ in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from((*("gemm",) * 4, "norm", "softmax", "mean", "result", "constant")))
        fresh = draw(st.booleans())
        if kind == "norm":
            x, y = last_result(Memory.WIDE), some_region(Memory.ACTIVATION, fresh)
            layers.append(unit(Unit.LAYER_NORM, x, y, rows=draw(st.integers(0, 1))))
        elif kind == "softmax":
            layers.append(unit(Unit.SOFTMAX, last_result(Memory.WIDE), some_region(Memory.DIGIT, fresh)))
        elif kind == "mean":
            layers.append(unit(Unit.MEAN_TOKENS, last_result(Memory.WIDE), some_region(Memory.WIDE, fresh)))
        elif kind == "result":
            layers.append(unit(Unit.STORE_RESULT, last_result(Memory.WIDE)))
        elif kind == "constant":
            layers.append(unit(Unit.LOAD_RESIDUAL, y=some_region(Memory.WIDE, fresh)))
        else:
            x = last_result(Memory.ACTIVATION)
            destination = draw(st.sampled_from(list(Destination)))
            digits = last_result(Memory.DIGIT) if draw(st.booleans()) else None
            y = some_region(_MEMORIES.get(destination, Memory.WIDE), fresh)
            scores = destination in (Destination.SCORES, Destination.SCORES_ADD)
            scalings = [Scaling.CONSTANT] if scores else list(Scaling)
            layers.append(gemm(x, y, digits, destination, draw(st.sampled_from(scalings))))
    place(tensors, CONFIG)
    return layers


@settings(max_examples=300, deadline=None)
@given(plans(), st.integers(1, 2))
def test_no_layers_whatever_they_are_have_a_hazard(layers: list[PlannedLayer], passes: int) -> None:
    assert Interleavings(layers, dependencies(layers, CONFIG), CONFIG, passes).hazards() == set()
