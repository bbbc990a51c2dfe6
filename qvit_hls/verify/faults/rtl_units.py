"""Faults in the RTL's reciprocals, token mean, image, result and trace."""

from __future__ import annotations

from qvit_hls.hw.descriptor import Memory, Scaling
from qvit_hls.verify.faults.rtl_fault import Edit, RtlFault, Shows
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import (
    either,
    every,
    from_later_token,
    scaled,
    to_later_token,
    to_other_lanes,
    unit,
    within_tile,
)

_RECIPROCAL = "rtl/reciprocal.sv"
_MEAN = "rtl/mean_tokens.sv"
_ENGINE = "rtl/qvit_engine.sv"
_IMAGE = "rtl/load_image.sv"
_TRACE = "rtl/store_trace.sv"
_RESULT = "rtl/store_result.sv"
_FIFO = "rtl/response_fifo.sv"

_layer_norm = unit("layer_norm")
_mean = unit("mean_tokens")
_image = unit("load_image")
_context = scaled(Scaling.RECIPROCAL)
_divides = either(_layer_norm, _context)


def _traced_codes(layer: ProgramLayer, subject: Subject) -> bool:
    return layer.words["trace_memory"] == Memory.ACTIVATION and layer.words["trace_channels"] > 0


def _traced(layer: ProgramLayer, subject: Subject) -> bool:
    return layer.words["trace_memory"] != Memory.NONE and layer.words["trace_channels"] > 0


def _padded_image(layer: ProgramLayer, subject: Subject) -> bool:
    words = layer.words
    return _image(layer, subject) and words["k"] * words["height"] * words["width"] % 16 > 0


def _image_of_words(layer: ProgramLayer, subject: Subject) -> bool:
    # Of so many that some word is held back while the image is being loaded.
    words = layer.words
    return _image(layer, subject) and words["k"] * words["height"] * words["width"] >= 64


def _several_logits(layer: ProgramLayer, subject: Subject) -> bool:
    return layer.unit == "store_result" and layer.words["k"] >= 4


def _several_channels_per_bank(layer: ProgramLayer, subject: Subject) -> bool:
    config = subject.config
    return config.tile_depth > 2 * config.drain_rows and config.tile_depth > config.image_pixels


def _traced_wide_in_banks(layer: ProgramLayer, subject: Subject) -> bool:
    words = layer.words
    wide = words["trace_memory"] == Memory.WIDE or layer.unit in ("mean_tokens", "store_result")
    return wide and subject.config.drain_rows == 2


RTL_UNIT_FAULTS = (
    RtlFault(
        "quotient-never-restored",
        "reciprocal",
        "a negative remainder is not added to but subtracted from again",
        _RECIPROCAL,
        (Edit("~remainder[i][WIDTH]", "1'b1"),),
        _divides,
        "a LayerNorm or a softmax",
    ),
    RtlFault(
        "shift-of-next-token",
        "reciprocal",
        "a quotient gets the shift of the value behind it",
        _RECIPROCAL,
        (Edit("distance_at[STAGES-1]", "distance_at[STAGES-2]", "SHIFT_BITS'(distance_at[STAGES-1])"),),
        _divides,
        "a LayerNorm or a softmax",
    ),
    RtlFault(
        "mean-drops-last-token",
        "token mean",
        "the last token of a mean does not count",
        _MEAN,
        (Edit("tokens_left[LANE_BITS-1:0] > LANE", "tokens_left[LANE_BITS-1:0] > LANE + 1'b1"),),
        _mean,
        "a mean over tokens",
    ),
    RtlFault(
        "mean-not-restarted",
        "token mean",
        "the sum goes on from the channel before",
        _MEAN,
        (Edit("first_at[ROOT]", "1'b0", "(first_at[ROOT] ? '0 : sum)"),),
        _mean,
        "a mean over tokens",
    ),
    RtlFault(
        "mean-of-first-tokens",
        "token mean",
        "the first mean begins with the source's first token",
        _MEAN,
        (Edit("qvit_pkg::COUNT_BITS'(d.first_token)", "'0"),),
        from_later_token,
        "means that begin with another token",
    ),
    RtlFault(
        "mean-to-first-token",
        "token mean",
        "the first mean becomes the result's first token",
        _MEAN,
        (Edit("qvit_pkg::COUNT_BITS'(d.patch)", "'0"),),
        to_later_token,
        "tokens behind others",
    ),
    RtlFault(
        "mean-counts-tokens-before",
        "token mean",
        "tokens before the mean's first one count, those of its token tile",
        _MEAN,
        (Edit("first && x.lane[LANE_BITS-1:0] > LANE", "1'b0"),),
        within_tile,
        "a mean that begins within a token tile",
    ),
    RtlFault(
        "mean-in-first-lane",
        "token mean",
        "all means go to the first lane",
        _MEAN,
        (Edit("y.lane", "'0", "assign write_lane = y.lane;"),),
        to_other_lanes,
        "several means, or tokens behind others",
    ),
    RtlFault(
        "mean-moves-on-too-early",
        "token mean",
        "a mean's last channel goes to the next token",
        _MEAN,
        (Edit("mean_at[RESULT]", "mean_at[RESULT-1]"),),
        lambda layer, subject: _mean(layer, subject) and min(layer.words["rows"], layer.words["k"]) > 1,
        "several means",
    ),
    RtlFault(
        "image-line-goes-on",
        "image",
        "the second line of a row of patches goes to the next row's tokens",
        _IMAGE,
        (Edit("row_end ? next : row_start", "next"),),
        _image,
        "an image",
    ),
    RtlFault(
        "image-channel-goes-on",
        "image",
        "the second channel goes to tokens behind the last",
        _IMAGE,
        (Edit("place <= image_start;", "", "place <= image_start;\n                row_start"),),
        every(_image, lambda layer, subject: layer.words["k"] > 1),
        "an image of several channels",
    ),
    RtlFault(
        "image-padding-left",
        "image",
        "the last word of an image that does not fill it is not taken",
        _IMAGE,
        (Edit("image_end", "1'b0", "GROUP_BITS'(GROUPS - 1) || image_end"),),
        _padded_image,
        "an image that does not fill its last word",
        frozenset({Shows.STREAMS, Shows.HANG, Shows.UNTRACED}),
    ),
    RtlFault(
        "takes-garbage-as-image",
        "image",
        "pixels are taken in every cycle, whether there is a word or not",
        _IMAGE,
        (Edit("active && image_valid", "active", "step = active && image_valid"),),
        _image_of_words,
        "an image of several words",
        frozenset({Shows.LAYER}),
        stalls=True,
    ),
    RtlFault(
        "image-in-other-channels",
        "image",
        "pixels are written to all channels of their bank in a word",
        _ENGINE,
        (
            Edit(
                "32'(image_address[WORD_SHIFT-1:0]) / IMAGE_PIXELS == PLACE / IMAGE_PIXELS",
                "1'b1",
                "image_write ? 32'(image_address[WORD_SHIFT-1:0]) / IMAGE_PIXELS == PLACE / IMAGE_PIXELS",
            ),
        ),
        every(_image, _several_channels_per_bank),
        "banks that hold several of a word's channels",
    ),
    RtlFault(
        "bank-of-next-channel",
        "stream writers",
        "a value of the wide memory is taken from the bank of a later channel",
        _ENGINE,
        (Edit("unit_bank[READ_LATENCY-1]", "unit_read[0]", "R == 2 && unit_bank[READ_LATENCY-1]"),),
        _traced_wide_in_banks,
        "traced values of a wide memory of two banks",
    ),
    RtlFault(
        "trace-unsigned",
        "tracing",
        "codes are traced without their sign",
        _TRACE,
        (Edit("16'($signed(code))", "16'(code)"),),
        _traced_codes,
        "a traced layer of codes",
    ),
    RtlFault(
        "answers-overrun",
        "stream writers",
        "memory is read without regard to the room for its answers",
        _FIFO,
        (Edit("!claimed[INDEX_BITS]", "1'b1"),),
        _traced,
        "a traced layer",
        frozenset({Shows.LAYER, Shows.STREAMS, Shows.HANG}),
        stalls=True,
    ),
    RtlFault(
        "word-dropped-at-stall",
        "stream writers",
        "a word counts as taken when it is offered",
        _FIFO,
        (Edit("data_valid && data_ready", "data_valid"),),
        _traced,
        "a traced layer",
        frozenset({Shows.LAYER, Shows.STREAMS, Shows.HANG}),
        stalls=True,
    ),
    RtlFault(
        "result-done-too-early",
        "stream writers",
        "the last logits are still to be taken when the frame ends",
        _RESULT,
        (Edit("idle", "1'b1", "left == '0 && idle"),),
        _several_logits,
        "several logits",
        frozenset({Shows.STREAMS, Shows.LAYER, Shows.UNTRACED}),
        stalls=True,
    ),
)
