"""Faults in the arithmetic of the vector units: requantization, LayerNorm, softmax, token mean."""

from __future__ import annotations

from qvit_hls.hw.descriptor import Scaling
from qvit_hls.verify.faults.fault import SourceFault
from qvit_hls.verify.faults.where import (
    either,
    every,
    requantizes,
    saturates_low,
    scaled,
    shifted,
    tokens,
    unit,
)

_REQUANTIZE = "src/kernels/requantize.hpp"
_LAYER_NORM = "src/kernels/layer_norm.hpp"
_SOFTMAX = "src/kernels/softmax.hpp"
_MEAN = "src/kernels/mean_tokens.hpp"

_normalizing = either(unit("layer_norm"), scaled(Scaling.RECIPROCAL))

ARITHMETIC_FAULTS = (
    SourceFault(
        "requantize-truncates",
        "requantization",
        "rounds down instead of half up",
        _REQUANTIZE,
        (("rounded = (product + half) >>", "rounded = product >>"),),
        requantizes,
        "a requantization",
    ),
    SourceFault(
        "requantize-shift-short",
        "requantization",
        "shifts by one bit too few",
        _REQUANTIZE,
        ((">> static_cast<int>(scaling.shift);", ">> static_cast<int>(scaling.shift - 1);"),),
        requantizes,
        "a requantization",
    ),
    SourceFault(
        "requantize-clamp-asymmetric",
        "requantization",
        "clamps to -qmax - 1 below",
        _REQUANTIZE,
        (
            (
                "rounded < -limit ? static_cast<sint<SUM>>(-limit)",
                "rounded < -limit - 1 ? static_cast<sint<SUM>>(-limit - 1)",
            ),
        ),
        saturates_low,
        "a value that is clamped to -qmax",
    ),
    SourceFault(
        "reciprocal-exponent-off",
        "requantization",
        "the reciprocal's shift is one too large",
        _REQUANTIZE,
        (("(exponent + length)", "(exponent + length + 1)"),),
        _normalizing,
        "a LayerNorm or a softmax",
    ),
    SourceFault(
        "root-bit-missing",
        "LayerNorm",
        "the square root stops one bit early",
        _REQUANTIZE,
        (("WIDTH / 2 - 1; i >= 0;", "WIDTH / 2 - 1; i >= 1;"),),
        unit("layer_norm"),
        "a LayerNorm",
    ),
    SourceFault(
        "layer-norm-sum-skips-channel",
        "LayerNorm",
        "the sum leaves out the first channel",
        _LAYER_NORM,
        (("sum[n] = before + x;", "sum[n] = c == 0 ? before : static_cast<sint<SUM_BITS>>(before + x);"),),
        unit("layer_norm"),
        "a LayerNorm",
    ),
    SourceFault(
        "layer-norm-variance-skips-channel",
        "LayerNorm",
        "the sum of squares leaves out the first channel",
        _LAYER_NORM,
        (("(multiply<16, 16>(x, x));", "(multiply<16, 16>(x, c == 0 ? wide_t(0) : x));"),),
        unit("layer_norm"),
        "a LayerNorm",
    ),
    SourceFault(
        "layer-norm-mean-kept",
        "LayerNorm",
        "the mean is not subtracted",
        _LAYER_NORM,
        (("* channels - sum[n]);", "* channels);"),),
        unit("layer_norm"),
        "a LayerNorm",
    ),
    SourceFault(
        "layer-norm-lane-mixed-up",
        "LayerNorm",
        "every token takes the first lane's deviation",
        _LAYER_NORM,
        (
            ("= {scaling[n].multiplier,", "= {scaling[0].multiplier,"),
            ("(scaling[n].shift + shift)", "(scaling[0].shift + shift)"),
        ),
        every(unit("layer_norm"), tokens(2)),
        "a LayerNorm over several tokens",
    ),
    SourceFault(
        "layer-norm-shift-ignored",
        "LayerNorm",
        "no channel is scaled by its power of two",
        _LAYER_NORM,
        (("(scaling[n].shift + shift)", "(scaling[n].shift)"),),
        shifted,
        "a LayerNorm with shifts",
    ),
    SourceFault(
        "layer-norm-shift-of-neighbour",
        "LayerNorm",
        "every channel takes the shift of the one before",
        _LAYER_NORM,
        (("memory.norm_shift[0][c]", "memory.norm_shift[0][c == 0 ? 0 : c - 1]"),),
        shifted,
        "a LayerNorm with shifts",
    ),
    SourceFault(
        "softmax-maximum-of-other-row",
        "softmax",
        "every query takes the first lane's maximum",
        _SOFTMAX,
        (("memory.row_maximum[tile][n] - ", "memory.row_maximum[tile][0] - "),),
        every(unit("softmax"), tokens(2)),
        "a softmax over several tokens",
    ),
    SourceFault(
        "softmax-index-clamped-early",
        "softmax",
        "distances are clamped to 15",
        _SOFTMAX,
        (("LAST_ENTRY = C::EXPONENTS - 1;", "LAST_ENTRY = 15;"),),
        unit("softmax"),
        "a softmax",
    ),
    SourceFault(
        "softmax-index-off",
        "softmax",
        "reads the exponent of the neighbouring distance",
        _SOFTMAX,
        (("memory.exponent[n][entry];", "memory.exponent[n][entry > 0 ? entry - 1 : 1];"),),
        unit("softmax"),
        "a softmax",
    ),
    SourceFault(
        "softmax-sum-starts-late",
        "softmax",
        "the sum starts again at the second key",
        _SOFTMAX,
        (("before = key == 0 ?", "before = key <= 1 ?"),),
        every(scaled(Scaling.RECIPROCAL), lambda layer, subject: layer.words["k"] > 1),
        "a softmax over several keys",
    ),
    SourceFault(
        "softmax-normalizer-misplaced",
        "softmax",
        "each query's normaliser goes to the query before",
        _SOFTMAX,
        (("memory.normalizer[copy][token] =", "memory.normalizer[copy][token > 0 ? token - 1 : 0] ="),),
        every(scaled(Scaling.RECIPROCAL), lambda layer, subject: layer.words["k"] > 1),
        "a softmax over several queries",
    ),
    SourceFault(
        "mean-skips-last-token",
        "token mean",
        "the sum leaves out the last token",
        _MEAN,
        (
            (
                "tile * C::T_N + n < static_cast<int>(d.tokens);",
                "tile * C::T_N + n + 1 < static_cast<int>(d.tokens);",
            ),
        ),
        unit("mean_tokens"),
        "a mean over tokens",
    ),
    SourceFault(
        "mean-shift-ignored",
        "token mean",
        "the mean is scaled by half of its factor",
        _MEAN,
        (("static_cast<uint<SHIFT_BITS>>(d.shift)};", "static_cast<uint<SHIFT_BITS>>(d.shift + 1)};"),),
        unit("mean_tokens"),
        "a mean over tokens",
    ),
)
