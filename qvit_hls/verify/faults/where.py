"""Which layers run a piece of the kernels: conditions on descriptors that the source faults share."""

from __future__ import annotations

from collections.abc import Callable

from qvit_hls.hw.descriptor import Destination, DigitSource, Scaling
from qvit_hls.verify.faults.subject import ProgramLayer, Subject

Where = Callable[[ProgramLayer, Subject], bool]


def every(*conditions: Where) -> Where:
    """All of these."""
    return lambda layer, subject: all(condition(layer, subject) for condition in conditions)


def either(*conditions: Where) -> Where:
    """At least one of these."""
    return lambda layer, subject: any(condition(layer, subject) for condition in conditions)


def unit(*names: str) -> Where:
    """Run by one of these units."""
    return lambda layer, subject: layer.unit in names


def to(*destinations: Destination) -> Where:
    """A GEMM that writes to one of these."""
    return lambda layer, subject: layer.unit == "gemm" and layer.words["destination"] in destinations


def adds(layer: ProgramLayer, subject: Subject) -> bool:
    """A GEMM that adds to what the wide memory holds."""
    return to(Destination.WIDE_ADD, Destination.SCORES_ADD)(layer, subject)


def scores(layer: ProgramLayer, subject: Subject) -> bool:
    """A GEMM that tracks the largest of what it writes."""
    return to(Destination.SCORES, Destination.SCORES_ADD)(layer, subject)


def scaled(source: Scaling) -> Where:
    """A GEMM with this source of multipliers."""
    return lambda layer, subject: layer.unit == "gemm" and layer.words["scaling"] == source


def digits_from(source: DigitSource) -> Where:
    """A GEMM with digits from there."""
    return lambda layer, subject: layer.unit == "gemm" and layer.words["digit_source"] == source


def gemm(layer: ProgramLayer, subject: Subject) -> bool:
    """Any GEMM."""
    return layer.unit == "gemm"


def requantizes(layer: ProgramLayer, subject: Subject) -> bool:
    """Its results are requantized."""
    return layer.unit in ("gemm", "layer_norm", "mean_tokens")


def saturates_low(layer: ProgramLayer, subject: Subject) -> bool:
    """Some result is clamped to -qmax, as far as the golden values tell."""
    value = subject.values.get(layer.node)
    return requantizes(layer, subject) and value is not None and value.min() == -layer.words["qmax"]


def two_digits(layer: ProgramLayer, subject: Subject) -> bool:
    """A GEMM with rows of two digits."""
    return layer.unit == "gemm" and layer.words["rows8"] > 0


def one_digit(layer: ProgramLayer, subject: Subject) -> bool:
    """A GEMM with rows of one digit."""
    return layer.unit == "gemm" and layer.words["rows8"] < layer.words["rows"]


def mixed_tile(layer: ProgramLayer, subject: Subject) -> bool:
    """A GEMM with a row tile of both precisions."""
    return layer.unit == "gemm" and any(tile.rows8 and tile.rows4 for tile in layer.tiles(subject.config))


def row_tiles(count: int) -> Where:
    """A GEMM of at least so many row tiles."""
    return lambda layer, subject: layer.unit == "gemm" and len(layer.tiles(subject.config)) >= count


def row_tile_within_lanes(layer: ProgramLayer, subject: Subject) -> bool:
    """A GEMM with a row tile that does not start at the first lane of a memory."""
    lanes = subject.config.tile_tokens
    return layer.unit == "gemm" and any(tile.first_row % lanes for tile in layer.tiles(subject.config))


def token_tiles(layer: ProgramLayer, subject: Subject) -> bool:
    """Tokens do not fit one tile."""
    return layer.words["tokens"] > subject.config.tile_tokens


def tokens(count: int) -> Where:
    """At least so many tokens."""
    return lambda layer, subject: layer.words["tokens"] >= count


def shifted(layer: ProgramLayer, subject: Subject) -> bool:
    """A LayerNorm with a shift for every channel."""
    return layer.unit == "layer_norm" and layer.words["table_entries"] > 0


def passes(layer: ProgramLayer, subject: Subject) -> bool:
    """A value of the residual stream that is requantized as it is."""
    return layer.unit == "layer_norm" and layer.words["scaling"] == Scaling.CONSTANT


def uses_table(layer: ProgramLayer, subject: Subject) -> bool:
    """A GEMM with an elementwise function, a softmax, or a LayerNorm with shifts."""
    return layer.unit == "softmax" or layer.words["table_entries"] > 0


def fills_dsp_rows(layer: ProgramLayer, subject: Subject) -> bool:
    """A GEMM on DSP lanes."""
    return layer.unit == "gemm" and subject.config.dsp_rows > 0


def fills_lut_rows(layer: ProgramLayer, subject: Subject) -> bool:
    """A GEMM with a tile that reaches the LUT lanes."""
    return layer.unit == "gemm" and any(
        tile.atoms > subject.config.dsp_rows for tile in layer.tiles(subject.config)
    )


def several_ports(layer: ProgramLayer, subject: Subject) -> bool:
    """The weight stream has more than one port."""
    return subject.config.weight_ports > 1


def paired(layer: ProgramLayer, subject: Subject) -> bool:
    """A GEMM on DSPs that multiply two rows by two tokens (A <= 7)."""
    return fills_dsp_rows(layer, subject) and subject.config.activation_bits <= 7


def tripled(layer: ProgramLayer, subject: Subject) -> bool:
    """A GEMM on DSPs that multiply three rows by one token (A = 8)."""
    return fills_dsp_rows(layer, subject) and subject.config.activation_bits == 8


def within_tile(layer: ProgramLayer, subject: Subject) -> bool:
    """A mean of tokens that begins behind the first lane of a token tile."""
    words = layer.words
    several = words["rows"] > 1 or words["first_token"] % subject.config.tile_tokens > 0
    return layer.unit == "mean_tokens" and several


def to_other_lanes(layer: ProgramLayer, subject: Subject) -> bool:
    """Means of tokens that become others than the first lane's."""
    words = layer.words
    several = words["rows"] > 1 or words["patch"] % subject.config.tile_tokens > 0
    return layer.unit == "mean_tokens" and several


def from_later_token(layer: ProgramLayer, subject: Subject) -> bool:
    """Means of tokens that do not begin with the source's first."""
    return layer.unit == "mean_tokens" and layer.words["first_token"] > 0


def to_later_token(layer: ProgramLayer, subject: Subject) -> bool:
    """Means of tokens of which the first one does not become the result's first token."""
    return layer.unit == "mean_tokens" and layer.words["patch"] > 0


def of_added_scores(layer: ProgramLayer, subject: Subject) -> bool:
    """A softmax of scores that were added to a constant."""
    return layer.unit == "softmax" and to(Destination.SCORES_ADD)(subject.layers[layer.index - 1], subject)
