"""Faults in the controller: when each lane begins its layers, what counts as complete, trace, image ahead."""

from __future__ import annotations

from qvit_hls.hw.descriptor import After
from qvit_hls.verify.faults.rtl_control import any_layer
from qvit_hls.verify.faults.rtl_fault import Edit, RtlFault, Shows
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import every, gemm, token_tiles, unit

_CONTROLLER = "rtl/controller.sv"
_ENGINE = "rtl/qvit_engine.sv"

_HAZARD = frozenset({Shows.UNTRACED})
_CONFUSED = frozenset({Shows.LAYER, Shows.HANG, Shows.STREAMS, Shows.UNTRACED, Shows.FAILURE})
_IMAGE_AHEAD = "an accelerator that takes the next frame's image ahead"
_vector = unit("load_image", "load_residual", "layer_norm", "softmax", "mean_tokens", "store_result")


def _gemm_by_tile(layer: ProgramLayer, subject: Subject) -> bool:
    return After.of_word(layer.words["after"]).gemm_by_tile


def _vector_by_tile(layer: ProgramLayer, subject: Subject) -> bool:
    return After.of_word(layer.words["after"]).vector_by_tile


def _image_ahead(layer: ProgramLayer, subject: Subject) -> bool:
    return unit("load_image")(layer, subject) and subject.config.image_ahead


def _long_image_ahead(layer: ProgramLayer, subject: Subject) -> bool:
    # Still being loaded when the first LayerNorm's codes and the products behind it are written.
    words, pixels = layer.words, subject.config.image_pixels
    groups = words["k"] * words["height"] * words["width"] // pixels
    return _image_ahead(layer, subject) and groups >= 512


RTL_LANE_FAULTS = (
    RtlFault(
        "unit-begins-too-early",
        "lanes",
        "a unit that needs a whole tensor begins before it is complete",
        _CONTROLLER,
        (Edit("unit_tiles_ready == '1", "1'b1"),),
        unit("mean_tokens", "store_result"),
        "a result",
        _HAZARD,
    ),
    RtlFault(
        "gemm-lane-does-not-await-descriptor",
        "lanes",
        "the GEMM lane goes by what the ring holds, whether its layer's descriptor is there or not",
        _CONTROLLER,
        (Edit("running && gemm_layer != known", "running"),),
        any_layer,
        "a layer",
        _CONFUSED,
    ),
    RtlFault(
        "vector-lane-does-not-await-descriptor",
        "lanes",
        "the vector lane goes by what the ring holds, whether its layer's descriptor is there or not",
        _CONTROLLER,
        (Edit("running && vector_layer != known", "running"),),
        any_layer,
        "a layer",
        _CONFUSED,
    ),
    RtlFault(
        "gemm-descriptors-given-up",
        "lanes",
        "descriptors are given up when the vector lane has passed them",
        _CONTROLLER,
        (Edit("gemm_layer < vector_layer ? gemm_layer : vector_layer", "vector_layer"),),
        gemm,
        "a matrix product",
        _CONFUSED,
    ),
    RtlFault(
        "vector-descriptors-given-up",
        "lanes",
        "descriptors are given up when the GEMM lane has passed them",
        _CONTROLLER,
        (Edit("gemm_layer < vector_layer ? gemm_layer : vector_layer", "gemm_layer"),),
        _vector,
        "a vector unit",
        _CONFUSED,
    ),
    RtlFault(
        "drained-tiles-kept",
        "progress",
        "token tiles that a matrix product has written count for the next one too",
        _CONTROLLER,
        (
            Edit(
                "gemm_tiles <= '0;",
                "",
                "gemms <= gemms + 1'b1;\n                    gemm_tiles <= '0;",
            ),
        ),
        _gemm_by_tile,
        "a layer that follows a matrix product token tile by token tile",
        _HAZARD,
    ),
    RtlFault(
        "norm-tiles-kept",
        "progress",
        "token tiles of the last LayerNorm count for the next one before it begins",
        _CONTROLLER,
        (Edit("vector_state == UNIT && !unit_start ? unit_tiles_done : '0", "unit_tiles_done"),),
        every(_vector_by_tile, token_tiles),
        "a matrix product that follows a LayerNorm token tile by token tile, of several of them",
        _HAZARD,
    ),
    RtlFault(
        "trace-begins-too-early",
        "tracing",
        "a matrix product is traced when its last step is issued",
        _CONTROLLER,
        (
            Edit(
                "if (trace_enable) gemm_held <= 1'b1;\n"
                "                    else gemm_layer <= gemm_layer + 1'b1;",
                "if (trace_enable) begin gemm_held <= 1'b1; trace_pending <= 1'b1; trace_vector <= 1'b0; end "
                "else gemm_layer <= gemm_layer + 1'b1;",
            ),
            Edit(
                "trace_enable",
                "1'b0",
                "trace_pending <= trace_enable;\n                    trace_vector <= 1'b0;",
            ),
        ),
        gemm,
        "a matrix product",
    ),
    RtlFault(
        "gemm-lane-does-not-await-trace",
        "tracing",
        "a matrix product runs while the trace reads its memories",
        _CONTROLLER,
        (Edit("!trace_enable || traced == gemm_layer", "1'b1"),),
        gemm,
        "a matrix product",
        frozenset({Shows.LAYER, Shows.HANG}),
    ),
    RtlFault(
        "vector-lane-does-not-await-trace",
        "tracing",
        "a vector unit runs while the trace reads its memories",
        _CONTROLLER,
        (Edit("!trace_enable || traced == vector_layer", "1'b1"),),
        any_layer,
        "a layer",
        frozenset({Shows.LAYER, Shows.HANG}),
    ),
    RtlFault(
        "traced-product-begins-again",
        "tracing",
        "a matrix product whose trace is awaited is begun again",
        _CONTROLLER,
        (Edit("!gemm_held", "1'b1"),),
        gemm,
        "a matrix product",
        frozenset({Shows.LAYER, Shows.HANG}),
    ),
    RtlFault(
        "image-ahead-too-early",
        "image ahead",
        "the next image overwrites this one while it is being read",
        _CONTROLLER,
        (Edit("gemms >= count_t'(image.rows)", "1'b1"),),
        _image_ahead,
        _IMAGE_AHEAD,
        _HAZARD,
    ),
    RtlFault(
        "image-ahead-loaded-again",
        "image ahead",
        "a frame takes an image from the stream though its own is on chip",
        _CONTROLLER,
        (Edit("vector.unit == LOAD_IMAGE && !image_loaded", "vector.unit == LOAD_IMAGE"),),
        _image_ahead,
        _IMAGE_AHEAD,
        frozenset({Shows.UNTRACED, Shows.HANG, Shows.STREAMS}),
    ),
    RtlFault(
        "image-ahead-not-taken",
        "image ahead",
        "the image that follows is not taken",
        _CONTROLLER,
        (Edit("image_follows_in ? IMAGE_WAITS : NO_IMAGE", "NO_IMAGE"),),
        _image_ahead,
        _IMAGE_AHEAD,
        frozenset({Shows.UNTRACED, Shows.STREAMS}),
    ),
    RtlFault(
        "image-ahead-to-other-place",
        "image ahead",
        "the next image goes where the layer that runs writes",
        _ENGINE,
        (Edit("image_descriptor", "v", ".d(image_descriptor)"),),
        _image_ahead,
        _IMAGE_AHEAD,
        frozenset({Shows.UNTRACED, Shows.HANG}),
    ),
    RtlFault(
        "image-written-over-drain",
        "image ahead",
        "the next image does not keep out of the way of the drain's writes",
        _ENGINE,
        (Edit("!activation_write_next", "1'b1"),),
        _long_image_ahead,
        f"{_IMAGE_AHEAD}, in 512 cycles and more",
        _HAZARD,
    ),
    RtlFault(
        "image-written-over-norm",
        "image ahead",
        "the next image does not keep out of the way of LayerNorm's writes",
        _ENGINE,
        (Edit("!norm_write_soon", "1'b1"),),
        every(_long_image_ahead, lambda layer, subject: subject.config.layer_norm),
        f"{_IMAGE_AHEAD}, in 512 cycles and more",
        _HAZARD,
    ),
)
