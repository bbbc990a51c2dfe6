"""Faults in the RTL's drain and memories: from sums to stored results, and what counts as complete."""

from __future__ import annotations

from qvit_hls.hw.descriptor import Destination, Scaling
from qvit_hls.verify.faults.rtl_fault import Edit, RtlFault, Shows
from qvit_hls.verify.faults.rtl_loader import conflicting_rows
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import (
    adds,
    either,
    every,
    gemm,
    one_digit,
    requantizes,
    row_tiles,
    saturates_low,
    scaled,
    scores,
    to,
    two_digits,
    unit,
)

_DRAIN = "rtl/gemm/gemm_drain.sv"
_TRANSPOSER = "rtl/gemm/gemm_transposer.sv"
_ROUND_SHIFT = "rtl/round_shift.sv"
_RAM = "rtl/memory/ram.sv"

_HAZARD = frozenset({Shows.UNTRACED})
_transposed = to(Destination.ACTIVATION_TRANSPOSED)
_codes = to(Destination.ACTIVATION, Destination.DIGIT)


def _two_rows(layer: ProgramLayer, subject: Subject) -> bool:
    return subject.config.drain_rows == 2


def _tile_within_block(layer: ProgramLayer, subject: Subject) -> bool:
    config = subject.config
    block = config.drain_rows * config.transposed_rows
    return _transposed(layer, subject) and any(tile.first_row % block for tile in layer.tiles(config))


def _several_words(layer: ProgramLayer, subject: Subject) -> bool:
    config = subject.config
    several = config.tile_tokens > config.tile_depth and layer.words["tokens"] > config.tile_depth
    return _transposed(layer, subject) and several


def _table(layer: ProgramLayer, subject: Subject) -> bool:
    return gemm(layer, subject) and layer.words["table_entries"] > 0


RTL_DRAIN_FAULTS = (
    RtlFault(
        "high-digit-too-light",
        "recombination",
        "the high digit counts 8, not 16",
        _DRAIN,
        (Edit("(high <<< 4)", "(high <<< 3)"),),
        two_digits,
        "rows of two digits",
    ),
    RtlFault(
        "one-digit-rows-exchanged",
        "recombination",
        "of the one-digit rows that could be drained, those before are",
        _DRAIN,
        (Edit("atom[BANK_SHIFT]", "1'b0", "atom[BANK_SHIFT] ? chosen[R+r]"),),
        one_digit,
        "rows of one digit",
    ),
    RtlFault(
        "bias-missing",
        "requantization",
        "the bias is not added",
        _DRAIN,
        (Edit("ACCUMULATOR_BITS'(bias2[r])", "ACCUMULATOR_BITS'(0)"),),
        scaled(Scaling.PER_ROW),
        "a matrix product with row parameters",
    ),
    RtlFault(
        "rounds-down",
        "requantization",
        "results are rounded down instead of half up",
        _ROUND_SHIFT,
        (Edit("window_q[0]", "1'b0", "saturated ? sign_q : window_q[0]"),),
        requantizes,
        "a requantization",
    ),
    RtlFault(
        "lower-bound-off",
        "requantization",
        "results below -qmax become -qmax - 1",
        _ROUND_SHIFT,
        (Edit("sign_q", "1'b0", "saturated ? sign_q : window_q[0]"),),
        saturates_low,
        "a result that is clamped to -qmax",
    ),
    RtlFault(
        "table-entry-off",
        "tables",
        "a code's entry is looked up without its offset",
        _DRAIN,
        (
            Edit(
                "requantized[r][n] + tag[REQUANTIZED].qmax",
                "requantized[r][n]",
            ),
        ),
        _table,
        "an elementwise table",
    ),
    RtlFault(
        "residual-forgotten",
        "residual stream",
        "a result replaces the old value instead of being added to it",
        _DRAIN,
        (Edit("$signed(old_value[r][n])", "16'sd0"),),
        adds,
        "a matrix product that adds to the residual stream",
    ),
    RtlFault(
        "residual-of-other-bank",
        "residual stream",
        "the old value is taken from the first bank always",
        _DRAIN,
        (Edit("tag[REQUANTIZED+2].address[r][0]", "1'b0"),),
        every(adds, _two_rows),
        "a matrix product that adds to the residual stream, two rows per cycle",
    ),
    RtlFault(
        "bank-conflict-ignored",
        "banks",
        "two rows of one bank are drained in the same cycle",
        _DRAIN,
        (Edit("channel[0][0] == channel[R-1][0]", "1'b0"),),
        conflicting_rows,
        "rows that drain together and go to the same bank",
    ),
    RtlFault(
        "block-rows-of-other-tile-written",
        "transposed writes",
        "rows of a block that belong to the row tile before are written too",
        _TRANSPOSER,
        (Edit("full_exists[n%BLOCK_ROWS]", "1'b1"),),
        _tile_within_block,
        "a transposed result with a row tile that starts within a block",
    ),
    RtlFault(
        "block-word-stays",
        "transposed writes",
        "all words of a block's row go to the first",
        _TRANSPOSER,
        (Edit("leaving_address <= leaving_address + ADDRESS_BITS'(T_K);", ""),),
        _several_words,
        "a transposed result of several words per token tile",
    ),
    RtlFault(
        "buffers-do-not-take-turns",
        "transposed writes",
        "a block leaves the transposer from the buffer that the next one enters",
        _TRANSPOSER,
        (Edit("buffer[!filling]", "buffer[filling]"),),
        _transposed,
        "attention",
    ),
    RtlFault(
        "row-written-to-both-code-banks",
        "banks",
        "a row of codes is written to the banks of other channels too",
        _DRAIN,
        (Edit("mine != '0", "last.emit != '0", "(to_code && mine != '0)"),),
        _codes,
        "a matrix product that writes codes",
    ),
    RtlFault(
        "second-row-of-codes-lost",
        "banks",
        "of two rows of codes, both banks get the first",
        _DRAIN,
        (Edit("mine[0] ? codes[0] : codes[R-1]", "codes[0]"),),
        every(_codes, _two_rows),
        "a matrix product that writes codes, two rows per cycle",
    ),
    RtlFault(
        "second-row-of-wide-values-lost",
        "banks",
        "of two rows of wide values, both banks get the first",
        _DRAIN,
        (Edit("mine[0] ? result[0] : result[R-1]", "result[0]"),),
        every(either(to(Destination.WIDE), adds, scores), _two_rows),
        "a matrix product that writes wide values, two rows per cycle",
    ),
    RtlFault(
        "layer-complete-too-early",
        "completion",
        "a layer counts as complete when its last rows enter the drain",
        _DRAIN,
        (
            Edit(
                "(last.slot_end && last.layer_end && !late)",
                "(tag[1].slot_end && tag[1].layer_end && tag[1].destination != TO_ACTIVATION_TRANSPOSED)",
            ),
        ),
        either(gemm, unit("layer_norm", "softmax", "mean_tokens", "store_result")),
        "a matrix product",
        frozenset({Shows.UNTRACED, Shows.LAYER}),
    ),
    RtlFault(
        "token-tile-complete-too-early",
        "completion",
        "a token tile counts as written when its last rows enter the drain",
        _DRAIN,
        (
            Edit(
                "(last.slot_end && last.tile_last && !late)",
                "(tag[1].slot_end && tag[1].tile_last)",
            ),
        ),
        row_tiles(1),
        "a matrix product",
        _HAZARD,
    ),
    RtlFault(
        "row-tile-completes-token-tile",
        "completion",
        "a token tile counts as written after any of its row tiles",
        _DRAIN,
        (Edit("(last.slot_end && last.tile_last && !late)", "(last.slot_end && !late)"),),
        row_tiles(2),
        "several row tiles",
        _HAZARD,
    ),
    RtlFault(
        "write-lanes-ignored",
        "memories",
        "a write goes to all lanes",
        _RAM,
        (Edit("write_lanes[lane]", "1'b1", "if (write_lanes[lane])"),),
        either(gemm, unit("load_image")),
        "a matrix product",
    ),
    RtlFault(
        "read-register-skipped",
        "memories",
        "data follow the address after one cycle, not two",
        _RAM,
        (Edit("word", "content[read_address]", "read_data <= word;"),),
        either(gemm, unit("load_image")),
        "a matrix product",
    ),
)
