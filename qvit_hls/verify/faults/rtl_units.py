"""Faults in the RTL's vector units and writers: LayerNorm, softmax, mean, image, result, trace."""

from __future__ import annotations

from qvit_hls.hw.descriptor import Memory, Scaling
from qvit_hls.verify.faults.rtl_fault import Edit, RtlFault, Shows
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import either, every, scaled, token_tiles, unit

_SOFTMAX = "rtl/softmax.sv"
_LAYER_NORM = "rtl/layer_norm.sv"
_LANE = "rtl/layer_norm_lane.sv"
_MOMENTS = "rtl/layer_norm_moments.sv"
_SCALE = "rtl/layer_norm_scale.sv"
_RECIPROCAL = "rtl/reciprocal.sv"
_ROOT = "rtl/square_root.sv"
_MEAN = "rtl/mean_tokens.sv"
_IMAGE = "rtl/load_image.sv"
_TRACE = "rtl/store_trace.sv"
_RESULT = "rtl/store_result.sv"
_FIFO = "rtl/response_fifo.sv"

_softmax = unit("softmax")
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


def _absent_lanes(layer: ProgramLayer, subject: Subject) -> bool:
    return _mean(layer, subject) and layer.words["tokens"] % subject.config.tile_tokens > 0


RTL_UNIT_FAULTS = (
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
        "norm-moments-not-awaited",
        "LayerNorm",
        "roots are taken before the moments that the unit takes itself are there",
        _LAYER_NORM,
        (Edit("(own ? moments_tile : tiles_ready) > next_tile", "1'b1"),),
        every(_layer_norm, lambda layer, subject: layer.words["rows"] == 0),
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
        "mean-drops-last-token",
        "token mean",
        "the last token of a tile does not count",
        _MEAN,
        (
            Edit(
                "tokens_left > qvit_pkg::COUNT_BITS'(n)",
                "tokens_left > qvit_pkg::COUNT_BITS'(n + 1)",
            ),
        ),
        _absent_lanes,
        "a mean over tokens that do not fill the lanes",
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
        frozenset({Shows.STREAMS, Shows.HANG}),
    ),
    RtlFault(
        "takes-garbage-as-image",
        "image",
        "pixels are taken in every cycle, whether there is a word or not",
        _IMAGE,
        (Edit("active && image_valid", "active", "step = active && image_valid"),),
        _image,
        "an image",
        frozenset({Shows.LAYER}),
        stalls=True,
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
        unit("store_result"),
        "a result",
        frozenset({Shows.STREAMS, Shows.LAYER, Shows.UNTRACED}),
        stalls=True,
    ),
)
