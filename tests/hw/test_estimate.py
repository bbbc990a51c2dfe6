"""The first estimate counts what the packed stream holds and what the engine's loops take."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import compiled, network
from targets import configuration, configurations

from qvit_hls.codegen.stream import pack_item, pack_stream
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.board import load_board
from qvit_hls.hw.cycles import estimate, item_bytes
from qvit_hls.hw.program import RowParameters, StreamedConstant, StreamedTable, StreamedWeights, StreamItem
from qvit_hls.hw.schedule import schedule

ZCU102 = load_board("zcu102")
counts = st.integers(1, 60)


@st.composite
def stream_items(draw: st.DrawFn) -> StreamItem:
    kind, a, b = draw(st.sampled_from(["weights", "table", "constant"])), draw(counts), draw(counts)
    if kind == "table":
        return StreamedTable(np.zeros(a, np.int8))
    if kind == "constant":
        return StreamedConstant(np.zeros((a, b), np.int16))
    ones = np.ones(a, np.int64)
    return StreamedWeights(
        np.zeros((a, b), np.int8), draw(st.integers(0, a)), RowParameters(ones, ones, ones, ones)
    )


@settings(max_examples=200)
@given(stream_items(), configurations())
def test_items_are_as_long_as_estimated(item: StreamItem, config: AcceleratorConfig) -> None:
    assert len(pack_item(item, config)) == item_bytes(item, config)
    assert item_bytes(item, config) % (config.beat_bits // 8) == 0


@settings(max_examples=10)
@given(configurations())
def test_the_stream_is_as_long_as_estimated(config: AcceleratorConfig) -> None:
    program = schedule(compiled(), config)
    result = estimate(program, ZCU102, 200)
    assert result.stream_bytes == sum(len(port) for port in pack_stream(program))
    assert result.stream_bytes == sum(layer.stream_bytes for layer in result.layers)


@settings(max_examples=20)
@given(configurations(), st.sampled_from(["cls", "mean"]))
def test_no_layer_is_faster_than_all_lanes_busy(config: AcceleratorConfig, pooling: str) -> None:
    program = schedule(network(pooling=pooling), config)
    result = estimate(program, ZCU102, 200)
    assert all(layer.cycles >= layer.ideal_cycles for layer in result.layers)
    assert all(layer.cycles > 0 for layer in result.layers)
    assert 0 < result.share_of_ideal <= 1
    assert result.atom_macs == sum(layer.atom_macs for layer in program.layers)
    assert result.compute_cycles == sum(layer.cycles for layer in result.layers)
    for estimated, layer in zip(result.layers, program.layers, strict=True):
        assert estimated.cycles >= layer.descriptor.steps > 0


@pytest.mark.parametrize(("clock", "bytes_per_cycle"), [(200.0, 16.0), (2400.0, 8.0)])
def test_the_stream_is_bound_by_the_port_or_by_the_memory(clock: float, bytes_per_cycle: float) -> None:
    program = schedule(compiled(), configuration((8, 12, 8)))
    result = estimate(program, ZCU102, clock)
    assert result.stream_cycles == int(result.stream_bytes / bytes_per_cycle)
    assert result.cycles == max(result.compute_cycles, result.stream_cycles)
    assert result.frames_per_second == pytest.approx(clock * 1e6 / result.cycles)
