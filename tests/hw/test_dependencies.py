"""The word ``after``: a layer waits for exactly the layers that it reads from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import network
from targets import configuration

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import (
    AFTER_BY_TOKEN_TILE,
    Descriptor,
    Destination,
    DigitSource,
    Memory,
    Scaling,
    Unit,
)
from qvit_hls.hw.memory_plan import Tensor, place
from qvit_hls.hw.schedule import schedule
from qvit_hls.hw.scheduling.dependencies import dependencies
from qvit_hls.hw.scheduling.plan import PlannedLayer, Region

CONFIG = configuration((8, 12, 8))
BY_TOKEN_TILE = 1 << AFTER_BY_TOKEN_TILE


def region(memory: Memory, base: int, tokens: int, channels: int) -> Region:
    tensor = Tensor("", memory, tokens, channels)
    tensor.base, tensor.stride = base, -(-channels // CONFIG.tile_depth) * CONFIG.tile_depth
    return Region(tensor, channels)


def gemm(
    x: Region,
    y: Region,
    digits: Region | None = None,
    destination: Destination = Destination.ACTIVATION,
    scaling: Scaling = Scaling.PER_ROW,
) -> PlannedLayer:
    source = DigitSource.STREAM if digits is None else DigitSource.MEMORY
    descriptor = Descriptor(
        unit=Unit.GEMM,
        tokens=x.tensor.tokens,
        destination=destination,
        scaling=scaling,
        digit_source=source,
    )
    return PlannedLayer("gemm", descriptor, x=x, digits=digits, y=y)


def unit(which: Unit, x: Region | None = None, y: Region | None = None) -> PlannedLayer:
    return PlannedLayer(which.name, Descriptor(unit=which), x=x, y=y)


X = region(Memory.ACTIVATION, 0, 20, 16)
H = region(Memory.ACTIVATION, 64, 20, 24)
OTHER = region(Memory.ACTIVATION, 256, 20, 24)
KEYS = region(Memory.DIGIT, 0, 20, 16)
RESIDUAL = region(Memory.WIDE, 0, 20, 16)
SCORES = region(Memory.WIDE, 64, 20, 20)


def after(*layers: PlannedLayer) -> list[int]:
    return dependencies(layers, CONFIG)


def test_an_operand_that_nothing_wrote_waits_for_nothing() -> None:
    assert after(gemm(X, H), gemm(OTHER, X)) == [0, 0]


def test_an_operand_waits_for_its_last_writer_and_not_for_layers_between() -> None:
    assert after(gemm(OTHER, X), gemm(OTHER, X), gemm(OTHER, H), gemm(X, OTHER)) == [0, 0, 0, 2]


def test_a_vector_unit_waits_for_all_layers() -> None:
    assert after(gemm(X, H), unit(Unit.LAYER_NORM, RESIDUAL, X), unit(Unit.STORE_RESULT, RESIDUAL)) == [
        0,
        1,
        2,
    ]


def test_a_layer_behind_its_operands_writer_goes_by_token_tile() -> None:
    assert after(gemm(X, H), gemm(H, OTHER)) == [0, 1 | BY_TOKEN_TILE]


def test_only_the_whole_operand_goes_by_token_tile() -> None:
    later_words = Region(H.tensor, 8, 8)
    assert after(gemm(X, H), gemm(later_words, OTHER)) == [0, 1]
    wider_apart = region(Memory.ACTIVATION, 64, 20, 16)
    assert after(gemm(X, H), gemm(wider_apart, OTHER)) == [0, 1]
    more_tokens = region(Memory.ACTIVATION, 64, 21, 24)
    assert after(gemm(X, H), gemm(more_tokens, OTHER)) == [0, 1]
    fewer_tokens = region(Memory.ACTIVATION, 64, 3, 24)
    assert after(gemm(X, H), gemm(fewer_tokens, OTHER)) == [0, 1 | BY_TOKEN_TILE]
    fewer_channels = Region(H.tensor, 8)
    assert after(gemm(X, H), gemm(fewer_channels, OTHER)) == [0, 1 | BY_TOKEN_TILE]


def test_transposed_results_vector_units_and_earlier_layers_do_not_go_by_token_tile() -> None:
    transposed = gemm(X, H, destination=Destination.ACTIVATION_TRANSPOSED)
    assert after(transposed, gemm(H, OTHER)) == [0, 1]
    assert after(unit(Unit.LAYER_NORM, RESIDUAL, H), gemm(H, OTHER)) == [0, 1]
    assert after(gemm(X, H), gemm(X, OTHER), gemm(H, X)) == [0, 0, 1]


def test_digits_wait_for_their_writer_and_never_go_by_token_tile() -> None:
    keys = gemm(X, KEYS, destination=Destination.DIGIT)
    scores = gemm(H, SCORES, KEYS, Destination.SCORES, Scaling.CONSTANT)
    assert after(keys, gemm(X, OTHER), scores) == [0, 0, 1]
    assert after(keys, gemm(X, H), scores) == [0, 0, 2]


def test_an_accumulated_result_is_read() -> None:
    add = gemm(X, RESIDUAL, destination=Destination.WIDE_ADD)
    assert after(add, gemm(H, OTHER), add) == [0, 0, 1]
    write = gemm(X, RESIDUAL, destination=Destination.WIDE)
    assert after(write, gemm(H, OTHER), write) == [0, 0, 0]


def test_an_operand_that_is_also_accumulated_into_waits_for_all_of_it() -> None:
    add = gemm(X, RESIDUAL, destination=Destination.WIDE_ADD)
    onto_itself = gemm(Region(RESIDUAL.tensor, 16), RESIDUAL, destination=Destination.WIDE_ADD)
    assert after(add, onto_itself) == [0, 1]


def test_normalizers_are_those_of_the_last_softmax() -> None:
    context = gemm(X, H, KEYS, Destination.ACTIVATION_TRANSPOSED, Scaling.RECIPROCAL)
    softmax = unit(Unit.SOFTMAX, SCORES, region(Memory.DIGIT, 512, 20, 20))
    assert after(softmax, gemm(OTHER, X), context) == [0, 0, 2]
    assert after(softmax, gemm(OTHER, H), context) == [0, 0, 1]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_transformers_layers(pooling: str) -> None:
    layers = schedule(network(pooling=pooling), CONFIG).layers
    index = {layer.name: i for i, layer in enumerate(layers)}
    found = {layer.name: layer.descriptor.after for layer in layers}
    block = "blocks.0"

    def done(name: str) -> int:
        return index[name] + 1

    norm = done(f"{block}.norm1")
    assert [found[f"{block}.attn.{part}"] for part in ("q", "k", "v[0]", "v[1]")] == [norm] * 4
    assert found[f"{block}.attn.scores[0]"] == done(f"{block}.attn.k")
    # Nothing that the second head's scores read is written by the first head.
    assert found[f"{block}.attn.scores[1]"] == done(f"{block}.attn.k")
    for head in (0, 1):
        assert found[f"{block}.attn.softmax[{head}]"] == index[f"{block}.attn.softmax[{head}]"]
        assert found[f"{block}.attn.context[{head}]"] == done(f"{block}.attn.softmax[{head}]")
    assert found[f"{block}.attn.proj"] == done(f"{block}.attn.context[1]")
    assert found[f"{block}.mlp.fc1"] == done(f"{block}.norm2")
    assert found[f"{block}.mlp.fc2"] == done(f"{block}.mlp.fc1") | BY_TOKEN_TILE
    for layer in layers:
        if layer.descriptor.unit != Unit.GEMM:
            assert layer.descriptor.after == index[layer.name]


def touched(region: Region, config: AcceleratorConfig) -> set[tuple[int, int]]:
    """Memory and word of every value, one by one."""
    tensor = region.tensor
    first = tensor.base + region.column
    return {
        (tensor.memory, (first + t // config.tile_tokens * tensor.stride + c) // config.tile_depth)
        for t in range(tensor.tokens)
        for c in range(region.channels)
    }


def brute_force(layers: list[PlannedLayer], config: AcceleratorConfig, index: int) -> int:
    """Compare what a layer reads with what each earlier layer writes."""
    layer = layers[index]
    d = layer.descriptor
    if d.unit != Unit.GEMM:
        return index
    reads = {"x": layer.x, "digits": layer.digits}
    if d.destination == Destination.WIDE_ADD:
        reads["y"] = layer.y
    latest = {}
    for name, read in reads.items():
        latest[name] = max(
            (
                j + 1
                for j, other in enumerate(layers[:index])
                if read is not None
                and other.y is not None
                and touched(read, config) & touched(other.y, config)
            ),
            default=0,
        )
    if d.scaling == Scaling.RECIPROCAL:
        latest["normalizer"] = max(
            (j + 1 for j, other in enumerate(layers[:index]) if other.descriptor.unit == Unit.SOFTMAX),
            default=0,
        )
    needed = max(latest.values())
    before = layers[index - 1] if index else None
    others = max(value for name, value in latest.items() if name != "x")
    if (
        needed == index > others
        and before is not None
        and before.descriptor.unit == Unit.GEMM
        and before.descriptor.destination == Destination.ACTIVATION
        and d.digit_source == DigitSource.STREAM
        and layer.x is not None
        and before.y is not None
        and layer.x.tensor is before.y.tensor
        and layer.x.column == before.y.column
    ):
        needed += BY_TOKEN_TILE
    return needed


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

    for _ in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(("gemm", "gemm", "gemm", "chain", "norm", "softmax")))
        fresh = draw(st.booleans())
        if kind == "norm":
            layers.append(
                unit(Unit.LAYER_NORM, some_region(Memory.WIDE, False), some_region(Memory.ACTIVATION, fresh))
            )
            continue
        if kind == "softmax":
            layers.append(
                unit(Unit.SOFTMAX, some_region(Memory.WIDE, False), some_region(Memory.DIGIT, fresh))
            )
            continue
        previous = layers[-1].y if layers else None
        if kind == "chain" and previous is not None and previous.tensor.memory == Memory.ACTIVATION:
            previous.tensor.touch(len(layers))
            x = previous
        else:
            x = some_region(Memory.ACTIVATION, False)
        destination = draw(st.sampled_from(list(Destination)))
        memory = {
            Destination.ACTIVATION: Memory.ACTIVATION,
            Destination.ACTIVATION_TRANSPOSED: Memory.ACTIVATION,
            Destination.DIGIT: Memory.DIGIT,
        }.get(destination, Memory.WIDE)
        digits = some_region(Memory.DIGIT, False) if draw(st.booleans()) else None
        scaling = draw(st.sampled_from(list(Scaling)))
        layers.append(gemm(x, some_region(memory, fresh), digits, destination, scaling))
    place(tensors, CONFIG)
    return layers


@settings(max_examples=150, deadline=None)
@given(plans())
def test_dependencies_are_those_of_comparing_all_reads_with_all_writes(layers: list[PlannedLayer]) -> None:
    assert dependencies(layers, CONFIG) == [brute_force(layers, CONFIG, i) for i in range(len(layers))]
