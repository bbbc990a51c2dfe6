"""Faults in the RTL's softmax: exponents and sums, row maxima and normalisers and their two banks."""

from __future__ import annotations

from qvit_hls.hw.descriptor import Scaling
from qvit_hls.verify.faults.rtl_fault import Edit, RtlFault, Shows
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import (
    either,
    every,
    of_added_scores,
    row_tiles,
    scaled,
    scores,
    token_tiles,
    unit,
)

_SOFTMAX = "rtl/softmax.sv"
_DRAIN = "rtl/gemm/gemm_drain.sv"
_ENGINE = "rtl/qvit_engine.sv"

_HAZARD = frozenset({Shows.UNTRACED})
_softmax = unit("softmax")
_context = scaled(Scaling.RECIPROCAL)


def _two_rows(layer: ProgramLayer, subject: Subject) -> bool:
    return subject.config.drain_rows == 2


def _absent_key(layer: ProgramLayer, subject: Subject) -> bool:
    return layer.words["k"] % subject.config.drain_rows > 0


def _fewer_groups_than_lanes(layer: ProgramLayer, subject: Subject) -> bool:
    config = subject.config
    return token_tiles(layer, subject) and -(-layer.words["k"] // config.drain_rows) < config.tile_tokens


def _overtakes_scores(layer: ProgramLayer, subject: Subject) -> bool:
    # Only where all row tiles take turns do a token tile's last scores come long after the tile's before.
    if not (_softmax(layer, subject) and token_tiles(layer, subject)):
        return False
    product, config = subject.layers[layer.index - 1], subject.config
    tiles = len(product.tiles(config))
    steps = tiles * product.words["k_steps"]
    groups = -(-layer.words["k"] // config.drain_rows)
    return 2 <= tiles <= 3 and groups < steps <= config.weight_depth


def _half_words(layer: ProgramLayer, subject: Subject) -> bool:
    # A word's channels are in more banks than a step writes.
    config = subject.config
    return config.tile_depth > config.drain_rows


def _context_after_softmax(layer: ProgramLayer, subject: Subject) -> bool:
    return _context(layer, subject) and sum(other.unit == "softmax" for other in subject.layers) > 1


RTL_SOFTMAX_FAULTS = (
    RtlFault(
        "exponent-sum-not-restarted",
        "softmax",
        "the sum of exponents goes on from the token tile before",
        _SOFTMAX,
        (Edit("first_at[EXPONENT]", "1'b0", "(first_at[EXPONENT] ? '0 : sum[n])"),),
        _context,
        "a softmax",
    ),
    RtlFault(
        "exponent-sum-taken-too-early",
        "softmax",
        "the sum of exponents is taken before its last one",
        _SOFTMAX,
        (
            Edit(
                "step_at[SUM] && last_at[SUM]",
                "step_at[EXPONENT] && last_at[EXPONENT]",
                "if (step_at[SUM] && last_at[SUM]) taken[n] <= sum[n];",
            ),
        ),
        _context,
        "a softmax",
    ),
    RtlFault(
        "maximum-of-next-tile",
        "softmax",
        "the last scores of a token tile are compared with the next tile's maximum",
        _SOFTMAX,
        (Edit("tile_at[SCORE]", "tile", "maximum_tile = tile_at[SCORE]"),),
        every(_softmax, token_tiles),
        "a softmax over several token tiles",
    ),
    RtlFault(
        "normalizer-of-other-query",
        "softmax",
        "every context row of a tile takes the first one's normaliser",
        _DRAIN,
        (
            Edit(
                "slot.tile.first_row + count_t'(row) + count_t'(r)",
                "slot.tile.first_row",
            ),
        ),
        _context,
        "attention",
    ),
    RtlFault(
        "row-maximum-not-reset",
        "softmax",
        "the largest score of a token starts from the head before",
        _DRAIN,
        (Edit("last.tile_first && last.slot_start", "1'b0"),),
        _softmax,
        "a softmax",
    ),
    RtlFault(
        "second-score-not-compared",
        "softmax",
        "of two scores per cycle, the second does not count as the largest",
        _DRAIN,
        (
            Edit(
                "last.emit[R-1] && second_value > with_first",
                "1'b0",
            ),
        ),
        every(_softmax, _two_rows),
        "a softmax, two rows per cycle",
    ),
    RtlFault(
        "maximum-of-last-row-tile",
        "softmax",
        "the largest score of a token begins anew with every row tile",
        _DRAIN,
        (Edit("last.tile_first && last.slot_start", "last.slot_start"),),
        lambda layer, subject: (
            _softmax(layer, subject)
            and any(scores(other, subject) and row_tiles(2)(other, subject) for other in subject.layers)
        ),
        "scores of several row tiles",
    ),
    RtlFault(
        "absent-key-counted",
        "softmax",
        "a step's second key counts in the sum though there is none",
        _SOFTMAX,
        (Edit("keys_left > qvit_pkg::COUNT_BITS'(i)", "1'b1"),),
        every(_context, _absent_key),
        "a number of keys that is not a multiple of the keys per cycle",
    ),
    RtlFault(
        "sums-overtaken",
        "softmax",
        "a token tile's sums are taken while those of the tile before are still being divided",
        _SOFTMAX,
        (Edit("last && pause != '0", "1'b0"),),
        lambda layer, subject: (
            _context(layer, subject)
            and any(
                _softmax(other, subject) and _fewer_groups_than_lanes(other, subject)
                for other in subject.layers
            )
        ),
        "several token tiles of fewer steps than lanes",
    ),
    RtlFault(
        "softmax-tile-not-awaited",
        "dependencies",
        "softmax begins a token tile whether its scores are complete or not",
        _SOFTMAX,
        (Edit("tiles_ready > qvit_pkg::COUNT_BITS'(tile)", "1'b1"),),
        _overtakes_scores,
        "scores that take longer per token tile than softmax",
        _HAZARD,
    ),
    RtlFault(
        "softmax-tile-awaited-one-early",
        "dependencies",
        "softmax begins a token tile when the scores of the tile before are complete",
        _SOFTMAX,
        (
            Edit(
                "tiles_ready > qvit_pkg::COUNT_BITS'(tile)",
                "tiles_ready >= qvit_pkg::COUNT_BITS'(tile)",
            ),
        ),
        _overtakes_scores,
        "scores that take longer per token tile than softmax",
        _HAZARD,
    ),
    RtlFault(
        "exponents-in-all-banks",
        "banks",
        "exponents are written to the banks of other keys too",
        _ENGINE,
        (Edit("32'(softmax_address[WORD_SHIFT-1:0]) % CODE_BANKS / R == b / R", "1'b1"),),
        every(_softmax, _half_words),
        "a softmax that writes some of a word's banks",
    ),
    RtlFault(
        "second-exponent-lost",
        "banks",
        "of two exponents, both banks get the first",
        _ENGINE,
        (Edit("softmax_data[b%R][n]", "softmax_data[0][n]"),),
        every(_softmax, _two_rows),
        "a softmax of two keys per cycle",
    ),
    RtlFault(
        "added-scores-not-tracked",
        "softmax",
        "scores that are added to a constant do not count for the largest",
        _DRAIN,
        (
            Edit(
                "is_scores(last.destination)",
                "last.destination == TO_SCORES",
                "is_scores(last.destination) && |last",
            ),
        ),
        of_added_scores,
        "scores with a constant",
    ),
    RtlFault(
        "softmax-reads-while-drain-reads",
        "sharing of memories",
        "softmax takes a step while the drain reads the constant of other scores",
        _ENGINE,
        (Edit("!drain_wide_read", "1'b1", "softmax_advance = !drain_wide_read"),),
        every(of_added_scores, _overtakes_scores),
        "scores with a constant that take longer per token tile than softmax",
        _HAZARD,
    ),
    RtlFault(
        "score-bank-stays",
        "banks of maxima and normalisers",
        "the drain keeps every head's maxima in the first bank",
        _DRAIN,
        (Edit("score_bank <= !score_bank;", ""),),
        _softmax,
        "a softmax",
    ),
    RtlFault(
        "maximum-bank-stays",
        "banks of maxima and normalisers",
        "softmax takes every head's maxima from the first bank",
        _DRAIN,
        (Edit("softmax_bank", "1'b0", "maximum = content[{softmax_bank"),),
        _softmax,
        "a softmax",
    ),
    RtlFault(
        "score-bank-switched-too-early",
        "banks of maxima and normalisers",
        "the drain goes to the other bank of maxima with every token tile",
        _DRAIN,
        (
            Edit(
                "last.slot_end && last.layer_end",
                "last.slot_end",
                "last.slot_end && last.layer_end) score_bank",
            ),
        ),
        every(_softmax, token_tiles),
        "a softmax over several token tiles",
    ),
    RtlFault(
        "normalizer-bank-stays",
        "banks of maxima and normalisers",
        "softmax keeps every head's normalisers in the first bank",
        _DRAIN,
        (Edit("softmax_bank", "1'b0", "content[{softmax_bank, normalizer_token"),),
        _context_after_softmax,
        "several heads",
    ),
    RtlFault(
        "context-bank-stays",
        "banks of maxima and normalisers",
        "the drain takes every head's normalisers from the first bank",
        _DRAIN,
        (Edit("context_bank <= !context_bank;", ""),),
        _context_after_softmax,
        "several heads",
    ),
    RtlFault(
        "softmax-bank-stays",
        "banks of maxima and normalisers",
        "softmax uses the first bank for every head, of maxima and of normalisers",
        _ENGINE,
        (Edit("softmax_bank <= !softmax_bank;", ""),),
        either(_softmax, _context_after_softmax),
        "a softmax",
    ),
    RtlFault(
        "normalizers-in-one-bank",
        "banks of maxima and normalisers",
        "all heads share a bank of normalisers",
        _DRAIN,
        (
            Edit("softmax_bank", "1'b0", "content[{softmax_bank, normalizer_token"),
            Edit("context_bank", "1'b0", "content[{context_bank"),
        ),
        _context_after_softmax,
        "several heads",
    ),
)
