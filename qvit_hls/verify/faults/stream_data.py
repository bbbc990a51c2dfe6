"""Faults in the packed data: digits, row parameters, tables, constants.

Each takes its target from the middle of the program, and one that the golden graph says is visible in the
project's own images: one step of a bias, say, changes no output of most rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from qvit_hls.hw.gemm_timing import round_up
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Op
from qvit_hls.verify.faults.fault import DataFault, NotInProjectError, Planting
from qvit_hls.verify.faults.subject import ProgramLayer, Subject
from qvit_hls.verify.faults.weight_stream import PARAMETER_FIELDS
from qvit_hls.verify.faults.where import shifted


def planting(subject: Subject, content: bytes, place: str, layer: ProgramLayer) -> Planting:
    """A changed stream whose first difference must be in ``layer``."""
    ports = dict(zip(subject.port_files, subject.stream.ports(content), strict=True))
    return Planting(ports, place, frozenset([subject.shown(layer)]))


def from_the_middle(layers: list[ProgramLayer]) -> Iterator[ProgramLayer]:
    """The middle layer, then its neighbours, further and further away."""
    middle = len(layers) // 2
    return iter(sorted(layers, key=lambda layer: abs(layers.index(layer) - middle)))


def linear_layers(subject: Subject) -> Iterator[ProgramLayer]:
    """Layers with streamed weights, the middle one first."""
    found = [layer for layer in subject.layers if layer.unit == "gemm" and not layer.words["digit_source"]]
    return from_the_middle(found)


def linear_op(subject: Subject, layer: ProgramLayer) -> ops.IntegerLinear:
    """The golden graph's operation of a linear layer."""
    op = subject.graph[layer.node].op
    assert isinstance(op, ops.IntegerLinear)
    return op


def streamed_rows(subject: Subject, layer: ProgramLayer) -> np.ndarray:
    """The graph's row at each place of the stream: of this head only, two-digit rows first."""
    op = linear_op(subject, layer)
    rows = np.arange(len(op.weight))
    if layer.head is not None:
        rows = rows[layer.head * layer.words["rows"] :][: layer.words["rows"]]
    return rows[np.argsort(op.row_bits[rows] != 8, kind="stable")]


def memory_column(subject: Subject, layer: ProgramLayer, column: int) -> int:
    """Where the activation memory holds an input channel: heads of attention start at whole words."""
    source = subject.graph[subject.graph[layer.node].inputs[0]]
    if not isinstance(source.op, ops.IntegerContext):
        return column
    width = source.shape[-1] // source.op.heads
    return column // width * round_up(width, subject.config.tile_depth) + column % width


def changed_rows(subject: Subject, layer: ProgramLayer, op: Op) -> np.ndarray:
    """Which of the graph's output rows another operation in the layer's place would change."""
    node = subject.traced_node(layer)
    changed = subject.values_with({layer.node: op})[node] != subject.values[node]
    return changed.any(axis=tuple(range(changed.ndim - 1)))


def _visible_row(subject: Subject, layer: ProgramLayer, op: Op, allowed: Callable[[int], bool]) -> int | None:
    """Place in the stream of the middle row that shows the change and is allowed, if there is one."""
    changed = changed_rows(subject, layer, op)
    rows = streamed_rows(subject, layer)
    places = [place for place, row in enumerate(rows) if changed[row] and allowed(place)]
    return places[len(places) // 2] if places else None


def _flip(content: bytes, offset: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[offset] ^= 1 << bit
    return bytes(changed)


def _flip_weight(bits: int, digit: int, bit: int) -> Callable[[Subject], Planting]:
    """Flip a bit of one digit (0 the high or only one, 1 the low one) of a row of ``bits`` bits."""

    def choose(subject: Subject) -> Planting:
        for layer in linear_layers(subject):
            op = linear_op(subject, layer)
            column = op.weight.shape[1] // 2
            weight = op.weight.astype(np.int16)
            low = ((weight + 8) & 15) - 8
            high = (weight - low) >> 4
            atom = weight if bits == 4 else (low if digit else high)
            flipped = (((atom & 15) ^ (1 << bit)) ^ 8) - 8
            factor = 16 if bits == 8 and not digit else 1
            weight[:, column] += (factor * (flipped - atom))[:, column]
            rows = streamed_rows(subject, layer)
            place = _visible_row(
                subject,
                layer,
                replace(op, weight=weight),
                lambda at: op.row_bits[rows[at]] == bits,  # noqa: B023
            )
            if place is not None:
                at = memory_column(subject, layer, column)
                offset, lowest = subject.stream.atom(layer.name, place, at, digit)
                where = f"{layer.name}, streamed row {place}, column {column}, bit {bit}"
                return planting(subject, _flip(subject.stream.content, offset, lowest + bit), where, layer)
        raise NotInProjectError(f"needs a visible weight in a row of {bits} bits")

    return choose


def _exchange_digits(subject: Subject) -> Planting:
    """High and low digit of every weight of one two-digit row."""
    for layer in linear_layers(subject):
        op = linear_op(subject, layer)
        weight = op.weight.astype(np.int16)
        low = ((weight + 8) & 15) - 8
        exchanged = 16 * low + ((weight - low) >> 4)
        rows = streamed_rows(subject, layer)
        place = _visible_row(
            subject,
            layer,
            replace(op, weight=exchanged),
            lambda at: op.row_bits[rows[at]] == 8,  # noqa: B023
        )
        if place is not None:
            content = bytearray(subject.stream.content)
            for column in range(layer.words["k"]):
                _exchange_atoms(content, *(subject.stream.atom(layer.name, place, column, d) for d in (0, 1)))
            return planting(subject, bytes(content), f"{layer.name}, streamed row {place}", layer)
    raise NotInProjectError("needs a visible row of two digits")


def _exchange_rows(subject: Subject) -> Planting:
    """The weights of a row and its neighbour of the same precision."""
    for layer in linear_layers(subject):
        op = linear_op(subject, layer)
        rows = streamed_rows(subject, layer)
        for place in range(len(rows) // 2, len(rows) - 1):
            here, there = rows[place], rows[place + 1]
            if op.row_bits[here] != op.row_bits[there]:
                continue
            weight = op.weight.copy()
            weight[[here, there]] = weight[[there, here]]
            if not changed_rows(subject, layer, replace(op, weight=weight)).any():
                continue
            content = bytearray(subject.stream.content)
            for column in range(layer.words["k"]):
                for digit in range(int(op.row_bits[here]) // 4):
                    pair = [subject.stream.atom(layer.name, at, column, digit) for at in (place, place + 1)]
                    _exchange_atoms(content, *pair)
            where = f"{layer.name}, streamed rows {place} and {place + 1}"
            return planting(subject, bytes(content), where, layer)
    raise NotInProjectError("needs two neighbouring rows of one precision")


def _exchange_atoms(content: bytearray, a: tuple[int, int], b: tuple[int, int]) -> None:
    values = [content[offset] >> lowest & 15 for offset, lowest in (a, b)]
    for (offset, lowest), value in zip((a, b), reversed(values), strict=True):
        content[offset] = content[offset] & ~(15 << lowest) | value << lowest


def _raise_parameter(name: str) -> Callable[[Subject], Planting]:
    """One more in a row's bias, multiplier or shift."""

    def choose(subject: Subject) -> Planting:
        low, width = PARAMETER_FIELDS[name]
        for layer in linear_layers(subject):
            op = linear_op(subject, layer)
            place = _visible_row(
                subject,
                layer,
                replace(op, **{name: getattr(op, name) + 1}),
                lambda at: subject.stream.parameter(layer.name, at, name) + 1 < 1 << width,  # noqa: B023
            )
            if place is not None:
                offset = subject.stream.parameters(layer.name, place)
                content = bytearray(subject.stream.content)
                bits = int.from_bytes(content[offset : offset + 8], "little") + (1 << low)
                content[offset : offset + 8] = bits.to_bytes(8, "little")
                return planting(subject, bytes(content), f"{layer.name}, streamed row {place}", layer)
        raise NotInProjectError(f"needs a row whose {name} shows one step")

    return choose


def _exchange_channels(subject: Subject) -> Planting:
    """The output channels of two neighbouring rows."""
    low, width = PARAMETER_FIELDS["channel"]
    mask = ((1 << width) - 1) << low
    for layer in linear_layers(subject):
        if layer.words["rows"] > 1:
            place = layer.words["rows"] // 2
            at = [subject.stream.parameters(layer.name, place - i) for i in (0, 1)]
            content = bytearray(subject.stream.content)
            here, there = (int.from_bytes(content[offset : offset + 8], "little") for offset in at)
            content[at[0] : at[0] + 8] = (here & ~mask | there & mask).to_bytes(8, "little")
            content[at[1] : at[1] + 8] = (there & ~mask | here & mask).to_bytes(8, "little")
            where = f"{layer.name}, streamed rows {place - 1} and {place}"
            return planting(subject, bytes(content), where, layer)
    raise NotInProjectError("needs a linear layer of several rows")


def _table_entry(subject: Subject) -> Planting:
    """One step in the entry of an elementwise table that the middle layer's input codes use most."""
    layers = [layer for layer in subject.layers if layer.unit == "gemm" and layer.words["table_entries"]]
    for layer in from_the_middle(layers):
        codes = subject.values[layer.node] + layer.words["qmax"]
        entry = int(np.bincount(codes.ravel()).argmax())
        offset = subject.stream.table_entry(layer.name, entry)
        return planting(
            subject, _stepped(subject.stream.content, offset), f"{layer.name}, entry {entry}", layer
        )
    raise NotInProjectError("needs an elementwise function")


def _exponent_entry(subject: Subject) -> Planting:
    """One step in the exponent of distance 0, which every row has."""
    for layer in subject.layers:
        if layer.unit == "softmax" and layer.words["table_entries"]:
            offset = subject.stream.table_entry(layer.name, 0)
            return planting(
                subject, _stepped(subject.stream.content, offset), f"{layer.name}, entry 0", layer
            )
    raise NotInProjectError("needs a softmax")


def _norm_shift(subject: Subject) -> Planting:
    """The lowest bit of the shift of the channel that reaches furthest."""
    layers = [layer for layer in subject.layers if shifted(layer, subject)]
    for layer in from_the_middle(layers):
        codes = np.abs(subject.normalized(layer))
        channel = int(codes.reshape(-1, codes.shape[-1]).max(axis=0).argmax())
        offset = subject.stream.table_entry(layer.name, channel)
        where = f"{layer.name}, channel {channel}"
        return planting(subject, _flip(subject.stream.content, offset, 0), where, layer)
    raise NotInProjectError("needs a LayerNorm with shifts")


def _constant(subject: Subject) -> Planting:
    """One step in the constant part of the residual stream."""
    for layer in subject.layers:
        if layer.unit == "load_residual":
            token, channel = layer.words["tokens"] // 2, layer.words["k"] // 2
            offset = subject.stream.constant(layer.name, token, channel, layer.words["k"])
            where = f"{layer.name}, token {token}, channel {channel}"
            return planting(subject, _flip(subject.stream.content, offset, 0), where, layer)
    raise NotInProjectError("needs a constant part of the residual stream")


def _stepped(content: bytes, offset: int) -> bytes:
    """One less in a signed byte, or one more where it is 0 or less, so that it stays within its bounds."""
    changed = bytearray(content)
    value = changed[offset] - 256 * (changed[offset] > 127)
    changed[offset] = (value - 1 if value > 0 else value + 1) & 255
    return bytes(changed)


STREAM_FAULTS = (
    DataFault("weight-bit-flipped", "packing", "one bit of a 4-bit weight", _flip_weight(4, 0, 1)),
    DataFault("weight-sign-flipped", "packing", "the sign of a 4-bit weight", _flip_weight(4, 0, 3)),
    DataFault("low-digit-bit-flipped", "packing", "the lowest bit of an 8-bit weight", _flip_weight(8, 1, 0)),
    DataFault("high-digit-bit-flipped", "packing", "one bit of a high digit", _flip_weight(8, 0, 0)),
    DataFault("row-digits-exchanged", "packing", "high and low digits of one row", _exchange_digits),
    DataFault("rows-exchanged", "packing", "the weights of two rows", _exchange_rows),
    DataFault("bias-off", "row parameters", "one step in a row's bias", _raise_parameter("bias")),
    DataFault(
        "multiplier-off", "row parameters", "one step in a row's multiplier", _raise_parameter("multiplier")
    ),
    DataFault("shift-off", "row parameters", "one step in a row's shift", _raise_parameter("shift")),
    DataFault("channels-exchanged", "row parameters", "the output channels of two rows", _exchange_channels),
    DataFault("table-entry-off", "tables", "one step in an elementwise table", _table_entry),
    DataFault("exponent-entry-off", "tables", "one step in the exponent table", _exponent_entry),
    DataFault("norm-shift-off", "tables", "one step in the shift of a LayerNorm's channel", _norm_shift),
    DataFault("constant-off", "residual stream", "one step in the position embedding", _constant),
)
