"""Faults in what layers wait for and the order of GEMMs: program, and the sequencer's slots and groups."""

from __future__ import annotations

from qvit_hls.hw.descriptor import After, Destination, DigitSource, Scaling
from qvit_hls.verify.faults.rtl_fault import Edit, RtlFault, Shows
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import digits_from, every, gemm, row_tiles, scaled, scores, to, token_tiles

_SEQUENCER = "rtl/gemm/gemm_sequencer.sv"
_LOADER = "rtl/gemm/gemm_loader.sv"
_PACKAGE = "rtl/qvit_pkg.sv"
_PROGRAM = "rtl/program_reader.sv"
_ENGINE = "rtl/qvit_engine.sv"

_HAZARD = frozenset({Shows.UNTRACED})
_CONFUSED = frozenset({Shows.LAYER, Shows.HANG})
_BY_TOKEN_TILE = "a matrix product that follows another layer token tile by token tile"


def any_layer(layer: ProgramLayer, subject: Subject) -> bool:
    """Every layer."""
    return True


def _after(layer: ProgramLayer) -> After:
    return After.of_word(layer.words["after"])


def _by_token_tile(layer: ProgramLayer, subject: Subject) -> bool:
    after = _after(layer)
    return gemm(layer, subject) and (after.gemm_by_tile or after.vector_by_tile)


def _overtakes_norm(layer: ProgramLayer, subject: Subject) -> bool:
    # Row tiles that take turns leave LayerNorm the time that it needs for a token tile.
    by_norm = _after(layer).vector_by_tile and token_tiles(layer, subject)
    return by_norm and 2 * layer.words["k_steps"] > subject.config.weight_depth


def _behind_context(layer: ProgramLayer, subject: Subject) -> bool:
    # While this softmax waits for its scores, the context before them is drained.
    before = subject.layers[layer.index - 2]
    return (
        layer.unit == "softmax" and _after(layer).gemm_by_tile and scaled(Scaling.RECIPROCAL)(before, subject)
    )


def _class_token(layer: ProgramLayer, subject: Subject) -> bool:
    return gemm(layer, subject) and layer.words["first_token"] > 0


def _group_overflows_buffer(layer: ProgramLayer, subject: Subject) -> bool:
    # Three row tiles take turns, and the weight buffer does not hold them.
    config = subject.config
    return row_tiles(3)(layer, subject) and 3 * layer.words["k_steps"] > 2 * config.weight_depth


def _completes_with_transposed(layer: ProgramLayer, subject: Subject) -> bool:
    # Neither writes where the other does in the programs that there are, so only this shows: both are
    # complete in the same cycle, and one of them is not counted.
    if not to(Destination.ACTIVATION_TRANSPOSED)(layer, subject):
        return False
    following, config = subject.layers[layer.index + 1], subject.config
    one_slot = gemm(following, subject) and len(following.tiles(config)) == 1
    drain = -(-following.words["rows"] // config.drain_rows)
    late = config.tile_tokens // config.tile_depth + 1
    return (
        one_slot
        and scores(following, subject)
        and following.words["tokens"] <= config.tile_tokens
        and drain == late
    )


RTL_CONTROL_FAULTS = (
    RtlFault(
        "operands-not-awaited",
        "dependencies",
        "a matrix product begins before those layers are complete whose results it reads",
        _SEQUENCER,
        (Edit("ready_tiles(d.after, progress) > token_tile", "1'b1"),),
        digits_from(DigitSource.STREAM),
        "streamed weights",
        _HAZARD,
    ),
    RtlFault(
        "token-tile-not-awaited",
        "dependencies",
        "a matrix product awaits the first token tile of its operand only",
        _SEQUENCER,
        (Edit("ready_tiles(d.after, progress) > token_tile", "ready_tiles(d.after, progress) != '0"),),
        _overtakes_norm,
        "a matrix product of single row tiles that follows LayerNorm over several token tiles",
        _HAZARD,
    ),
    RtlFault(
        "token-tile-awaited-one-early",
        "dependencies",
        "a matrix product takes a token tile when the one before is written",
        _SEQUENCER,
        (
            Edit(
                "ready_tiles(d.after, progress) > token_tile", "ready_tiles(d.after, progress) >= token_tile"
            ),
        ),
        _by_token_tile,
        _BY_TOKEN_TILE,
        _HAZARD,
    ),
    RtlFault(
        "gemm-lane-not-awaited",
        "dependencies",
        "a layer waits for vector units only",
        _PACKAGE,
        (Edit("gemm < vector ? gemm : vector", "vector"),),
        lambda layer, subject: _after(layer).gemms > 0,
        "a layer that needs a matrix product's result",
        _HAZARD,
    ),
    RtlFault(
        "vector-lane-not-awaited",
        "dependencies",
        "a layer waits for matrix products only",
        _PACKAGE,
        (Edit("gemm < vector ? gemm : vector", "gemm"),),
        lambda layer, subject: _after(layer).vectors > 0,
        "a layer that needs a vector unit's result",
        _HAZARD,
    ),
    RtlFault(
        "token-tiles-of-other-product-count",
        "dependencies",
        "token tiles of the matrix product that is being drained count for a later one",
        _PACKAGE,
        (Edit("progress.gemms + 1'b1 == COUNT_BITS'(after.gemms)", "1'b1"),),
        _behind_context,
        "attention of three heads, whose softmax waits for scores behind a context",
        _HAZARD,
    ),
    RtlFault(
        "drain-not-awaited",
        "slots",
        "a slot ends while the one before it is still being drained",
        _SEQUENCER,
        (Edit("drain_left == 0", "1'b1", "(drain_left == 0 && !slots_full)"),),
        gemm,
        "a matrix product",
        _CONFUSED,
    ),
    RtlFault(
        "transposed-writes-not-awaited",
        "slots",
        "the drain of the next layer begins while a transposed result is still being written",
        _SEQUENCER,
        (Edit("count_t'(T_N / T_K + 1)", "count_t'(0)"),),
        _completes_with_transposed,
        "an attention product of one slot that is drained in as many cycles as a transposed result is late",
        frozenset({Shows.HANG}),
    ),
    RtlFault(
        "class-token-overwritten",
        "slots",
        "a layer writes the tokens before its first one",
        _SEQUENCER,
        (Edit("d.first_token[ADDRESS_BITS-1:0] > token", "1'b0"),),
        _class_token,
        "a class token",
    ),
    RtlFault(
        "operands-of-last-tile-kept",
        "slots",
        "a group of row tiles starts with the token tile that the one before it ended with",
        _SEQUENCER,
        (
            Edit(
                "address_t'(d.x_base)",
                "tile_released ? x_tile : address_t'(d.x_base)",
            ),
        ),
        every(row_tiles(2), token_tiles),
        "several row tiles and token tiles",
    ),
    RtlFault(
        "last-token-masked",
        "slots",
        "the last token of a tile is multiplied as zero",
        _ENGINE,
        (
            Edit(
                "count_t'(n) < lanes_late[READ_LATENCY-1]",
                "count_t'(n) + 1'b1 < lanes_late[READ_LATENCY-1]",
            ),
        ),
        gemm,
        "a matrix product",
    ),
    RtlFault(
        "layer-left-after-first-tile",
        "slots",
        "the next layer begins after the first row tile",
        _SEQUENCER,
        (Edit("tile_released && current.last", "tile_released"),),
        row_tiles(2),
        "several row tiles",
        _CONFUSED,
    ),
    RtlFault(
        "group-of-one-place",
        "groups of row tiles",
        "row tiles that take turns share one place",
        _SEQUENCER,
        (Edit("!slot_end ? index : current.group_last ? '0 : index + 1'b1", "'0"),),
        every(row_tiles(2), token_tiles),
        "several row tiles and token tiles",
        _CONFUSED,
    ),
    RtlFault(
        "group-repeated",
        "groups of row tiles",
        "with its last token tile a group begins again instead of the next one",
        _SEQUENCER,
        (Edit("current.group_last ? !last_token_tile : token_tile != '0", "token_tile != '0"),),
        every(row_tiles(2), token_tiles),
        "several row tiles and token tiles",
        _CONFUSED,
    ),
    RtlFault(
        "token-tile-ends-with-row-tile",
        "groups of row tiles",
        "every row tile of a group goes on to the next token tile",
        _SEQUENCER,
        (Edit("slot_end && current.group_last", "slot_end"),),
        every(row_tiles(2), token_tiles),
        "several row tiles and token tiles",
        _CONFUSED,
    ),
    RtlFault(
        "group-without-end",
        "groups of row tiles",
        "all row tiles of a layer are one group",
        _LOADER,
        (Edit("rows_left == tile_rows || !another_fits", "rows_left == tile_rows"),),
        every(row_tiles(4), token_tiles),
        "more row tiles than take turns, and several token tiles",
        _CONFUSED,
    ),
    RtlFault(
        "group-overflows-buffer",
        "groups of row tiles",
        "three row tiles take turns also where the weight buffer cannot hold them",
        _LOADER,
        (Edit("(32'(group_tiles) + 2) * 32'(d.k_steps[COUNT_BITS-1:0]) <= WEIGHT_DEPTH", "1'b1"),),
        _group_overflows_buffer,
        "row tiles of which three do not fit the weight buffer",
        frozenset({Shows.HANG}),
    ),
    RtlFault(
        "no-restart-between-frames",
        "program",
        "the loader goes into the next frame with what it knew of the last",
        _ENGINE,
        (Edit("rst || !running", "rst", "restart = rst || !running"),),
        any_layer,
        "a layer",
        _CONFUSED,
    ),
    RtlFault(
        "descriptor-overwritten",
        "program",
        "one descriptor more is read than the ring has room for",
        _PROGRAM,
        (Edit("known - finished < COUNT_BITS'(RING)", "known - finished <= COUNT_BITS'(RING)"),),
        any_layer,
        "a layer",
        frozenset({Shows.HANG, Shows.LAYER, Shows.STREAMS, Shows.FAILURE}),
    ),
    RtlFault(
        "takes-garbage-as-program",
        "program",
        "words of the program are taken in every cycle, whether there is one or not",
        _PROGRAM,
        (Edit("program_ready && program_valid", "program_ready"),),
        any_layer,
        "a layer",
        frozenset({Shows.HANG, Shows.LAYER, Shows.STREAMS, Shows.FAILURE}),
        stalls=True,
    ),
)
