"""Faults in what goes in and out: descriptors, image, weight stream, weight buffer, result, trace."""

from __future__ import annotations

from qvit_hls.hw.descriptor import DigitSource, Scaling
from qvit_hls.verify.faults.fault import SourceFault
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import (
    digits_from,
    either,
    every,
    row_tile_within_lanes,
    scaled,
    several_ports,
    tokens,
    two_digits,
    unit,
    uses_table,
)

_DESCRIPTOR = "src/kernels/descriptor.hpp"
_LOAD = "src/kernels/gemm_load.hpp"
_OUTSIDE = "src/kernels/load.hpp"
_STORE = "src/kernels/store.hpp"
_STREAM = "src/kernels/weight_stream.hpp"

_streamed = digits_from(DigitSource.STREAM)
_from_memory = digits_from(DigitSource.MEMORY)


def _of_a_copy_per_lane(layer: ProgramLayer, subject: Subject) -> bool:
    # All lanes take a LayerNorm's shifts from one table.
    return layer.unit != "layer_norm"


LOADING_FAULTS = (
    SourceFault(
        "descriptor-words-exchanged",
        "descriptor",
        "multiplier and shift are decoded in the wrong order",
        _DESCRIPTOR,
        (("word[22], word[23],", "word[23], word[22],"),),
        either(unit("layer_norm", "mean_tokens"), scaled(Scaling.CONSTANT), scaled(Scaling.RECIPROCAL)),
        "a layer with a constant multiplier",
    ),
    SourceFault(
        "image-patches-turned",
        "image",
        "patches are numbered column by column",
        _OUTSIDE,
        (("row * patches_per_row + column;", "column * rows_of_patches + row;"),),
        every(unit("load_image"), tokens(3)),
        "an image of several patches",
    ),
    SourceFault(
        "image-lines-overlap",
        "image",
        "the lines of a patch are one pixel apart",
        _OUTSIDE,
        (("(c * patch + y) * patch;", "(c * patch + y);"),),
        every(unit("load_image"), lambda layer, subject: layer.words["patch"] > 1),
        "patches of several pixels",
    ),
    SourceFault(
        "residual-lanes-reversed",
        "residual stream",
        "the constants of a memory word go to its lanes in reverse",
        _OUTSIDE,
        (("first + p * 8 + i;", "first + p * 8 + 7 - i;"),),
        unit("load_residual"),
        "a constant part of the residual stream",
    ),
    SourceFault(
        "atoms-exchanged",
        "weight stream",
        "the two atoms of a byte are unpacked in the wrong order",
        _STREAM,
        (("(4 * (i % 16))", "(4 * ((i ^ 1) % 16))"),),
        _streamed,
        "a linear layer",
    ),
    SourceFault(
        "ports-reversed",
        "weight stream",
        "the ports are read in reverse order",
        _LOAD,
        (("word[p] = stream[p].read();", "word[p] = stream[C::PORTS - 1 - p].read();"),),
        every(_streamed, several_ports),
        "several weight ports",
    ),
    SourceFault(
        "table-entries-exchanged",
        "tables",
        "neighbouring table entries are exchanged",
        _STREAM,
        (("table[n][entry] = byte[i];", "table[n][entry] = byte[i ^ 1];"),),
        uses_table,
        "a table",
    ),
    SourceFault(
        "table-lane-not-filled",
        "tables",
        "only the first lane's copy of a table is filled",
        _STREAM,
        (("table[n][entry] = byte[i];", "table[0][entry] = byte[i];"),),
        every(uses_table, _of_a_copy_per_lane, tokens(2)),
        "a table used by several tokens",
    ),
    SourceFault(
        "row-multiplier-shifted",
        "row parameters",
        "a row's multiplier is unpacked one bit off",
        _LOAD,
        (("(bits >> 30)", "(bits >> 31)"),),
        scaled(Scaling.PER_ROW),
        "a linear layer",
    ),
    SourceFault(
        "row-bias-narrow",
        "row parameters",
        "a row's bias keeps 8 bits",
        _LOAD,
        (("    sint<30> bias;", "    sint<8> bias;"),),
        scaled(Scaling.PER_ROW),
        "a linear layer",
    ),
    SourceFault(
        "row-tile-offset-lost",
        "row tiles",
        "attention operands of every row tile come from the first lanes",
        _LOAD,
        (("lane0 = first_row % C::T_N;", "lane0 = state.row % C::T_N;"),),
        every(_from_memory, row_tile_within_lanes),
        "an attention product with a row tile that starts at another lane than the first",
    ),
    SourceFault(
        "key-lines-lost",
        "token tiles",
        "keys beyond the first token tile are read from it",
        _LOAD,
        (
            (
                "first_row / C::T_N * static_cast<int>(d.digit_stride);",
                "0 * static_cast<int>(d.digit_stride);",
            ),
        ),
        every(_from_memory, lambda layer, subject: layer.words["rows"] > subject.config.tile_tokens),
        "more keys than a token tile has",
    ),
    SourceFault(
        "digits-exchanged",
        "digits",
        "high and low digit of an attention operand are exchanged",
        _LOAD,
        (
            ("kk] = static_cast<atom_t>(high);", "kk] = static_cast<atom_t>(low);"),
            (
                "(2 * row + 1) * C::T_K + kk] = static_cast<atom_t>(low);",
                "(2 * row + 1) * C::T_K + kk] = static_cast<atom_t>(high);",
            ),
        ),
        every(_from_memory, two_digits),
        "an attention product",
    ),
    SourceFault(
        "trace-lane-off",
        "tracing",
        "the trace reads the neighbouring token's lane",
        _STORE,
        (("lane = t % C::T_N;", "lane = (t + 1) % C::T_N;"),),
        lambda layer, subject: layer.words["trace_tokens"] > 0,
        "a trace",
    ),
    SourceFault(
        "result-off",
        "result",
        "the logits are written one class too far",
        _STORE,
        (
            (
                "memory.wide[d.x_base + c][0]",
                "memory.wide[d.x_base + (c + 1) % d.k][0]",
            ),
        ),
        every(unit("store_result"), lambda layer, subject: layer.words["k"] > 1),
        "several classes",
    ),
)
