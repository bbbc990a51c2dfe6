"""Resources of whole engines: as synthesis counted them, and as a larger engine needs more of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.resources.model import FIELDS, KINDS, resource_arrays, resources

AREA = Path(__file__).parents[2] / "benchmarks" / "area"
ENGINES: list[dict[str, Any]] = json.loads((AREA / "qvit_engine.json").read_text())["records"]
HELD_OUT = [record for record in ENGINES if record["what"] == "held out"]
#: Parameters of qvit_engine.sv by the configuration's fields.
PARAMETERS = {
    "tile_tokens": "T_N",
    "tile_rows": "T_M",
    "tile_depth": "T_K",
    "activation_bits": "A",
    "weight_ports": "PORTS",
}
LUT_ERROR = 0.10


def config_of(record: dict[str, Any]) -> AcceleratorConfig:
    given = record["parameters"]
    fields = {
        name: given[PARAMETERS.get(name, name.upper())]
        for name in FIELDS
        if PARAMETERS.get(name, name.upper()) in given
    }
    units = {"softmax": True, "layer_norm": True, "mean_tokens": True}
    return AcceleratorConfig(mac="rtl", max_row_tiles=1, **fields, **units)


def columns_of(config: AcceleratorConfig) -> dict[str, int]:
    return {name: int(getattr(config, name)) for name in FIELDS}


@pytest.mark.parametrize("record", ENGINES, ids=lambda r: f"{r['parameters']['T_N']}-{r['what']}")
def test_dsps_and_block_rams_of_engines_are_those_that_synthesis_counted(record: dict[str, Any]) -> None:
    modelled = resources(config_of(record))
    assert (modelled.dsp, modelled.bram36) == (record["dsp"], record["bram36"])
    for unit, cells in record["parts"].items():
        assert modelled.units[unit].dsp == cells["dsp"], unit
        assert modelled.units[unit].bram36 == cells["bram36"], unit


def test_there_are_engines_that_the_fit_has_not_seen_and_each_of_their_parameters_is_new() -> None:
    fitted = [record["parameters"] for record in ENGINES if record["what"] != "held out"]
    assert HELD_OUT
    for record in HELD_OUT:
        for name in ("T_N", "ACTIVATION_DEPTH", "WIDE_DEPTH", "WEIGHT_DEPTH", "MAX_TOKENS", "MAX_CHANNELS"):
            assert record["parameters"][name] not in [each[name] for each in fitted], name


@pytest.mark.parametrize("record", HELD_OUT, ids=lambda r: str(r["parameters"]["T_N"]))
def test_luts_of_engines_that_the_fit_has_not_seen_are_within_ten_percent(record: dict[str, Any]) -> None:
    counted = record["lut"] + record["srl"] + record["lutram"]
    assert resources(config_of(record)).lut == pytest.approx(counted, rel=LUT_ERROR)


def test_units_sum_up_to_the_engine() -> None:
    whole = resources(config_of(ENGINES[0]))
    for kind in KINDS:
        assert sum(getattr(unit, kind) for unit in whole.units.values()) == getattr(whole, kind)


def accelerators() -> st.SearchStrategy[AcceleratorConfig]:
    return st.builds(
        lambda bits, depth, blocks, quads, dsp, wide: AcceleratorConfig(
            mac="rtl",
            tile_tokens=8 * blocks if depth <= 8 else 16 * blocks,
            tile_rows=12 * quads,
            tile_depth=depth,
            activation_bits=bits,
            dsp_rows=min(6 * dsp, 12 * quads),
            weight_ports=2,
            drain_rows=2,
            activation_depth=depth * wide,
            digit_depth=depth * wide // 2 + depth,
            wide_depth=wide,
            weight_depth=48,
            max_row_tiles=1,
            table_bits=8,
            max_tokens=197,
            max_channels=192,
            image_pixels=2,
            accumulator_bits=24,
            softmax=True,
            layer_norm=True,
            mean_tokens=True,
        ),
        st.sampled_from((4, 5, 6, 7, 8)),
        st.sampled_from((2, 4, 8, 16)),
        st.integers(1, 8),
        st.integers(1, 5),
        st.integers(0, 10),
        st.integers(2, 3000),
    )


def larger(config: AcceleratorConfig, **changes: Any) -> AcceleratorConfig:
    return AcceleratorConfig.model_validate({**config.model_dump(), **changes})


@settings(max_examples=60)
@given(config=accelerators())
def test_a_larger_engine_takes_no_less(config: AcceleratorConfig) -> None:
    small = resources(config)
    step = 8 if config.tile_depth <= 8 else 16
    for changes in (
        {"tile_rows": config.tile_rows + 12},
        {"tile_tokens": config.tile_tokens + step},
        {"accumulator_bits": config.accumulator_bits + 2},
    ):
        big = resources(larger(config, **changes))
        for kind in KINDS:
            assert getattr(big, kind) >= getattr(small, kind), (kind, changes)


@settings(max_examples=20)
@given(configs=st.lists(accelerators(), min_size=1, max_size=6), mac=st.sampled_from(("rtl", "hls")))
def test_engines_alone_take_what_they_take_among_others(configs: list[AcceleratorConfig], mac: Any) -> None:
    columns = {name: np.array([columns_of(c)[name] for c in configs]) for name in FIELDS}
    together = resource_arrays(columns, mac)
    for i, config in enumerate(configs):
        alone = resources(larger(config, mac=mac))
        assert [getattr(alone, kind) for kind in KINDS] == [together[kind][i] for kind in KINDS]


def test_shifts_add_to_a_layer_norm_what_synthesis_counted() -> None:
    """LUTs within what the same logic differs by from one synthesis to the next, registers exactly."""
    records = json.loads((AREA / "layer_norm_shifts.json").read_text())["records"]
    assert len(records) == 6
    for plain, shifted in zip(records[::2], records[1::2], strict=True):
        given = shifted["parameters"]
        assert (plain["parameters"]["SHIFTS"], given["SHIFTS"]) == (0, 1)
        config = larger(
            config_of(ENGINES[0]),
            tile_tokens=given["T_N"],
            drain_rows=given["CHANNELS"],
            max_channels=given["MAX_CHANNELS"],
        )
        before, after = (
            resources(larger(config, norm_shifts=shifts)).units["layer_norm"] for shifts in (False, True)
        )
        luts = sum(shifted[kind] - plain[kind] for kind in ("lut", "srl", "lutram"))
        assert after.lut - before.lut == pytest.approx(luts, abs=0.01 * before.lut)
        assert after.ff - before.ff == shifted["ff"] - plain["ff"]
        assert after.dsp == before.dsp and shifted["dsp"] == plain["dsp"]


def test_what_passes_through_a_layer_norm_is_too_little_to_count() -> None:
    records = json.loads((AREA / "layer_norm_passes.json").read_text())["records"]
    assert len(records) == 6
    for plain, passing in zip(records[::2], records[1::2], strict=True):
        assert (plain["parameters"]["PASSES"], passing["parameters"]["PASSES"]) == (0, 1)
        before, after = (
            sum(record[kind] for kind in ("lut", "srl", "lutram")) for record in (plain, passing)
        )
        assert 0 < after - before < 0.01 * before
        assert (plain["ff"], plain["dsp"]) == (passing["ff"], passing["dsp"])


def test_units_that_are_left_out_take_nothing() -> None:
    config = config_of(ENGINES[0])
    without = resources(larger(config, softmax=False, layer_norm=False, mean_tokens=False))
    for unit in ("softmax", "layer_norm", "mean_tokens"):
        used = without.units[unit]
        assert (used.lut, used.ff, used.dsp, used.bram36) == (0, 0, 0, 0)
    assert without.lut < resources(config).lut


def test_single_numbers_and_arrays_may_be_mixed() -> None:
    columns: dict[str, Any] = columns_of(config_of(ENGINES[0]))
    columns["wide_depth"] = np.array([100, 20_000])
    found = resource_arrays(columns)
    assert found["bram36"].shape == (2,)
    assert found["bram36"][0] < found["bram36"][1]


def test_a_missing_column_is_named() -> None:
    columns = columns_of(config_of(ENGINES[0]))
    del columns["tile_rows"]
    with pytest.raises(KeyError, match="tile_rows"):
        resource_arrays(columns)
