"""What is packed into the weight stream comes out of it again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from qvit_hls.codegen.stream import (
    WORD_BYTES,
    pack_atoms,
    pack_item,
    pack_parameters,
    pack_stream,
    split_digits,
)
from qvit_hls.errors import QvitError
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import Descriptor, Unit
from qvit_hls.hw.gemm_timing import ceil_div, round_up, row_tiles
from qvit_hls.hw.program import (
    Layer,
    Program,
    RowParameters,
    StreamedConstant,
    StreamedTable,
    StreamedWeights,
)


def configuration(tile: tuple[int, int, int], ports: int = 1) -> AcceleratorConfig:
    sizes = {
        name: 64
        for name in (
            *("activation_depth", "digit_depth", "wide_depth", "weight_depth", "max_row_tiles"),
            *("max_tokens", "max_channels"),
        )
    }
    return AcceleratorConfig(
        tile_tokens=tile[0],
        tile_rows=tile[1],
        tile_depth=tile[2],
        activation_bits=7,
        dsp_rows=0,
        weight_ports=ports,
        table_bits=8,
        image_pixels=1,
        accumulator_bits=24,
        softmax=True,
        layer_norm=True,
        mean_tokens=True,
        **sizes,
    )


configurations = st.sampled_from(
    [
        configuration((8, 12, 8)),
        configuration((6, 32, 2), ports=2),
        configuration((4, 32, 4), ports=4),
        configuration((16, 2, 16)),
        configuration((8, 10, 8)),  # a step takes two beats and a half
        configuration((4, 6, 4), ports=4),  # and less than one
    ]
)
codes_8bit = arrays.arrays(np.int8, st.integers(0, 300), elements=st.integers(-119, 119))


def unpack_atoms(data: bytes) -> np.ndarray:
    nibbles = np.frombuffer(data, np.uint8)
    pairs = np.stack([nibbles & 15, nibbles >> 4], axis=1).reshape(-1).astype(int)
    return np.where(pairs > 7, pairs - 16, pairs)


@given(arrays.arrays(np.int64, st.integers(0, 300), elements=st.integers(-136, 119)))
def test_digits_are_balanced_and_make_up_the_code(codes: np.ndarray) -> None:
    high, low = split_digits(codes)
    assert np.array_equal(16 * high.astype(int) + low, codes)
    for digit in (high, low):
        assert digit.dtype == np.int8
        assert not digit.size or (digit.min() >= -8 and digit.max() <= 7)


@pytest.mark.parametrize("code", [-137, 120, 127])
def test_codes_without_two_digits_are_refused(code: int) -> None:
    with pytest.raises(ValueError) as refused:
        split_digits(np.array([0, code]))
    low, high = min(code, 0), max(code, 0)
    assert str(refused.value) == f"codes {low}..{high} do not fit two balanced digits (-136..119)"


@given(arrays.arrays(np.int8, st.integers(0, 100).map(lambda n: 2 * n), elements=st.integers(-8, 7)))
def test_atoms_are_unpacked_as_packed(atoms: np.ndarray) -> None:
    packed = pack_atoms(atoms)
    assert len(packed) == len(atoms) // 2
    assert np.array_equal(unpack_atoms(packed), atoms)


@st.composite
def parameters(draw: st.DrawFn, rows: int | None = None) -> RowParameters:
    rows = draw(st.integers(1, 40)) if rows is None else rows

    def column(low: int, high: int) -> np.ndarray:
        return draw(arrays.arrays(np.int64, rows, elements=st.integers(low, high)))

    return RowParameters(
        column(-(1 << 29), (1 << 29) - 1), column(0, (1 << 16) - 1), column(1, 47), column(0, (1 << 12) - 1)
    )


def unpack_parameters(data: bytes) -> tuple[list[int], ...]:
    words = [int(word) for word in np.frombuffer(data, "<u8")]
    bias = [(word & ((1 << 30) - 1)) for word in words]
    return (
        [b - (1 << 30) if b >> 29 else b for b in bias],
        [word >> 30 & 0xFFFF for word in words],
        [word >> 46 & 63 for word in words],
        [word >> 52 for word in words],
    )


@given(parameters())
def test_row_parameters_are_unpacked_as_packed(row: RowParameters) -> None:
    found = unpack_parameters(pack_parameters(row, slice(None)))
    expected = (row.bias, row.multiplier, row.shift, row.channel)
    assert found == tuple(column.tolist() for column in expected)


@st.composite
def weights(draw: st.DrawFn) -> StreamedWeights:
    rows, k = draw(st.integers(1, 50)), draw(st.integers(1, 40))
    rows8 = draw(st.integers(0, rows))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    limit = np.where(np.arange(rows) < rows8, 119, 7)[:, None]
    codes = rng.integers(-limit, limit + 1, (rows, k)).astype(np.int8)
    return StreamedWeights(codes, rows8, draw(parameters(rows)))


@settings(max_examples=60)
@given(weights(), configurations)
def test_weights_are_unpacked_as_packed(item: StreamedWeights, config: AcceleratorConfig) -> None:
    """Read beat by beat, as the engine does: parameters of a tile, then its digits step by step."""
    data = pack_item(item, config)
    beat, depth = config.beat_bits // 8, config.tile_depth
    rows, k = item.codes.shape
    steps = ceil_div(k, depth)
    found = np.zeros((rows, steps * depth), int)
    columns: tuple[list[int], ...] = ([], [], [], [])
    at = 0
    for tile in row_tiles(rows, item.rows8, config.tile_rows):
        length = round_up(tile.rows * 8, beat)
        for column, values in zip(columns, unpack_parameters(data[at : at + length]), strict=True):
            column += values[: tile.rows]
        at += length
        per_step = round_up(tile.atoms * depth // 2, beat)
        for step in range(steps):
            atoms = unpack_atoms(data[at : at + per_step]).reshape(-1, depth)
            at += per_step
            assert not atoms[tile.atoms :].any()
            wide = 16 * atoms[0 : 2 * tile.rows8 : 2] + atoms[1 : 2 * tile.rows8 : 2]
            here = slice(step * depth, (step + 1) * depth)
            found[tile.first_row : tile.first_row + tile.rows, here] = np.concatenate(
                [wide, atoms[2 * tile.rows8 : tile.atoms]]
            )
    assert at == len(data)
    assert np.array_equal(found[:, :k], item.codes)
    assert not found[:, k:].any()
    expected = (
        item.parameters.bias,
        item.parameters.multiplier,
        item.parameters.shift,
        item.parameters.channel,
    )
    assert columns == tuple(column.tolist() for column in expected)


@given(arrays.arrays(np.int16, st.tuples(st.integers(1, 40), st.integers(1, 20))), configurations)
def test_constants_are_unpacked_as_packed(codes: np.ndarray, config: AcceleratorConfig) -> None:
    data = pack_item(StreamedConstant(codes), config)
    tokens, channels = codes.shape
    lanes = round_up(config.tile_tokens, config.beat_bits // 16)
    words = np.frombuffer(data, "<i2").reshape(-1, channels, lanes)
    found = words[:, :, : config.tile_tokens].transpose(0, 2, 1).reshape(-1, channels)
    assert np.array_equal(found[:tokens], codes)
    assert not found[tokens:].any()
    assert not words[:, :, config.tile_tokens :].any()


@given(arrays.arrays(np.int8, st.integers(1, 300)), configurations)
def test_tables_are_unpacked_as_packed(entries: np.ndarray, config: AcceleratorConfig) -> None:
    data = pack_item(StreamedTable(entries), config)
    assert len(data) % (config.beat_bits // 8) == 0
    assert data[: len(entries)] == entries.tobytes()
    assert not any(data[len(entries) :])


def program(config: AcceleratorConfig, *items: StreamedWeights | StreamedTable) -> Program:
    layers = tuple(Layer(f"layer{i}", Descriptor(Unit.GEMM), (item,)) for i, item in enumerate(items))
    return Program("test", "head", config, layers, (1, 1, 1), 1)


@settings(max_examples=30)
@given(st.lists(weights(), min_size=1, max_size=3), configurations)
def test_words_are_dealt_to_the_ports_in_turn(
    items: list[StreamedWeights], config: AcceleratorConfig
) -> None:
    ports = pack_stream(program(config, *items))
    assert len(ports) == config.weight_ports
    assert len({len(port) for port in ports}) == 1
    words = [port[i : i + WORD_BYTES] for i in range(0, len(ports[0]), WORD_BYTES) for port in ports]
    assert b"".join(words) == b"".join(pack_item(item, config) for item in items)


def test_every_parameter_out_of_range_is_named() -> None:
    columns = {
        "bias": np.array([0, 1 << 29, -(1 << 29) - 1]),
        "multiplier": np.array([-1, 5, 1 << 16]),
        "shift": np.array([1, 0, 51]),
        "channel": np.array([0, 4096, -1]),
    }
    item = StreamedWeights(np.zeros((3, 4), np.int8), 0, RowParameters(**columns))
    with pytest.raises(QvitError) as refused:
        pack_stream(program(configuration((8, 12, 8)), item))
    assert refused.value.problems == (
        "layer0: bias 536870912 of streamed row 1 is outside -536870912..536870911",
        "layer0: bias -536870913 of streamed row 2 is outside -536870912..536870911",
        "layer0: multiplier -1 of streamed row 0 is outside 0..65535",
        "layer0: multiplier 65536 of streamed row 2 is outside 0..65535",
        "layer0: shift 0 of streamed row 1 is outside 1..50",
        "layer0: shift 51 of streamed row 2 is outside 1..50",
        "layer0: output channel 4096 of streamed row 1 is outside 0..4095",
        "layer0: output channel -1 of streamed row 2 is outside 0..4095",
    )
