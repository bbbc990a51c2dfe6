"""Faults in the GEMM loop and the drain: tiles, buffers, recombination of digits, writing results."""

from __future__ import annotations

from qvit_hls.hw.descriptor import Destination, Scaling
from qvit_hls.verify.faults.fault import SourceFault
from qvit_hls.verify.faults.where import (
    every,
    gemm,
    mixed_tile,
    one_digit,
    row_tiles,
    scaled,
    to,
    token_tiles,
    tokens,
    two_digits,
    unit,
    uses_table,
)

_DRAIN = "src/kernels/gemm_drain.hpp"
_GEMM = "src/kernels/gemm.hpp"

_transposed = to(Destination.ACTIVATION_TRANSPOSED)
_by_rows = every(
    gemm,
    to(Destination.ACTIVATION, Destination.DIGIT, Destination.WIDE, Destination.WIDE_ADD, Destination.SCORES),
)

PRODUCT_FAULTS = (
    SourceFault(
        "residual-add-overwrites",
        "residual stream",
        "the residual add forgets what was there",
        _DRAIN,
        (("(memory.wide[address][n] + value);", "(value);"),),
        to(Destination.WIDE_ADD),
        "a residual add",
    ),
    SourceFault(
        "table-index-off",
        "tables",
        "the elementwise table is read one entry too high",
        _DRAIN,
        (("static_cast<int>(value + qmax)]", "static_cast<int>(value + qmax) + 1]"),),
        every(gemm, uses_table),
        "an elementwise function",
    ),
    SourceFault(
        "row-parameter-bank-wrong",
        "row parameters",
        "two banks of row parameters serve instead of four",
        _GEMM,
        (
            (
                "step, buffer.row[draining.tile_index & 3], sum,",
                "step, buffer.row[draining.tile_index & 1], sum,",
            ),
        ),
        every(_by_rows, scaled(Scaling.PER_ROW), row_tiles(3)),
        "a linear layer of three row tiles",
    ),
    SourceFault(
        "weight-half-fixed",
        "row tiles",
        "always the first half of the weight buffer is multiplied",
        _GEMM,
        (("buffer.digit[multiplying.tile_index & 1]", "buffer.digit[0]"),),
        row_tiles(2),
        "a layer of several row tiles",
    ),
    SourceFault(
        "operand-of-other-token-tile",
        "token tiles",
        "the first token tile's operands serve for all",
        _GEMM,
        (("multiplying.token_tile * static_cast<int>(d.x_stride) +", "0 * static_cast<int>(d.x_stride) +"),),
        every(gemm, token_tiles),
        "more tokens than a tile has",
    ),
    SourceFault(
        "operand-mask-off",
        "token tiles",
        "the mask of lanes without a token is one tile too early",
        _GEMM,
        (("multiplying.token_tile * C::T_N + n <", "(multiplying.token_tile + 1) * C::T_N + n <"),),
        gemm,
        "a matrix product",
    ),
    SourceFault(
        "last-token-dropped",
        "token tiles",
        "the last token's result is not written",
        _DRAIN,
        (("token >= static_cast<int>(d.tokens))", "token >= static_cast<int>(d.tokens) - 1)"),),
        _by_rows,
        "a matrix product",
    ),
    SourceFault(
        "class-token-overwritten",
        "token tiles",
        "the class token gets a patch's result",
        _DRAIN,
        (("token < static_cast<int>(d.first_token) || ", ""),),
        every(gemm, lambda layer, subject: layer.words["first_token"] > 0),
        "a class token",
    ),
    SourceFault(
        "sums-of-other-lane",
        "accumulators",
        "neighbouring lanes' sums are exchanged at the hand-over",
        _GEMM,
        (("sum[m][n] = acc[m][n];", "sum[m][n] = acc[m][n ^ 1];"),),
        every(gemm, tokens(2)),
        "a matrix product of several tokens",
    ),
    SourceFault(
        "digit-weight-8",
        "digits",
        "the high digit counts 8 instead of 16",
        _DRAIN,
        (("(16 * first + second)", "(8 * first + second)"),),
        two_digits,
        "rows of two digits",
    ),
    SourceFault(
        "precision-boundary-off",
        "row tiles",
        "the first one-digit row of a tile counts as a two-digit row",
        _DRAIN,
        (("two_digits = row < tile.rows8;", "two_digits = row <= tile.rows8;"),),
        one_digit,
        "rows of one digit",
    ),
    SourceFault(
        "atom-index-off",
        "row tiles",
        "one-digit rows are looked for right behind the first digits",
        _DRAIN,
        (("2 * row : tile.rows8 + row;", "2 * row : row;"),),
        mixed_tile,
        "a row tile of both precisions",
    ),
    SourceFault(
        "row-maximum-not-reset",
        "softmax",
        "the maximum of a row starts from the head before",
        _DRAIN,
        (("first_score || value > before", "value > before"),),
        unit("softmax"),
        "a softmax",
    ),
    SourceFault(
        "transposed-lane-off",
        "transposed writes",
        "transposed results go one lane too far",
        _DRAIN,
        (("valid ? result_token % C::T_N : -1;", "valid ? (result_token + 1) % C::T_N : -1;"),),
        _transposed,
        "attention",
    ),
    SourceFault(
        "transposed-word-lost",
        "transposed writes",
        "all words of a transposed row go to its first",
        _DRAIN,
        (("[(address_of[j] + first_token) / C::T_K]", "[address_of[j] / C::T_K]"),),
        every(_transposed, lambda layer, subject: layer.words["tokens"] > subject.config.tile_depth),
        "attention over more channels or tokens than a step has",
    ),
    SourceFault(
        "transposed-last-token-dropped",
        "transposed writes",
        "the last column of a transposed result is not written",
        _DRAIN,
        (
            (
                "first_token + kk < static_cast<int>(d.tokens))",
                "first_token + kk + 1 < static_cast<int>(d.tokens))",
            ),
        ),
        _transposed,
        "attention",
    ),
    SourceFault(
        "normalizer-of-other-query",
        "softmax",
        "every context row takes the first query's normaliser",
        _DRAIN,
        (("memory.normalizer[copy][index < C::MAX_TOKENS ? index : 0];", "memory.normalizer[copy][0];"),),
        every(scaled(Scaling.RECIPROCAL), row_tiles(1), lambda layer, subject: layer.words["rows"] > 1),
        "attention over several queries",
    ),
)
