"""Faults in the RTL's LayerNorm: its lanes, its own moments, what it waits for, the memories it shares."""

from __future__ import annotations

from qvit_hls.hw.descriptor import Destination
from qvit_hls.verify.faults.rtl_fault import Edit, RtlFault, Shows
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import either, every, passes, shifted, to, token_tiles, unit

_LAYER_NORM = "rtl/layer_norm.sv"
_LANE = "rtl/layer_norm_lane.sv"
_MOMENTS = "rtl/layer_norm_moments.sv"
_SCALE = "rtl/layer_norm_scale.sv"
_ROOT = "rtl/square_root.sv"
_ENGINE = "rtl/qvit_engine.sv"

_HAZARD = frozenset({Shows.UNTRACED})
FROM_DRAIN = "a LayerNorm whose moments the drain takes"
#: Steps from the first token tile to the last with which layers that follow token tile by token tile overlap.
_APART = 48
_SHIFTED = "a LayerNorm with shifts"
_PASSES = "an operand from the residual stream"
_layer_norm = unit("layer_norm")
_adds = to(Destination.WIDE_ADD)


def moments_from_drain(layer: ProgramLayer, subject: Subject) -> bool:
    """A LayerNorm whose moments the drain takes."""
    return _layer_norm(layer, subject) and layer.words["rows"] > 0


def _takes_moments(layer: ProgramLayer, subject: Subject) -> bool:
    return _layer_norm(layer, subject) and layer.words["rows"] == 0


def residual_source(layer: ProgramLayer, subject: Subject) -> ProgramLayer | None:
    """The matrix product that was the last to add to the LayerNorm's source."""
    added = [other for other in subject.layers[: layer.index] if _adds(other, subject)]
    return added[-1] if added else None


def _long_source(layer: ProgramLayer, subject: Subject) -> bool:
    # The drain is still adding to the last token tiles when the first one's codes are made.
    source = residual_source(layer, subject)
    long = source is not None and _between_tiles(layer, subject) * source.words["k_steps"] >= _APART
    return moments_from_drain(layer, subject) and long


def _long_passes(layer: ProgramLayer, subject: Subject) -> bool:
    # Codes of the last token tiles are still being made when results of the first one are written.
    steps = -(-layer.words["k"] // subject.config.drain_rows)
    return _layer_norm(layer, subject) and _between_tiles(layer, subject) * steps >= _APART


def _between_tiles(layer: ProgramLayer, subject: Subject) -> int:
    return (layer.words["tokens"] - 1) // subject.config.tile_tokens


def _two_channels(layer: ProgramLayer, subject: Subject) -> bool:
    return subject.config.drain_rows == 2


def _half_words(layer: ProgramLayer, subject: Subject) -> bool:
    # A word's channels are in more banks than a step writes.
    return subject.config.tile_depth > subject.config.drain_rows


def _after_shifts(layer: ProgramLayer, subject: Subject) -> bool:
    # A LayerNorm without shifts, while the table holds an earlier one's.
    plain = _layer_norm(layer, subject) and not shifted(layer, subject)
    return plain and any(shifted(other, subject) for other in subject.layers[: layer.index])


RTL_NORM_FAULTS = (
    RtlFault(
        "root-never-restored",
        "square root",
        "a negative remainder is not added to but subtracted from again",
        _ROOT,
        (Edit("~rest[i][REST-1]", "1'b1"),),
        _layer_norm,
        "a LayerNorm",
    ),
    RtlFault(
        "norm-sum-not-restarted",
        "LayerNorm",
        "the sum of a token's channels goes on from the channels before",
        _LANE,
        (Edit("first[1]", "1'b0", "(first[1] ? '0 : sum)"),),
        _layer_norm,
        "a LayerNorm",
    ),
    RtlFault(
        "norm-scaling-not-awaited",
        "LayerNorm",
        "codes are made before their scaling is there",
        _LAYER_NORM,
        (Edit("scaled || hand_over", "1'b1", "normalize ? scaled || hand_over :"),),
        _layer_norm,
        "a LayerNorm",
    ),
    RtlFault(
        "norm-offset-sign",
        "LayerNorm",
        "the mean is added, not subtracted",
        _SCALE,
        (Edit("-waiting[WAIT-1]", "waiting[WAIT-1]"),),
        _layer_norm,
        "a LayerNorm",
    ),
    RtlFault(
        "stream-operand-centred",
        "LayerNorm",
        "the sum of what passes as it is counts",
        _LAYER_NORM,
        (Edit("passes ? '0 : token_sum", "token_sum"),),
        passes,
        _PASSES,
    ),
    RtlFault(
        "stream-operand-normalized",
        "LayerNorm",
        "the squares of what passes as it is count",
        _LAYER_NORM,
        (Edit("passes ? '0 : token_squares", "token_squares"),),
        passes,
        _PASSES,
    ),
    RtlFault(
        "stream-operand-weighted",
        "LayerNorm",
        "what passes as it is counts for as much as all channels",
        _LAYER_NORM,
        (Edit("passes ? CHANNEL_BITS'(1) : CHANNEL_BITS'(d.k)", "CHANNEL_BITS'(d.k)"),),
        passes,
        _PASSES,
    ),
    RtlFault(
        "norm-shifts-ignored",
        "LayerNorm",
        "no channel is scaled by its power of two",
        _LANE,
        (Edit("6'(shift[c])", "6'd0"),),
        shifted,
        _SHIFTED,
    ),
    RtlFault(
        "norm-shifts-of-neighbours",
        "LayerNorm",
        "channels take the shifts of those that come a step later",
        _LAYER_NORM,
        (Edit("shift_at[SHIFT]", "shift_at[SHIFT-1]", ".shift(shift_at[SHIFT])"),),
        shifted,
        _SHIFTED,
    ),
    RtlFault(
        "norm-shifts-kept",
        "LayerNorm",
        "a LayerNorm without shifts takes those of the one before",
        _LAYER_NORM,
        (Edit("d.table_entries != '0", "1'b1", "d.table_entries != '0 ? shift : '0"),),
        _after_shifts,
        "a LayerNorm without shifts after one with shifts",
    ),
    RtlFault(
        "norm-moments-not-awaited",
        "LayerNorm",
        "roots are taken before the moments that the unit takes itself are there",
        _LAYER_NORM,
        (Edit("(own ? moments_tile : tiles_ready) > next_tile", "1'b1"),),
        _takes_moments,
        "a LayerNorm that takes its moments itself",
    ),
    RtlFault(
        "norm-moments-not-restarted",
        "LayerNorm",
        "the sums of squares go on from the LayerNorm before",
        _MOMENTS,
        (Edit("squares_restart", "1'b0", "(squares_restart ? '0 : old_squares[n])"),),
        _layer_norm,
        "a LayerNorm",
    ),
    RtlFault(
        "norm-moments-of-one-tile",
        "LayerNorm",
        "all token tiles share a place for their sums",
        _MOMENTS,
        (Edit("sum_tile", "'0", "sums[sum_tile] <= new_sum"),),
        every(_layer_norm, token_tiles),
        "a LayerNorm over several token tiles",
    ),
    RtlFault(
        "norm-sums-not-restarted",
        "LayerNorm",
        "a token's sum goes on from the LayerNorm before",
        _MOMENTS,
        (Edit("sum_restart", "1'b0", "(sum_restart ? '0 : old_sum[n])"),),
        _layer_norm,
        "a LayerNorm",
    ),
    RtlFault(
        "norm-tile-awaited-one-early",
        "dependencies",
        "LayerNorm takes a token tile's moments when the tile before is complete",
        _LAYER_NORM,
        (
            Edit(
                "(own ? moments_tile : tiles_ready) > next_tile",
                "(own ? moments_tile : tiles_ready) >= next_tile",
            ),
        ),
        either(_long_source, _takes_moments),
        "a LayerNorm that takes its moments itself, or whose source takes long per token tile",
        frozenset({Shows.LAYER, Shows.UNTRACED}),
    ),
    RtlFault(
        "norm-tile-complete-too-early",
        "dependencies",
        "a token tile of codes counts as written when its first are being made",
        _LAYER_NORM,
        (Edit("start ? '0 : coded", "start ? '0 : coded + 1'b1"),),
        _layer_norm,
        "a LayerNorm",
        _HAZARD,
    ),
    RtlFault(
        "norm-reads-while-drain-reads",
        "sharing of memories",
        "LayerNorm takes a step while the drain reads the residual stream",
        _ENGINE,
        (Edit("!drain_wide_read", "1'b1", "norm_advance = !drain_wide_read;"),),
        _long_source,
        f"{FROM_DRAIN}, of a source that takes long per token tile",
        _HAZARD,
    ),
    RtlFault(
        "norm-writes-while-drain-writes",
        "sharing of memories",
        "LayerNorm takes a step whose codes meet the drain's in a bank",
        _ENGINE,
        (Edit("activation_write_at_norm[b]", "1'b0", "if (activation_write_at_norm[b]"),),
        _long_passes,
        "a LayerNorm that takes long per token tile",
        _HAZARD,
    ),
    RtlFault(
        "norm-keeps-out-of-other-banks",
        "sharing of memories",
        "LayerNorm waits where the drain writes the other banks",
        _ENGINE,
        (
            Edit(
                "b / R == 32'(norm_read[WORD_SHIFT-1:0]) % CODE_BANKS / R",
                "b / R != 32'(norm_read[WORD_SHIFT-1:0]) % CODE_BANKS / R",
            ),
        ),
        every(_long_passes, _half_words),
        "a LayerNorm that takes long per token tile and writes some of a word's banks",
        _HAZARD,
    ),
    RtlFault(
        "norm-codes-in-all-banks",
        "banks",
        "LayerNorm's codes are written to the banks of other channels too",
        _ENGINE,
        (Edit("32'(norm_address[WORD_SHIFT-1:0]) % CODE_BANKS / R == b / R", "1'b1"),),
        every(_layer_norm, _half_words),
        "a LayerNorm that writes some of a word's banks",
    ),
    RtlFault(
        "second-norm-code-lost",
        "banks",
        "of two of LayerNorm's codes, both banks get the first",
        _ENGINE,
        (Edit("norm_data[b%R][n]", "norm_data[0][n]"),),
        every(_layer_norm, _two_channels),
        "a LayerNorm of two channels per cycle",
    ),
)
