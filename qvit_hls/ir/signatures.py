"""What each operation accepts: number of inputs, and dtype, dimensions and range of its attributes.

The operations' dataclasses give the Python types; this adds what a type cannot say, so that a graph
read from a file is checked completely (``ir/file_format.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from qvit_hls.ir import float_ops, integer_ops
from qvit_hls.ir.graph import Op
from qvit_hls.ir.integer_ops import BIAS_BITS, MAX_CHANNEL_SHIFT, MAX_SHIFT, MULTIPLIER_BITS
from qvit_hls.quant.levels import (
    EXPONENT_LEVELS,
    EXPONENT_TABLE_SIZE,
    MAX_RESIDUAL_BITS,
    WEIGHT_QMAX_4,
    WEIGHT_QMAX_8,
    activation_qmax,
)

#: Largest code of any value: a residual stream of MAX_RESIDUAL_BITS.
MAX_QMAX = activation_qmax(MAX_RESIDUAL_BITS)
#: Attributes without a narrower range stay within a signed 64-bit word.
MAX_INTEGER = (1 << 62) - 1
#: What ``Elementwise`` may compute.
FUNCTION_NAMES = (
    *("elu", "gelu", "gelu_tanh", "hardsigmoid", "hardswish", "leaky_relu", "mish", "quick_gelu", "relu"),
    *("relu6", "sigmoid", "silu", "softplus", "tanh"),
)


@dataclass(frozen=True)
class Range:
    """Limits, both included, of an integer attribute or of every element of a tuple."""

    low: int
    high: int = MAX_INTEGER


@dataclass(frozen=True)
class Array:
    """An array attribute.

    Attributes:
        dtypes: NumPy names of the dtypes it may have.
        dims: one entry per dimension, a number or a name; a name stands for the same number in all
            arrays of the operation. None: any number of dimensions.
        low, high: limits of the elements of an integer array, both included.
    """

    dtypes: tuple[str, ...]
    dims: tuple[str | int, ...] | None
    low: int = -MAX_INTEGER
    high: int = MAX_INTEGER


@dataclass(frozen=True)
class Signature:
    """What one operation accepts.

    Attributes:
        inputs: number of inputs, or None for one or more.
        attributes: what its attributes may be; attributes left out may be anything of their type.
        rule: yields problems that concern elements of several attributes, as ends of a sentence.
    """

    inputs: int | None
    attributes: Mapping[str, Range | Array] = field(default_factory=dict)
    rule: Callable[[Any], Iterator[str]] | None = None


def _row_precisions(op: Any) -> Iterator[str]:
    """Rows are 4-bit or 8-bit, and the codes of a 4-bit row of an integer weight fit in it."""
    if op.row_bits is None:
        return
    wrong = np.flatnonzero(~np.isin(op.row_bits, (4, 8)))
    if wrong.size:
        r = int(wrong[0])
        yield f"row_bits[{r}] is {int(op.row_bits[r])}, but a row has 4 or 8 bits"
    if op.weight.dtype == np.int8:
        largest = np.abs(op.weight.astype(int)).max(axis=1)
        over = np.flatnonzero((op.row_bits == 4) & (largest > WEIGHT_QMAX_4))
        if over.size:
            yield f"row {int(over[0])} has 4 bits, but a weight beyond {WEIGHT_QMAX_4} in magnitude"


def _known_function(op: Any) -> Iterator[str]:
    if op.function not in FUNCTION_NAMES:
        yield f"its function is {op.function}, but must be one of {', '.join(FUNCTION_NAMES)}"


def _odd_table(op: Any) -> Iterator[str]:
    if op.table.size % 2 == 0:
        yield f"its table has {op.table.size} entries, but codes -qmax..qmax are an odd number"


def _first_exponent(op: Any) -> Iterator[str]:
    if op.table[0] == 0:
        yield "its table starts with 0, but the exponent of a row's largest score must be at least 1"


_FLOAT = ("float32", "float64")
_POSITIVE = Range(1)
_QMAX = Range(1, MAX_QMAX)
_MULTIPLIER = Range(0, (1 << MULTIPLIER_BITS) - 1)
_SHIFT = Range(1, MAX_SHIFT)
_EXPONENT = Range(0, MAX_SHIFT)
_HALF_BIAS = 1 << (BIAS_BITS - 1)
_ROW_SCALES = {
    "bias": Array(_FLOAT, ("rows",)),
    "row_scale": Array(_FLOAT, ("rows",)),
    "row_bits": Array(("uint8",), ("rows",)),
}

SIGNATURES: dict[type[Op], Signature] = {
    # integer graph
    integer_ops.QuantizedInput: Signature(0, {"shape": _POSITIVE}),
    integer_ops.Patches: Signature(1, {"size": _POSITIVE}),
    integer_ops.IntegerLinear: Signature(
        1,
        {
            "weight": Array(("int8",), ("rows", "columns"), -WEIGHT_QMAX_8, WEIGHT_QMAX_8),
            "row_bits": Array(("uint8",), ("rows",)),
            "bias": Array(("int64",), ("rows",), -_HALF_BIAS, _HALF_BIAS - 1),
            "multiplier": Array(("int64",), ("rows",), _MULTIPLIER.low, _MULTIPLIER.high),
            "shift": Array(("int64",), ("rows",), _SHIFT.low, _SHIFT.high),
            "qmax": _QMAX,
        },
        _row_precisions,
    ),
    integer_ops.Table: Signature(
        1, {"table": Array(("int16",), ("codes",), -MAX_QMAX, MAX_QMAX)}, _odd_table
    ),
    integer_ops.Embed: Signature(
        1,
        {
            "constant": Array(("int32",), ("tokens", "channels"), -MAX_QMAX, MAX_QMAX),
            "offset": Range(0),
            "qmax": _QMAX,
        },
    ),
    integer_ops.IntegerAdd: Signature(2, {"qmax": _QMAX}),
    integer_ops.IntegerLayerNorm: Signature(
        1,
        {
            "epsilon": _POSITIVE,
            "multiplier": _MULTIPLIER,
            "exponent": _EXPONENT,
            "qmax": _QMAX,
            "shifts": Array(("uint8",), ("channels",), 0, MAX_CHANNEL_SHIFT),
            "groups": _POSITIVE,
        },
    ),
    integer_ops.IntegerRequantize: Signature(
        1, {"multiplier": _MULTIPLIER, "shift": Range(1, MAX_SHIFT - 1), "qmax": _QMAX}
    ),
    integer_ops.IntegerScores: Signature(
        2,
        {
            "heads": _POSITIVE,
            "multiplier": _MULTIPLIER,
            "shift": _SHIFT,
            "qmax": _QMAX,
            "bias": Array(("int16",), ("heads", "queries", "keys"), -MAX_QMAX, MAX_QMAX),
        },
    ),
    integer_ops.SoftmaxExponents: Signature(
        1, {"table": Array(("uint8",), (EXPONENT_TABLE_SIZE,), 0, EXPONENT_LEVELS)}, _first_exponent
    ),
    integer_ops.IntegerContext: Signature(
        2, {"heads": _POSITIVE, "multiplier": _MULTIPLIER, "exponent": _EXPONENT, "qmax": _QMAX}
    ),
    integer_ops.TakeToken: Signature(1, {"index": Range(0)}),
    integer_ops.Slice: Signature(1, {"axis": Range(0), "start": Range(0), "stop": _POSITIVE}),
    integer_ops.ConcatTokens: Signature(None),
    integer_ops.IntegerMeanTokens: Signature(1, {"multiplier": _MULTIPLIER, "shift": _SHIFT, "qmax": _QMAX}),
    # float graph
    float_ops.Input: Signature(0, {"shape": _POSITIVE}),
    float_ops.Constant: Signature(0, {"value": Array((*_FLOAT, "int64"), None)}),
    float_ops.FakeQuantize: Signature(1, {"qmax": _QMAX}),
    float_ops.Linear: Signature(
        1, {"weight": Array(_FLOAT, ("rows", "columns")), **_ROW_SCALES}, _row_precisions
    ),
    float_ops.Conv2d: Signature(
        1,
        {
            "weight": Array(_FLOAT, ("rows", "channels", "height", "width")),
            "stride": _POSITIVE,
            **_ROW_SCALES,
        },
        _row_precisions,
    ),
    float_ops.LayerNorm: Signature(
        1,
        {"weight": Array(_FLOAT, ("channels",)), "bias": Array(_FLOAT, ("channels",)), "groups": _POSITIVE},
    ),
    float_ops.Requantize: Signature(1),
    float_ops.Elementwise: Signature(1, {}, _known_function),
    float_ops.Reshape: Signature(1, {"shape": _POSITIVE}),
    float_ops.Permute: Signature(1, {"order": Range(0)}),
    float_ops.MatMul: Signature(2),
    float_ops.Add: Signature(2),
    float_ops.Scale: Signature(1, {"factor": Array(_FLOAT, None)}),
    float_ops.ConcatChannels: Signature(None),
    float_ops.MeanTokens: Signature(1),
    float_ops.Softmax: Signature(1, {"levels_per_octave": Range(0)}),
    float_ops.AttentionScores: Signature(
        2, {"heads": _POSITIVE, "bias": Array(_FLOAT, ("heads", "queries", "keys"))}
    ),
    float_ops.AttentionContext: Signature(2, {"heads": _POSITIVE}),
}

#: Every operation by the name that files give it.
OPS_BY_KIND: dict[str, type[Op]] = {op.kind: op for op in SIGNATURES}


def problems(op: Op, input_count: int) -> Iterator[str]:
    """What keeps ``op``, whose attributes have the right Python types, from meeting its signature.

    Yields:
        Ends of a sentence that starts with the node's name, without the full stop.
    """
    signature = SIGNATURES[type(op)]
    if signature.inputs is None and input_count == 0:
        yield "it has no inputs, but needs at least 1"
    elif signature.inputs is not None and input_count != signature.inputs:
        yield f"it has {input_count} inputs, but takes {signature.inputs}"
    sizes: dict[str, tuple[int, str]] = {}
    sound = True
    for item in fields(op):
        value, limits = getattr(op, item.name), signature.attributes.get(item.name)
        found: Iterator[str] = iter(())
        if isinstance(value, np.ndarray):
            found = _array_problems(item.name, value, limits if isinstance(limits, Array) else None, sizes)
        elif isinstance(limits, Range) and value is not None:
            found = _range_problems(item.name, value, limits)
        for problem in found:
            sound = False
            yield problem
    if sound and signature.rule is not None:
        yield from signature.rule(op)


def _range_problems(name: str, value: int | tuple[int, ...], limits: Range) -> Iterator[str]:
    elements = value if isinstance(value, tuple) else (value,)
    if any(not limits.low <= n <= limits.high for n in elements):
        shown = list(value) if isinstance(value, tuple) else value
        open_ended = limits.high == MAX_INTEGER
        allowed = f"at least {limits.low}" if open_ended else f"within {limits.low}..{limits.high}"
        yield f"{name} is {shown}, but must be {allowed}"


def _array_problems(
    name: str, array: np.ndarray, expected: Array | None, sizes: dict[str, tuple[int, str]]
) -> Iterator[str]:
    """Problems of one array; ``sizes`` collects what the named dimensions are, and where that was seen."""
    if expected is not None and array.dtype.name not in expected.dtypes:
        yield f"{name} has dtype {array.dtype.name}, but must have {' or '.join(expected.dtypes)}"
        return
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        yield f"{name} has elements that are not finite"
    if expected is None:
        return
    if expected.dims is not None and array.ndim != len(expected.dims):
        yield f"{name} has {array.ndim} dimensions, but must have {len(expected.dims)}"
        return
    for axis, (size, dim) in enumerate(zip(array.shape, expected.dims or (), strict=False)):
        if isinstance(dim, int):
            wanted, why = dim, "must"
        else:
            wanted, first = sizes.setdefault(dim, (size, name))
            why = f"has {dim} in common with {first} and must"
        if size != wanted:
            yield f"dimension {axis} of {name} is {size}, but {why} be {wanted}"
        if size == 0:
            yield f"dimension {axis} of {name} is 0"
    if array.dtype.kind in "iu" and array.size:
        low, high = int(array.min()), int(array.max())
        if low < expected.low or high > expected.high:
            allowed = f"{expected.low}..{expected.high}"
            yield f"{name} has elements from {low} to {high}, but must stay within {allowed}"
