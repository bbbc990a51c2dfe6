"""Memories and MAC tiles take what synthesis recorded: every record, exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qvit_hls.hw.resources.geometry import lut_memory, memory
from qvit_hls.hw.resources.mac_tile import mac_tile

AREA = Path(__file__).parents[2] / "benchmarks" / "area"


def records(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((AREA / f"{name}.json").read_text())["records"]
    return found


def test_recorded_memories_take_the_block_rams_and_luts_that_are_counted() -> None:
    recorded = records("ram_geometry")
    depth, lanes, bits, bram18, lutram = (
        np.array([r[key] for r in recorded]) for key in ("depth", "lanes", "lane_bits", "bram18", "lutram")
    )
    modelled = memory(depth, lanes, bits)
    assert len(recorded) >= 90
    assert modelled.bram18.tolist() == bram18.tolist()
    assert modelled.lutram.tolist() == lutram.tolist()


def test_a_memory_alone_is_the_same_as_among_others() -> None:
    depths = np.arange(1, 3000, 37)
    together = memory(depths, 12, 8)
    for i, depth in enumerate(depths):
        alone = memory(int(depth), 12, 8)
        assert (int(alone.bram18), int(alone.lutram)) == (together.bram18[i], together.lutram[i])


@given(depth=st.integers(1, 20_000), lanes=st.integers(1, 64), bits=st.sampled_from((8, 16, 32)))
def test_every_bit_of_a_memory_is_somewhere(depth: int, lanes: int, bits: int) -> None:
    """18 Kbit of a block RAM hold 16 Kbit at eight of nine bits; a LUT site 64 bits."""
    one = memory(depth, lanes, bits)
    if depth > 1:
        assert int(one.bram18) * 18 * 1024 + int(one.lutram) * 64 >= depth * lanes * bits


def test_memories_that_are_read_without_a_clock_are_luts() -> None:
    assert int(lut_memory(4096, 1, 16).bram18) == 0
    assert int(lut_memory(32, 1, 14).lutram) == 8


#: Small flat tiles share delays between DSP and LUT lanes, which large ones do not: up to 9 % fewer LUTs.
SHARED = "longest path"


@pytest.mark.parametrize("record", [r for r in records("mac_tile") if r["what"] != SHARED], ids=str)
def test_recorded_mac_tiles_take_the_luts_and_dsps_that_are_counted(record: dict[str, Any]) -> None:
    names = ("T_N", "T_M", "T_K", "A", "DSP_ROWS", "SUM_BITS")
    modelled = mac_tile(*(np.array(record["parameters"][name]) for name in names))
    assert float(modelled["lut"]) == record["lut"] + record["srl"]
    assert int(modelled["dsp"]) == record["dsp"]
    assert float(modelled["ff"]) == pytest.approx(record["ff"], rel=0.005)
