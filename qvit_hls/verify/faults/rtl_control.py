"""Faults in the order of things in RTL: program, controller, and the sequencer's steps, slots and waiting."""

from __future__ import annotations

from qvit_hls.hw.descriptor import After, Destination, DigitSource
from qvit_hls.verify.faults.rtl_fault import Edit, RtlFault, Shows
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import (
    digits_from,
    every,
    gemm,
    row_tiles,
    to,
    token_tiles,
    unit,
)

_SEQUENCER = "rtl/gemm/gemm_sequencer.sv"
_CONTROLLER = "rtl/controller.sv"
_PROGRAM = "rtl/program_reader.sv"
_ENGINE = "rtl/qvit_engine.sv"

_HAZARD = frozenset({Shows.UNTRACED})
_VECTOR_UNITS = unit("layer_norm", "softmax", "mean_tokens", "store_result")


def _any_layer(layer: ProgramLayer, subject: Subject) -> bool:
    return True


def _by_token_tile(layer: ProgramLayer, subject: Subject) -> bool:
    return After.of_word(layer.words["after"]).gemm_by_tile


def _class_token(layer: ProgramLayer, subject: Subject) -> bool:
    return gemm(layer, subject) and layer.words["first_token"] > 0


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
        and following.words["destination"] == Destination.SCORES
        and following.words["tokens"] <= config.tile_tokens
        and drain == late
    )


RTL_CONTROL_FAULTS = (
    RtlFault(
        "operands-not-awaited",
        "dependencies",
        "a layer begins before those are complete whose results it reads",
        _SEQUENCER,
        (Edit("completed >= count_t'(d.after)", "1'b1"),),
        digits_from(DigitSource.STREAM),
        "streamed weights",
        _HAZARD,
    ),
    RtlFault(
        "token-tile-not-awaited",
        "dependencies",
        "a layer that follows another by token tiles does not wait for the tile's results",
        _SEQUENCER,
        (Edit("drained_tiles > token_tile", "1'b1"),),
        _by_token_tile,
        "a layer that follows the one before it token tile by token tile",
        _HAZARD,
    ),
    RtlFault(
        "token-tile-awaited-one-early",
        "dependencies",
        "a layer that follows another by token tiles begins when the tile before is written",
        _SEQUENCER,
        (Edit("drained_tiles > token_tile", "drained_tiles >= token_tile"),),
        _by_token_tile,
        "a layer that follows the one before it token tile by token tile",
        _HAZARD,
    ),
    RtlFault(
        "drained-tiles-kept",
        "dependencies",
        "token tiles that a layer has written count for the next one too",
        _CONTROLLER,
        (
            Edit(
                "drained_tiles <= '0;",
                "",
                "completed <= completed + 1'b1;\n                drained_tiles <= '0;",
            ),
        ),
        _by_token_tile,
        "a layer that follows the one before it token tile by token tile",
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
        frozenset({Shows.LAYER, Shows.HANG}),
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
        "a row tile starts with the token tile that the one before it ended with",
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
        frozenset({Shows.HANG, Shows.LAYER}),
    ),
    RtlFault(
        "unit-begins-too-early",
        "controller",
        "a vector unit begins while the matrix product before it is still being drained",
        _CONTROLLER,
        (Edit("completed == run_layer", "1'b1", "!is_gemm && completed == run_layer"),),
        _VECTOR_UNITS,
        "a vector unit",
        _HAZARD,
    ),
    RtlFault(
        "unit-does-not-await-loader",
        "controller",
        "a unit begins before the loader has dealt with its layer",
        _CONTROLLER,
        (Edit("load_layer != run_layer", "1'b1", "completed == run_layer && load_layer != run_layer"),),
        unit("load_residual", "softmax"),
        "a layer that the loader prepares",
        frozenset({Shows.HANG, Shows.LAYER}),
    ),
    RtlFault(
        "trace-begins-too-early",
        "controller",
        "a matrix product is traced before it is complete",
        _CONTROLLER,
        (Edit("completed == run_layer + 1'b1", "1'b1", "TRACE_WAIT: if (completed == run_layer + 1'b1)"),),
        gemm,
        "a matrix product",
    ),
    RtlFault(
        "no-restart-between-frames",
        "controller",
        "the loader goes into the next frame with what it knew of the last",
        _ENGINE,
        (Edit("rst || !running", "rst", "restart = rst || !running"),),
        _any_layer,
        "a layer",
        frozenset({Shows.HANG, Shows.LAYER}),
    ),
    RtlFault(
        "descriptor-overwritten",
        "program",
        "one descriptor more is read than the ring has room for",
        _PROGRAM,
        (Edit("known - finished < COUNT_BITS'(RING)", "known - finished <= COUNT_BITS'(RING)"),),
        _any_layer,
        "a layer",
        frozenset({Shows.HANG, Shows.LAYER, Shows.STREAMS, Shows.FAILURE}),
    ),
    RtlFault(
        "takes-garbage-as-program",
        "program",
        "words of the program are taken in every cycle, whether there is one or not",
        _PROGRAM,
        (Edit("program_ready && program_valid", "program_ready"),),
        _any_layer,
        "a layer",
        frozenset({Shows.HANG, Shows.LAYER, Shows.STREAMS, Shows.FAILURE}),
        stalls=True,
    ),
)
