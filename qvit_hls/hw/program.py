"""A program: the layers that an accelerator runs, with what each takes from the weight stream."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import Descriptor


@dataclass(frozen=True, eq=False)
class RowParameters:
    """Bias, multiplier, shift and output channel of each row, int64 ``[rows]``, in streaming order."""

    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    channel: np.ndarray


@dataclass(frozen=True, eq=False)
class StreamedWeights:
    """A linear layer's weights in streaming order.

    Attributes:
        codes: int8 ``[rows, k]``, the columns as the activation memory holds them (padding included),
            two-digit rows first.
        rows8: how many rows have two digits.
        parameters: of the same rows.
    """

    codes: np.ndarray
    rows8: int
    parameters: RowParameters


@dataclass(frozen=True, eq=False)
class StreamedTable:
    """A table that a layer brings, before its weights where it has some; int8 entries."""

    entries: np.ndarray


@dataclass(frozen=True, eq=False)
class StreamedConstant:
    """The residual stream's start, int16 ``[tokens, channels]``."""

    codes: np.ndarray


StreamItem = StreamedWeights | StreamedTable | StreamedConstant


@dataclass(frozen=True)
class TraceEntry:
    """Where a part of a layer's result lies in the trace, and which part of the reference it equals.

    Element (t, c) is at ``offset + t * token_pitch + c * channel_pitch``. The reference is the value of
    ``node`` (batch first); of four dimensions the head is taken; then channels from ``start``.
    """

    node: str
    offset: int
    tokens: int
    channels: int
    token_pitch: int
    channel_pitch: int
    start: int = 0
    head: int | None = None

    def read(self, trace: np.ndarray) -> np.ndarray:
        """The traced values ``[images, tokens, channels]`` of a trace ``[images, words]``."""
        index = (
            self.offset
            + np.arange(self.tokens)[:, None] * self.token_pitch
            + np.arange(self.channels)[None, :] * self.channel_pitch
        )
        return trace[:, index]

    def expected(self, value: np.ndarray) -> np.ndarray:
        """The part ``[images, tokens, channels]`` of the reference value that this entry equals."""
        part = value[:, self.head] if value.ndim == 4 else value
        return part[..., self.start : self.start + self.channels]


@dataclass(frozen=True, eq=False)
class Layer:
    """One descriptor, what it streams, and where its result appears in the trace.

    Attributes:
        name: of the model's layer; heads of one attention have a suffix (``blocks.0.attn.scores[1]``).
        macs: products of the operation itself, without padding; atom_macs counts two-digit rows twice.
    """

    name: str
    descriptor: Descriptor
    stream: tuple[StreamItem, ...] = ()
    trace: tuple[TraceEntry, ...] = ()
    macs: int = 0
    atom_macs: int = 0


@dataclass(frozen=True, eq=False)
class Program:
    """All layers of one frame.

    Attributes:
        output: the graph's node whose value is the result.
        image_shape: ``(channels, height, width)`` of the input codes.
        classes: result words.
        depths: channels per lane that the program needs of each memory, for the fit check.
    """

    name: str
    output: str
    config: AcceleratorConfig
    layers: tuple[Layer, ...]
    image_shape: tuple[int, int, int]
    classes: int
    depths: dict[str, int] = field(default_factory=dict)

    @property
    def trace_words(self) -> int:
        """16-bit words that the accelerator writes to one frame's trace."""
        return sum(layer.descriptor.trace_tokens * layer.descriptor.trace_channels for layer in self.layers)
