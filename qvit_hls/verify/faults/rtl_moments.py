"""Faults in the moments that the drain takes for LayerNorm, from what it adds to the residual stream."""

from __future__ import annotations

from qvit_hls.hw.descriptor import Destination
from qvit_hls.verify.faults.rtl_fault import Edit, RtlFault, Shows
from qvit_hls.verify.faults.rtl_loader import conflicting_rows
from qvit_hls.verify.faults.rtl_norm import FROM_DRAIN, moments_from_drain, residual_source
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import every, row_tiles, to, token_tiles

_LAYER_NORM = "rtl/layer_norm.sv"
_DRAIN = "rtl/gemm/gemm_drain.sv"

_HAZARD = frozenset({Shows.UNTRACED})


def _of_several_row_tiles(layer: ProgramLayer, subject: Subject) -> bool:
    source = residual_source(layer, subject)
    return moments_from_drain(layer, subject) and source is not None and row_tiles(2)(source, subject)


def _with_conflicts(layer: ProgramLayer, subject: Subject) -> bool:
    source = residual_source(layer, subject)
    return moments_from_drain(layer, subject) and source is not None and conflicting_rows(source, subject)


def _of_kept_token(layer: ProgramLayer, subject: Subject) -> bool:
    source = residual_source(layer, subject)
    return moments_from_drain(layer, subject) and source is not None and source.words["first_token"] > 0


def _behind_added_scores(layer: ProgramLayer, subject: Subject) -> bool:
    source = residual_source(layer, subject)
    if not moments_from_drain(layer, subject) or source is None:
        return False
    between = subject.layers[source.index : layer.index]
    return any(to(Destination.SCORES_ADD)(other, subject) for other in between)


RTL_MOMENTS_FAULTS = (
    RtlFault(
        "moments-begin-with-every-row-tile",
        "moments from the drain",
        "a token's moments begin anew with every row tile",
        _DRAIN,
        (Edit("last.tile_first", "1'b1", "added_first = last.tile_first"),),
        _of_several_row_tiles,
        f"{FROM_DRAIN}, of several row tiles",
    ),
    RtlFault(
        "moments-of-drain-not-restarted",
        "moments from the drain",
        "a token's moments go on from the layer before",
        _DRAIN,
        (Edit("last.tile_first", "1'b0", "added_first = last.tile_first"),),
        moments_from_drain,
        FROM_DRAIN,
    ),
    RtlFault(
        "moments-to-first-token-tile",
        "moments from the drain",
        "what is added to any token tile counts in the moments of the first",
        _DRAIN,
        (Edit("last.token_tile", "'0", "added_tile = last.token_tile"),),
        every(moments_from_drain, token_tiles),
        f"{FROM_DRAIN}, over several token tiles",
    ),
    RtlFault(
        "moments-end-with-first-group",
        "moments from the drain",
        "of a slot's rows only the first group counts",
        _DRAIN,
        (Edit("last.slot_end", "last.slot_start", "added_end = last.slot_end"),),
        moments_from_drain,
        FROM_DRAIN,
    ),
    RtlFault(
        "moments-of-slot-not-restarted",
        "moments from the drain",
        "a slot's rows count together with those of the slot before",
        _DRAIN,
        (Edit("last.slot_start", "1'b0", "added_start = last.slot_start"),),
        moments_from_drain,
        FROM_DRAIN,
    ),
    RtlFault(
        "row-of-next-cycle-counted",
        "moments from the drain",
        "of rows that share a bank, both count in both of their cycles",
        _DRAIN,
        (Edit("last.emit", "'1", "added_exists = last.emit"),),
        _with_conflicts,
        f"{FROM_DRAIN}, with rows that drain together and go to the same bank",
    ),
    RtlFault(
        "kept-tokens-changed-in-moments",
        "moments from the drain",
        "tokens before the first count as if they had been added to",
        _DRAIN,
        (
            Edit(
                "count_t'(n) < tag[REQUANTIZED+2].first_lane ? 17'sd0 : 17'($signed(value[r][n]))",
                "17'($signed(value[r][n]))",
            ),
        ),
        _of_kept_token,
        f"{FROM_DRAIN}, after a layer that leaves out the class token",
    ),
    RtlFault(
        "drain-and-memory-counted-together",
        "moments from the drain",
        "values read for codes are mixed with those that the drain brings",
        _LAYER_NORM,
        (Edit("!added_valid && (c == 0 || !group[VALUE].partial)", "(c == 0 || !group[VALUE].partial)"),),
        moments_from_drain,
        FROM_DRAIN,
        frozenset({Shows.LAYER, Shows.UNTRACED}),
    ),
    RtlFault(
        "moments-read-too-early",
        "moments from the drain",
        "roots are taken before the last values of a token tile count",
        _LAYER_NORM,
        (Edit("complete_since[COUNTED_ADDED-1]", "complete"),),
        moments_from_drain,
        FROM_DRAIN,
        _HAZARD,
    ),
    RtlFault(
        "moments-read-while-added",
        "moments from the drain",
        "a token's moments are read in the cycle in which another slot is added",
        _LAYER_NORM,
        (Edit("serving && !busy", "serving"),),
        every(moments_from_drain, token_tiles),
        f"{FROM_DRAIN}, over several token tiles",
        _HAZARD,
    ),
    RtlFault(
        "scores-in-moments",
        "moments from the drain",
        "scores that are added to a constant count as additions to the residual stream",
        _DRAIN,
        (Edit("last.destination == TO_WIDE_ADD", "adds_to_wide(last.destination)"),),
        _behind_added_scores,
        f"{FROM_DRAIN} before scores with a constant",
    ),
)
