"""Tensors that live at the same time never share an address."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import compiled, network
from targets import configuration, configurations

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import Memory, Unit
from qvit_hls.hw.memory_plan import Tensor, place
from qvit_hls.hw.schedule import schedule

memories = st.sampled_from([Memory.ACTIVATION, Memory.DIGIT, Memory.WIDE])


@st.composite
def tensor_lists(draw: st.DrawFn) -> list[Tensor]:
    tensors = []
    for index in range(draw(st.integers(1, 25))):
        tensor = Tensor(str(index), draw(memories), draw(st.integers(1, 70)), draw(st.integers(1, 90)))
        tensor.touch(draw(st.integers(0, 12)))
        tensor.touch(tensor.first + draw(st.integers(0, 6)))
        tensors.append(tensor)
    return tensors


def overlap(a: Tensor, b: Tensor, config: AcceleratorConfig) -> bool:
    """Whether two tensors share an address and are alive in the same layer, or too close to each other."""
    lead = 2 if config.mac == "rtl" else 0
    alive = a.memory == b.memory and max(a.first, b.first) - lead <= min(a.last, b.last)
    return alive and max(a.base, b.base) < min(a.base + a.depth(config), b.base + b.depth(config))


@settings(max_examples=200)
@given(tensor_lists(), configurations(), st.sampled_from(["hls", "rtl"]))
def test_no_two_live_tensors_overlap(tensors: list[Tensor], config: AcceleratorConfig, mac: str) -> None:
    config = config.model_copy(update={"mac": mac})
    depths = place(tensors, config)
    for index, tensor in enumerate(tensors):
        assert not any(overlap(tensor, other, config) for other in tensors[:index])
        assert tensor.base >= 0
        assert tensor.base + tensor.depth(config) <= depths[tensor.memory]
        # Whole words, so that a step of the engine reads one word of every lane.
        assert tensor.base % config.tile_depth == tensor.stride % config.tile_depth == 0
        assert tensor.channels <= tensor.stride < tensor.channels + config.tile_depth
    assert all(depth % config.tile_depth == 0 for depth in depths.values())


def test_memory_is_used_again() -> None:
    config = configuration((8, 12, 8))
    tensors = [Tensor(str(i), Memory.WIDE, 8, 16) for i in range(4)]
    for index, tensor in enumerate(tensors):
        tensor.touch(index)
        tensor.touch(index + 1)
    assert place(tensors, config)[Memory.WIDE] == 2 * 16


@pytest.mark.parametrize(("mac", "depth"), [("hls", 2 * 16), ("rtl", 4 * 16)])
def test_a_place_stays_free_for_two_layers_before_one_that_may_begin_early(mac: str, depth: int) -> None:
    config = configuration((8, 12, 8), mac=mac)
    tensors = [Tensor(str(i), Memory.WIDE, 8, 16) for i in range(8)]
    for index, tensor in enumerate(tensors):
        tensor.touch(index)
        tensor.touch(index + 1)
    assert place(tensors, config)[Memory.WIDE] == depth


@pytest.mark.parametrize("ahead", [True, False])
def test_the_images_place_is_kept_for_the_next_one_where_that_is_loaded_ahead(ahead: bool) -> None:
    config = configuration((8, 12, 8), mac="rtl", image_ahead=ahead)
    image, *layers = schedule(network(), config).layers
    d = image.descriptor
    end = d.trace_base + -(-d.trace_tokens // config.tile_tokens) * d.trace_stride
    places = [
        (
            other.trace_base,
            other.trace_base + -(-other.trace_tokens // config.tile_tokens) * other.trace_stride,
        )
        for other in (layer.descriptor for layer in layers)
        if other.trace_channels and other.trace_memory == Memory.ACTIVATION
    ]
    assert any(first < end and d.trace_base < last for first, last in places) == (not ahead)
    # Where the place is used again, the next image waits for all that could read it.
    gemms = sum(layer.descriptor.unit == Unit.GEMM for layer in layers)
    assert d.rows == (1 if ahead else gemms)


@pytest.mark.parametrize("tile", [(8, 12, 8), (2, 16, 2), (16, 2, 16), (24, 8, 4)])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_no_layer_writes_what_it_reads(tile: tuple[int, int, int], pooling: str) -> None:
    """The engine's loop relies on it: it never waits for a store."""
    config = configuration(tile)
    program = schedule(network(pooling=pooling), config)
    for layer in program.layers:
        d = layer.descriptor
        reads = {
            (int(memory), base + tile_index * stride + channel)
            for memory, base, stride, tokens, channels in (
                (Memory.ACTIVATION, d.x_base, d.x_stride, d.tokens, d.k),
                (Memory.DIGIT, d.digit_base, d.digit_stride, d.rows if d.digit_source else 0, d.k),
            )
            for tile_index in range(-(-tokens // config.tile_tokens))
            for channel in range(channels)
        }
        writes = {
            (d.trace_memory, d.trace_base + tile_index * d.trace_stride + channel)
            for tile_index in range(-(-d.trace_tokens // config.tile_tokens))
            for channel in range(d.trace_channels)
        }
        if layer.name != "result" and d.unit == 2:
            assert reads
            assert writes
            assert not reads & writes, layer.name


def test_schedules_are_deterministic() -> None:
    config = configuration((8, 12, 8))
    first, second = (schedule(compiled(), config) for _ in range(2))
    assert [layer.descriptor for layer in first.layers] == [layer.descriptor for layer in second.layers]
