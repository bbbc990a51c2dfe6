"""Faults in the descriptors of ``program.bin``; most are in the middle layer of those that have the field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

from qvit_hls.hw.descriptor import DESCRIPTOR_WORDS, Descriptor, Destination, Scaling, Unit
from qvit_hls.ir import integer_ops as ops
from qvit_hls.verify.faults.fault import DataFault, NotInProjectError, Planting, Variant
from qvit_hls.verify.faults.stream_data import from_the_middle
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.where import passes, scores, to

_WORD = {field.name: index for index, field in enumerate(fields(Descriptor))}
_RECORD = 4 * DESCRIPTOR_WORDS

Change = Callable[[ProgramLayer, Subject], dict[str, int]]
Condition = Callable[[ProgramLayer, Subject], bool]
Places = Callable[[ProgramLayer, Subject], list[ProgramLayer]]


def _with_words(subject: Subject, layer: ProgramLayer, words: dict[str, int]) -> dict[str, bytes]:
    """``program.bin`` with other words in one descriptor."""
    path = f"{subject.data}/program.bin"
    content = bytearray((subject.folder / path).read_bytes())
    for name, value in words.items():
        at = layer.index * _RECORD + 4 * _WORD[name]
        content[at : at + 4] = (value & 0xFFFFFFFF).to_bytes(4, "little")
    return {path: bytes(content)}


def _fault(
    name: str,
    what: str,
    change: Change,
    condition: Condition,
    needs: str,
    *,
    shown_in: Places = lambda layer, subject: [layer],
    variant: Variant = "functional",
) -> DataFault:
    """Other words in the middle one of the layers that meet a condition.

    Args:
        shown_in: the layers in one of which the change must show first.
    """

    def choose(subject: Subject) -> Planting:
        for layer in from_the_middle([layer for layer in subject.layers if condition(layer, subject)]):
            words = change(layer, subject)
            place = f"{layer.name}: " + ", ".join(
                f"{key} {layer.words.get(key, layer.unit)} -> {value}" for key, value in words.items()
            )
            shown = frozenset(subject.shown(other) for other in shown_in(layer, subject))
            return Planting(_with_words(subject, layer, words), place, shown)
        raise NotInProjectError(f"needs {needs}")

    return DataFault(name, "descriptor", what, choose, variant)


def _softmaxes(layer: ProgramLayer, subject: Subject) -> list[ProgramLayer]:
    """The softmax of the same scores, or in the next image the first: the banks have changed turns."""
    all_of_them = [other for other in subject.layers if other.unit == "softmax"]
    own = (other for other in all_of_them if other.index > layer.index and other.head == layer.head)
    return [next(own), all_of_them[0]]


def _contexts(layer: ProgramLayer, subject: Subject) -> list[ProgramLayer]:
    """The product with the values of the same head."""
    behind = subject.layers[layer.index :]
    products = (other for other in behind if other.words["scaling"] == Scaling.RECIPROCAL)
    return [next(other for other in products if other.head == layer.head)]


def _epsilon(subject: Subject) -> Planting:
    """A higher bit of a LayerNorm's epsilon, the first that shows."""
    norms = [layer for layer in subject.layers if layer.unit == "layer_norm"]
    for layer in from_the_middle(norms):
        op = subject.graph[layer.node].op
        if not isinstance(op, ops.IntegerLayerNorm) or op.groups > 1:
            continue
        for bit in range(24, 46):
            changed = replace(op, epsilon=op.epsilon ^ (1 << bit))
            try:
                values = subject.values_with({layer.node: changed})
            except OverflowError:
                break
            if (values[layer.node] != subject.values[layer.node]).any():
                words = {"epsilon_low": changed.epsilon & 0xFFFFFFFF, "epsilon_high": changed.epsilon >> 32}
                place = f"{layer.name}: epsilon {op.epsilon} -> {changed.epsilon}"
                return Planting(_with_words(subject, layer, words), place, frozenset([layer.name]))
    raise NotInProjectError("needs a LayerNorm whose epsilon shows")


def _exchange(subject: Subject) -> Planting:
    """The descriptors of a head's scores and softmax."""
    path = f"{subject.data}/program.bin"
    content = bytearray((subject.folder / path).read_bytes())
    # Where the softmax loads a table, the exchange would only be a stream read in another order.
    pairs = [
        layer for layer in subject.layers if layer.unit == "softmax" and not layer.words["table_entries"]
    ]
    for layer in from_the_middle(pairs):
        at = layer.index * _RECORD
        before, here = content[at - _RECORD : at], content[at : at + _RECORD]
        content[at - _RECORD : at + _RECORD] = here + before
        first = subject.layers[layer.index - 1]
        place = f"{first.name} and {layer.name}"
        return Planting({path: bytes(content)}, place, frozenset([first.name]))
    raise NotInProjectError("needs a softmax that loads no table (several heads)")


def _is(*units: str) -> Condition:
    return lambda layer, subject: layer.unit in units


def _gemm(**words: int) -> Condition:
    return lambda layer, subject: (
        layer.unit == "gemm" and all(layer.words[name] == value for name, value in words.items())
    )


def _written_by_rows(layer: ProgramLayer, subject: Subject) -> bool:
    """A linear layer whose last cycle writes its last row; a transposed write may end with padding."""
    transposed = layer.words["destination"] == Destination.ACTIVATION_TRANSPOSED
    return layer.unit == "gemm" and not layer.words["digit_source"] and not transposed


def _saturating(layer: ProgramLayer, subject: Subject) -> bool:
    """A LayerNorm with a result beyond half of its bound."""
    if layer.unit != "layer_norm":
        return False
    return bool((abs(subject.normalized(layer)) > layer.words["qmax"] // 2).any())


_FROM_STREAM = _gemm(digit_source=0)

DESCRIPTOR_FAULTS = (
    _fault(
        "unit-wrong",
        "a LayerNorm is not run",
        lambda layer, subject: {"unit": int(Unit.STORE_RESULT), "k": 0},
        _is("layer_norm"),
        "a LayerNorm",
    ),
    _fault(
        "operand-base-off",
        "the operand is read one word too far",
        lambda layer, subject: {"x_base": layer.words["x_base"] + subject.config.tile_depth},
        _FROM_STREAM,
        "a linear layer",
    ),
    _fault(
        "keys-base-off",
        "the keys are read one word too far",
        lambda layer, subject: {"digit_base": layer.words["digit_base"] + subject.config.tile_depth},
        scores,
        "attention",
    ),
    _fault(
        "result-stride-off",
        "the result's token tiles are one word further apart",
        lambda layer, subject: {"y_stride": layer.words["y_stride"] + subject.config.tile_depth},
        lambda layer, subject: (
            layer.unit == "layer_norm" and layer.words["tokens"] > subject.config.tile_tokens
        ),
        "more tokens than a tile has",
    ),
    _fault(
        "tokens-short",
        "the last token is not computed",
        lambda layer, subject: {"tokens": layer.words["tokens"] - 1},
        lambda layer, subject: (
            layer.unit == "gemm"
            and layer.words["destination"] == Destination.ACTIVATION
            and (layer.words["tokens"] - 1) % subject.config.tile_tokens > 0
        ),
        "a linear layer whose last token tile has several tokens",
    ),
    _fault(
        "channels-short",
        "a LayerNorm leaves out the last channel",
        lambda layer, subject: {"k": layer.words["k"] - 1},
        _is("layer_norm"),
        "a LayerNorm",
    ),
    _fault(
        "products-short",
        "the scores leave out the last channel",
        lambda layer, subject: {"k": layer.words["k"] - 1},
        scores,
        "attention",
    ),
    _fault(
        "steps-short",
        "a matrix product stops one cycle early",
        lambda layer, subject: {"steps": layer.words["steps"] - 1},
        _written_by_rows,
        "a linear layer",
    ),
    _fault(
        "first-token-off",
        "the class token gets a patch's result",
        lambda layer, subject: {"first_token": 0},
        lambda layer, subject: layer.unit == "gemm" and layer.words["first_token"] > 0,
        "a class token",
    ),
    _fault(
        "destination-wrong",
        "scores are written without tracking their maximum",
        lambda layer, subject: {"destination": int(Destination.WIDE)},
        to(Destination.SCORES),
        "attention",
        shown_in=_softmaxes,
    ),
    _fault(
        "bound-half",
        "a LayerNorm is clamped to half of its bound",
        lambda layer, subject: {"qmax": layer.words["qmax"] // 2},
        _saturating,
        "a LayerNorm that needs its bound",
    ),
    _fault(
        "stream-operand-normalized",
        "what passes as it is becomes a LayerNorm",
        lambda layer, subject: {"scaling": int(Scaling.PER_ROW)},
        passes,
        "an operand from the residual stream",
    ),
    _fault(
        "score-multiplier-off",
        "the scores are an eighth larger",
        lambda layer, subject: {"multiplier": layer.words["multiplier"] * 9 // 8},
        scores,
        "attention",
    ),
    _fault(
        "softmax-constant-off",
        "the reciprocal's constant is halved",
        lambda layer, subject: {"multiplier": layer.words["multiplier"] // 2},
        _is("softmax"),
        "attention",
        shown_in=_contexts,
    ),
    _fault(
        "rows8-zero",
        "the digits of the keys are not split",
        lambda layer, subject: {"rows8": 0},
        lambda layer, subject: scores(layer, subject) and layer.words["rows8"] > 0,
        "attention",
        variant="packed",
    ),
    DataFault("epsilon-off", "descriptor", "one bit of a LayerNorm's epsilon", _epsilon),
    DataFault("descriptors-exchanged", "descriptor", "softmax runs before its scores", _exchange),
)
