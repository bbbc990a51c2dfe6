"""Faults in the RTL's loader: weight stream, digits from memory, tables, row tiles, room in the buffers."""

from __future__ import annotations

from qvit_hls.hw.descriptor import Destination, DigitSource, Scaling
from qvit_hls.verify.faults.rtl_fault import Edit, RtlFault, Shows
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import (
    digits_from,
    every,
    gemm,
    mixed_tile,
    row_tiles,
    scaled,
    to,
    token_tiles,
    two_digits,
    unit,
    uses_table,
)

_LOADER = "rtl/gemm/gemm_loader.sv"
_ENGINE = "rtl/qvit_engine.sv"
_ROW_PARAMETERS = "rtl/memory/row_parameter_buffer.sv"

_ATTENTION = "an attention product"
_from_memory = digits_from(DigitSource.MEMORY)


def _more_rows_than_lanes(layer: ProgramLayer, subject: Subject) -> bool:
    return _from_memory(layer, subject) and layer.words["rows"] > subject.config.tile_tokens


def _partial_step(layer: ProgramLayer, subject: Subject) -> bool:
    return _from_memory(layer, subject) and layer.words["k"] % subject.config.tile_depth > 0


def _beats_per_step(layer: ProgramLayer, subject: Subject) -> bool:
    rows = subject.config.rows_per_beat
    streamed = digits_from(DigitSource.STREAM)(layer, subject)
    return streamed and any(tile.atoms > rows for tile in layer.tiles(subject.config))


def _odd_ring(layer: ProgramLayer, subject: Subject) -> bool:
    steps = 2 * subject.config.weight_depth
    return gemm(layer, subject) and steps & (steps - 1) > 0


def _partial_block(layer: ProgramLayer, subject: Subject) -> bool:
    config = subject.config
    block = config.drain_rows * config.transposed_rows
    return to(Destination.ACTIVATION_TRANSPOSED)(layer, subject) and layer.words["rows"] % block > 0


def _second_tile_blocks(layer: ProgramLayer, subject: Subject) -> bool:
    # A block is several lanes; only where a row tile does not start at the first one does it matter which.
    config = subject.config
    transposed = to(Destination.ACTIVATION_TRANSPOSED)(layer, subject)
    return transposed and any(tile.first_row >= config.tile_tokens for tile in layer.tiles(config))


def conflicting_rows(layer: ProgramLayer, subject: Subject) -> bool:
    """A GEMM with a pair of rows that drain together and go to the same bank of a memory."""
    if subject.config.drain_rows != 2 or not scaled(Scaling.PER_ROW)(layer, subject):
        return False
    if layer.words["destination"] == Destination.ACTIVATION_TRANSPOSED:
        return False
    for tile in layer.tiles(subject.config):
        rows = range(tile.first_row, tile.first_row + tile.rows)
        banks = [subject.stream.parameter(layer.name, row, "channel") % 2 for row in rows]
        if any(first == second for first, second in zip(banks[::2], banks[1::2], strict=False)):
            return True
    return False


RTL_LOADER_FAULTS = (
    RtlFault(
        "high-digit-without-borrow",
        "digits",
        "the high digit of an attention operand does not make up for a negative low one",
        _LOADER,
        (Edit("{3'd0, group_codes[DOUBLE][kk][3]}", "4'd0"),),
        every(_from_memory, two_digits),
        _ATTENTION,
    ),
    RtlFault(
        "digits-exchanged",
        "digits",
        "the digits of an attention operand are in each other's row",
        _LOADER,
        (Edit("m % 2 == 0", "m % 2 == 1"),),
        every(_from_memory, two_digits),
        _ATTENTION,
    ),
    RtlFault(
        "digits-behind-the-end-kept",
        "digits",
        "channels behind an attention operand's last are not zero",
        _LOADER,
        (Edit("(32'(step) << WORD_SHIFT) + kk < d.k", "1'b1"),),
        _partial_step,
        "an attention product that does not fill its last step",
    ),
    RtlFault(
        "digit-tile-stays",
        "digits",
        "rows beyond the lanes are taken from the first tile of the digit memory",
        _LOADER,
        (Edit("digit_tile <= digit_tile + address_t'(d.digit_stride);", ""),),
        _more_rows_than_lanes,
        "an attention product of more rows than lanes",
    ),
    RtlFault(
        "digits-loaded-too-early",
        "dependencies",
        "attention operands are loaded before the layer that writes them is complete",
        _LOADER,
        (Edit("ready_tiles(d.after, progress) == '1", "1'b1"),),
        _from_memory,
        _ATTENTION,
        frozenset({Shows.UNTRACED}),
    ),
    RtlFault(
        "digits-loaded-during-trace",
        "tracing",
        "attention operands are loaded while the trace reads the same memory",
        _LOADER,
        (Edit("may_use_memories", "1'b1", "operands_complete = may_use_memories"),),
        _from_memory,
        _ATTENTION,
    ),
    RtlFault(
        "ring-overfilled",
        "weight buffer",
        "digits are loaded without regard to those that are still in use",
        _LOADER,
        (Edit("free_steps >= count_t'(d.k_steps)", "1'b1"),),
        gemm,
        "a matrix product",
        frozenset({Shows.LAYER, Shows.UNTRACED}),
    ),
    RtlFault(
        "ring-wraps-late",
        "weight buffer",
        "a tile that reaches the end of the weight buffer goes on behind it",
        _LOADER,
        (Edit("place + 1'b1 == count_t'(BUFFER_STEPS)", "1'b0"),),
        _odd_ring,
        "a weight buffer whose steps are not a power of two, so that addresses do not wrap by themselves",
    ),
    RtlFault(
        "tile-base-stays",
        "weight buffer",
        "the sequencer reads every tile's digits from the start of the weight buffer",
        "rtl/gemm/gemm_sequencer.sv",
        (Edit("current.base", "count_t'(0)"),),
        gemm,
        "a matrix product",
    ),
    RtlFault(
        "parameters-of-one-tile",
        "row parameters",
        "all row tiles write their parameters to the same place",
        _ROW_PARAMETERS,
        (Edit("write_tile", "TILE_BITS'(0)", "content[{write_tile, write_group}]"),),
        scaled(Scaling.PER_ROW),
        "a matrix product with row parameters",
    ),
    RtlFault(
        "second-row-takes-first-parameters",
        "row parameters",
        "of two rows that drain together, the second takes the first one's parameters",
        _ROW_PARAMETERS,
        (Edit("32'(first) + r", "32'(first)"),),
        every(scaled(Scaling.PER_ROW), lambda layer, subject: subject.config.drain_rows == 2),
        "two rows per cycle in the drain",
    ),
    RtlFault(
        "beats-to-first-rows",
        "weight stream",
        "every beat of a step goes to the first rows",
        _LOADER,
        (Edit("atom == count_t'(m - m % ROWS_PER_BEAT)", "m < ROWS_PER_BEAT"),),
        _beats_per_step,
        "steps of several beats",
    ),
    RtlFault(
        "tile-overfull",
        "row tiles",
        "a two-digit row counts as one atom row when a tile is filled up",
        _LOADER,
        (Edit("(rows8_here << 1)", "rows8_here", "count_t'(T_M) - (rows8_here << 1)"),),
        every(mixed_tile, row_tiles(2)),
        "several row tiles, one of both precisions",
        frozenset({Shows.LAYER, Shows.HANG}),
    ),
    RtlFault(
        "table-byte-off",
        "tables",
        "every entry is the byte behind its own",
        _LOADER,
        (Edit("table_bytes[0]", "table_bytes[1]"),),
        uses_table,
        "an elementwise table or a softmax",
    ),
    RtlFault(
        "residual-tile-stays",
        "residual stream",
        "the constant part of every token tile goes to the first",
        _LOADER,
        (Edit("residual_tile <= residual_tile + address_t'(d.y_stride);", ""),),
        every(unit("load_residual"), token_tiles),
        "a constant part of the residual stream over several token tiles",
    ),
    RtlFault(
        "drain-without-conflict-cycles",
        "drain",
        "the loader does not count rows of one bank, which drain one after the other",
        _LOADER,
        (Edit("conflicts + conflicts_here", "conflicts"),),
        conflicting_rows,
        "rows that drain together and go to the same bank",
    ),
    RtlFault(
        "drain-without-last-block",
        "transposed writes",
        "a block of rows that is not full is not drained",
        _LOADER,
        (Edit("32'(next_position != 0)", "32'd0"),),
        _partial_block,
        "a transposed result with a part of a block",
        frozenset({Shows.LAYER, Shows.HANG}),
    ),
    RtlFault(
        "block-address-stays",
        "transposed writes",
        "row tiles beyond the lanes go to the first tile of tokens",
        _LOADER,
        (
            Edit(
                "next_block_address <= next_block_address + address_t'(d.y_stride);",
                "",
            ),
        ),
        _second_tile_blocks,
        "a transposed result of more rows than lanes",
    ),
    RtlFault(
        "takes-garbage-as-digits",
        "weight stream",
        "digits are taken in every cycle, whether there is a beat or not",
        _LOADER,
        (Edit("state == DIGITS && beat_valid", "state == DIGITS"),),
        digits_from(DigitSource.STREAM),
        "streamed weights",
        frozenset({Shows.LAYER, Shows.STREAMS, Shows.HANG}),
        stalls=True,
    ),
    RtlFault(
        "ports-not-together",
        "weight stream",
        "a beat is taken when any port has its word",
        _ENGINE,
        (Edit("&weights_valid", "|weights_valid"),),
        lambda layer, subject: gemm(layer, subject) and subject.config.weight_ports > 1,
        "several weight ports",
        frozenset({Shows.LAYER, Shows.STREAMS, Shows.HANG}),
        stalls=True,
    ),
)
