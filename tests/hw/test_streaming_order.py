"""The order in which rows are streamed: two digits first, and channels of both parities side by side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import network
from targets import configuration

from qvit_hls.hw.descriptor import Destination
from qvit_hls.hw.gemm_timing import row_tiles
from qvit_hls.hw.program import StreamedWeights
from qvit_hls.hw.schedule import schedule
from qvit_hls.hw.scheduling.linear import in_whole_pairs, streaming_order

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 99)), min_size=1, max_size=80)


@given(rows, st.booleans())
def test_the_order_is_a_permutation_with_two_digit_rows_first(
    found: list[tuple[bool, int]], in_pairs: bool
) -> None:
    two_digits, channels = (np.array(column) for column in zip(*found, strict=True))
    order = streaming_order(two_digits, channels, in_pairs)
    assert sorted(order.tolist()) == list(range(len(found)))
    assert np.all(np.diff(two_digits[order].astype(int)) <= 0)
    for digits in (True, False):
        for parity in (0, 1) if in_pairs else (None,):
            kept = [i for i in order if two_digits[i] == digits and parity in (None, channels[i] % 2)]
            assert kept == sorted(kept)


@given(rows, st.integers(0, 1))
def test_neighbours_differ_in_parity_as_often_as_their_numbers_allow(
    found: list[tuple[bool, int]], start: int
) -> None:
    """Whether pairs begin at an even or at an odd row, which depends on the tile."""
    two_digits, channels = (np.array(column) for column in zip(*found, strict=True))
    parity = (channels % 2)[streaming_order(two_digits, channels, True)]
    first, second = parity[start:-1:2], parity[start + 1 :: 2]
    good = int((first != second).sum())
    possible = 0
    for digits in (True, False):
        odd = channels[two_digits == digits] % 2
        possible += min(int(odd.sum()), int((1 - odd).sum()))
    # Two sections, each of which may lose a pair at its ends to the alignment.
    assert good >= possible - 2 * start - 1


@pytest.mark.parametrize("tile", [(8, 12, 8), (4, 8, 4)])
def test_pairs_of_a_networks_rows_are_of_both_parities(tile: tuple[int, int, int]) -> None:
    pairs = conflicts = 0
    wide = network(
        eight_bit_share=0.5, embed_dim=64, blocks=[{"heads": 4, "head_dim": 16, "mlp_hidden": 128}]
    )
    for layer in schedule(wide, configuration(tile, drain_rows=2)).layers:
        weights = [item for item in layer.stream if isinstance(item, StreamedWeights)]
        for item in weights:
            channel = item.parameters.channel
            if layer.descriptor.destination == Destination.ACTIVATION_TRANSPOSED:
                assert np.array_equal(channel, np.arange(len(channel)))
                continue
            for part in row_tiles(len(channel), item.rows8, tile[1]):
                parity = channel[part.first_row : part.first_row + part.rows] % 2
                pairs += part.rows // 2
                conflicts += int((parity[0:-1:2] == parity[1::2]).sum())
    assert pairs > 200
    assert conflicts <= 0.1 * pairs


def test_pairs_are_never_of_both_kinds() -> None:
    model = network(
        eight_bit_share=0.3, embed_dim=60, blocks=[{"heads": 4, "head_dim": 15, "mlp_hidden": 50}]
    )
    odd = 0
    for layer in schedule(model, configuration((8, 12, 4), drain_rows=2)).layers:
        for item in layer.stream:
            if isinstance(item, StreamedWeights):
                odd += int((np.abs(item.codes[: item.rows8]).max(axis=1) <= 7).any())
                for tile in row_tiles(len(item.codes), item.rows8, 12):
                    assert tile.rows8 % 2 == 0 or tile.rows4 == 0
                    assert tile.first_row % 2 == 0
    assert odd > 0


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_at_most_one_more_row_becomes_two_digits(bits: list[bool]) -> None:
    given_rows = np.array(bits)
    sent = in_whole_pairs(given_rows)
    assert np.all(sent | ~given_rows)
    assert sent.sum() - given_rows.sum() in (0, 1)
    assert sent.sum() % 2 == 0 or sent.all()


def test_rows_that_are_written_one_by_one_keep_their_order() -> None:
    for layer in schedule(network(eight_bit_share=0.5), configuration((8, 12, 8))).layers:
        for item in layer.stream:
            if isinstance(item, StreamedWeights):
                sections = (item.parameters.channel[: item.rows8], item.parameters.channel[item.rows8 :])
                assert all(np.all(np.diff(section) > 0) for section in sections)
