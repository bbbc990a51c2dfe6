"""Cycles of means of successive tokens: every model of them counts the token tiles that the windows touch."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from targets import configuration

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import Descriptor, Unit
from qvit_hls.hw.explore.loop_cycles import frame_cycles
from qvit_hls.hw.timing.constants import MEAN_TOKENS, UNIT_COMPLETE, clog2
from qvit_hls.hw.timing.network import NetworkShape
from qvit_hls.hw.timing.simulate import simulate
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.hw.timing.vector_units import vector_work
from qvit_hls.hw.unit_cycles import unit_cycles, window_tiles

LANES = (2, 6, 8)
CONFIGS = [configuration((lanes, 12, 2), mac="rtl", drain_rows=2) for lanes in LANES]


def means(count: int) -> list[Descriptor]:
    """Windows of one token and of many, on either side of tile borders."""
    rng = np.random.default_rng(5)
    return [
        Descriptor(
            unit=Unit.MEAN_TOKENS,
            tokens=1 if rng.random() < 0.5 else int(rng.integers(1, 40)),
            k=int(rng.integers(1, 20)),
            rows=1 if rng.random() < 0.5 else int(rng.integers(1, 30)),
            first_token=int(rng.integers(0, 30)),
            patch=int(rng.integers(0, 30)),
        )
        for _ in range(count)
    ]


def touched_tiles(d: Descriptor, lanes: int) -> int:
    windows = [range(d.first_token + j, d.first_token + j + d.tokens) for j in range(d.rows)]
    return sum(len({token // lanes for token in window}) for window in windows)


def network(*descriptors: Descriptor) -> NetworkShape:
    """Layers that wait for nothing."""
    columns = {
        "unit": [d.unit for d in descriptors],
        "tokens": [d.tokens for d in descriptors],
        "k": [d.k for d in descriptors],
        "rows": [d.rows for d in descriptors],
        "first_token": [d.first_token for d in descriptors],
        "first_result": [d.patch for d in descriptors],
    }
    none = [0] * len(descriptors)
    return NetworkShape(**{f.name: np.array(columns.get(f.name, none)) for f in fields(NetworkShape)})


@pytest.mark.parametrize("lanes", LANES)
def test_window_tiles_are_those_that_hold_a_token_of_a_window(lanes: int) -> None:
    descriptors = means(300)
    first, rows, tokens = (
        np.array([getattr(d, name) for d in descriptors]) for name in ("first_token", "rows", "tokens")
    )
    expected = [touched_tiles(d, lanes) for d in descriptors]
    assert window_tiles(first, rows, tokens, lanes).tolist() == expected


@pytest.mark.parametrize("config", CONFIGS, ids=[f"{lanes} lanes" for lanes in LANES])
def test_the_loops_of_the_cpp_engine_take_a_cycle_per_channel_and_touched_tile(
    config: AcceleratorConfig,
) -> None:
    for d in means(40):
        expected = d.k * touched_tiles(d, config.tile_tokens)
        assert unit_cycles(config, d) == expected
        assert int(frame_cycles({d: 1}, Tiles.of_config(config))) == expected


@pytest.mark.parametrize("config", CONFIGS, ids=[f"{lanes} lanes" for lanes in LANES])
def test_the_rtl_also_passes_the_tiles_before_the_first_tokens(config: AcceleratorConfig) -> None:
    descriptors, lanes, tiles = means(40), config.tile_tokens, Tiles.of_config(config)
    work = vector_work(network(*descriptors), tiles)
    for index, d in enumerate(descriptors):
        passed = max(d.first_token, d.patch) // lanes
        expected = d.k * touched_tiles(d, lanes) + passed + MEAN_TOKENS + int(clog2(lanes))
        assert work.last[index] == expected
        timeline = simulate(network(d), tiles)
        assert timeline.complete[0] - timeline.begin[0] == expected + UNIT_COMPLETE
