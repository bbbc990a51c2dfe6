"""The chosen accelerator fits the board; tiles and accelerator files are checked."""

from __future__ import annotations

import json

import pytest
from models import CONFIG, compiled, network

from qvit_hls.errors import QvitError
from qvit_hls.hw.accelerator import CASCADE, parse_accelerator
from qvit_hls.hw.board import Board, load_board
from qvit_hls.hw.cycles import estimate
from qvit_hls.hw.explore.choose import choose_accelerator
from qvit_hls.hw.explore.cost import costs, limits

ZCU102 = load_board("zcu102")


@pytest.mark.parametrize("bits", sorted(CASCADE))
def test_the_chosen_accelerator_fits_the_board(bits: int) -> None:
    program = choose_accelerator(network(activation_bits=bits), ZCU102)
    config = program.config
    assert config.activation_bits == bits
    assert (costs(config.model_dump()) <= limits(ZCU102)).all()
    assert config.weight_ports <= ZCU102.weight_ports
    assert 0 < estimate(program, ZCU102, 200).share_of_ideal <= 1


def smaller_board(**resources: float) -> Board:
    return Board.model_validate({**ZCU102.model_dump(), "name": "small", **resources})


def test_a_smaller_board_gets_a_smaller_accelerator() -> None:
    board = smaller_board(dsp=400, lut=70_000, weight_ports=1)
    config = choose_accelerator(compiled(), board).config
    assert (costs(config.model_dump()) <= limits(board)).all()
    assert config.weight_ports == 1


def test_without_dsps_to_spare_lanes_are_built_of_luts() -> None:
    config = choose_accelerator(compiled(), smaller_board(dsp=200)).config
    assert config.tile_rows - config.dsp_rows > 0


def test_an_rtl_engine_drains_two_rows_at_a_time_where_tiles_hold_whole_pairs() -> None:
    chosen = choose_accelerator(compiled(), ZCU102, mac="rtl").config
    assert (chosen.mac, chosen.drain_rows, chosen.tile_rows % 4) == ("rtl", 2, 0)
    assert choose_accelerator(compiled(), ZCU102, (8, 12, 8), mac="rtl").config.drain_rows == 2
    assert choose_accelerator(compiled(), ZCU102, (8, 10, 8), mac="rtl").config.drain_rows == 1
    assert choose_accelerator(compiled(), ZCU102, (8, 12, 8)).config.drain_rows == 1


def test_a_smaller_accelerator_is_preferred_to_one_that_is_hardly_faster() -> None:
    """A network of ten tokens and narrow layers cannot use all of the board's lanes."""
    chosen = choose_accelerator(compiled(), ZCU102)
    all_lanes = int(ZCU102.usable * ZCU102.dsp) * 4
    assert chosen.config.lanes < all_lanes / 2


def test_a_model_that_does_not_fit_is_refused() -> None:
    board = smaller_board(bram36=1)
    wide = network(embed_dim=500, blocks=[{**CONFIG.blocks[0].model_dump(), "mlp_hidden": 1000}])
    wanted = (
        r"^no accelerator for small fits small: the one that comes closest takes \d+ block RAMs of 0 that a "
        r"design may use \(90% of the board\); enough would be a board with \d+ block RAMs, such as kv260 "
        r"or zcu102 or zcu104$"
    )
    with pytest.raises(QvitError, match=wanted):
        choose_accelerator(wide, board)


@pytest.mark.parametrize(
    ("tile", "problem"),
    [
        ((8, 12, 3), "tile_depth is 3; it is a power of two from 2 to 32"),
        (
            (10, 8, 4),
            "tile_tokens is 10; it is a multiple of tile_depth (4), so that transposed results are written "
            "as whole words",
        ),
        ((8, 11, 8), "tile_tokens 8 and tile_rows 11 must both be even"),
        ((1, 16, 2), "tile_tokens: Input should be greater than or equal to 2"),
    ],
)
def test_a_tile_that_cannot_be_built_is_refused(tile: tuple[int, int, int], problem: str) -> None:
    with pytest.raises(QvitError) as refused:
        choose_accelerator(compiled(), ZCU102, tile)
    (message,) = refused.value.problems
    assert message == f"tile {tile[0]},{tile[1]},{tile[2]} cannot be built: {problem}"


def test_a_tile_larger_than_the_board_is_refused() -> None:
    wanted = (
        r"^tile 128,64,16 does not fit zcu102: it takes about [\d,]{9} LUTs of 274,080; about [\d,]{9} flip"
    )
    with pytest.raises(QvitError, match=wanted):
        choose_accelerator(compiled(), ZCU102, (128, 64, 16))


def test_an_accelerator_survives_its_file() -> None:
    config = choose_accelerator(compiled(), ZCU102, (8, 12, 8)).config
    assert parse_accelerator(config.model_dump_json(), "accelerator.json") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{",
            "a.json is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        ("[]", "a.json: accelerator: Input should be a valid dictionary or instance of AcceleratorConfig"),
    ],
)
def test_a_damaged_accelerator_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(QvitError) as refused:
        parse_accelerator(text, "a.json")
    assert refused.value.problems == (message,)


def test_every_wrong_field_of_an_accelerator_file_is_named() -> None:
    config = choose_accelerator(compiled(), ZCU102, (8, 12, 8)).config
    fields = {**config.model_dump(mode="json"), "tile_rows": 0, "luts": 3}
    del fields["softmax"]
    with pytest.raises(QvitError) as refused:
        parse_accelerator(json.dumps(fields), "a.json")
    assert refused.value.problems == (
        "a.json: tile_rows: Input should be greater than or equal to 2",
        "a.json: softmax: Field required",
        "a.json: luts: Extra inputs are not permitted",
    )
