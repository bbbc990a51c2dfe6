"""Layer descriptors: the 32-word records that drive the engine at run time.

``hls_kernels/hls/descriptor.hpp`` and ``hls_kernels/rtl/qvit_pkg.sv`` list the same words in the same order;
a test holds the three together.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

DESCRIPTOR_WORDS = 32
#: Bits of each count of layers in the word ``after``.
AFTER_COUNT_BITS = 15


class Unit(IntEnum):
    """Which part of the engine a descriptor drives."""

    LOAD_IMAGE = 0
    LOAD_RESIDUAL = 1
    GEMM = 2
    LAYER_NORM = 3
    SOFTMAX = 4
    MEAN_TOKENS = 5
    STORE_RESULT = 6


class Memory(IntEnum):
    """The on-chip memories; NONE where a descriptor has nothing to trace."""

    ACTIVATION = 0
    DIGIT = 1
    WIDE = 2
    NONE = 3


class DigitSource(IntEnum):
    """Where a GEMM takes the operand from that is split into digits."""

    STREAM = 0
    MEMORY = 1


class Destination(IntEnum):
    """Where a GEMM writes.

    WIDE_ADD and SCORES_ADD add to what the wide memory holds (a residual stream, a constant) and clamp the
    sum; SCORES and SCORES_ADD track the maximum of what they write, for each token.
    """

    ACTIVATION = 0
    ACTIVATION_TRANSPOSED = 1
    DIGIT = 2
    WIDE = 3
    WIDE_ADD = 4
    SCORES = 5
    SCORES_ADD = 6


class Scaling(IntEnum):
    """Where a GEMM takes each row's multiplier and shift from."""

    PER_ROW = 0
    CONSTANT = 1
    RECIPROCAL = 2


@dataclass(frozen=True)
class After:
    """What a layer waits for. GEMMs run in one lane of the engine, other layers in another, each in order.

    Attributes:
        gemms, vectors: how many first layers of either lane must be complete.
        gemm_by_tile, vector_by_tile: the last of them may still be running: a token tile waits only until
            that layer has written the same token tile.
    """

    gemms: int = 0
    vectors: int = 0
    gemm_by_tile: bool = False
    vector_by_tile: bool = False

    def word(self) -> int:
        """The descriptor's word: counts of 15 bits, GEMMs lowest; the vector lane's bit, the GEMM lane's.

        Raises:
            OverflowError: a count does not fit.
        """
        if max(self.gemms, self.vectors) >> AFTER_COUNT_BITS:
            raise OverflowError(
                f"layers wait for {max(self.gemms, self.vectors):,} others; 32,767 can be counted"
            )
        counts = self.gemms | self.vectors << AFTER_COUNT_BITS
        return (
            counts
            | self.vector_by_tile << 2 * AFTER_COUNT_BITS
            | self.gemm_by_tile << 2 * AFTER_COUNT_BITS + 1
        )

    @classmethod
    def of_word(cls, word: int) -> After:
        """The reverse of :meth:`word`."""
        mask = (1 << AFTER_COUNT_BITS) - 1
        return cls(
            word & mask,
            word >> AFTER_COUNT_BITS & mask,
            bool(word >> 2 * AFTER_COUNT_BITS + 1 & 1),
            bool(word >> 2 * AFTER_COUNT_BITS & 1),
        )


@dataclass(frozen=True)
class Descriptor:
    """One step of a program. All fields are unsigned 32-bit; unused ones are 0.

    Addresses count channels of a lane: value (token t, channel c) of a tensor is in lane ``t % T_n`` at
    ``base + t // T_n * stride + c``.

    Attributes:
        unit: a Unit. steps: cycles of the unit's main loop; a GEMM runs exactly this many.
        trace_*: the region that holds the result, for the trace: [trace_tokens][trace_channels].
        tokens: tokens of the activation operand, or of the tensor that a vector unit works on; MEAN_TOKENS:
            tokens in each mean.
        k, k_steps: summed channels, and steps of T_k that hold them.
        x_base, x_stride: activation operand (GEMM) or source tensor (vector units).
        rows, rows8: output rows; the first rows8 of them have two digits. LAYER_NORM: rows is k where the
            additions before it are all that was written to its source, so that its moments could be taken
            meanwhile, or where it needs none, else 0. LOAD_IMAGE: rows is how many first GEMMs must be
            complete before the next image may take this one's place. MEAN_TOKENS: rows is the number of
            means; mean j is of the tokens from ``first_token + j`` of the source on, and becomes token
            ``patch + j`` of the result.
        digit_source, digit_base, digit_stride: the operand that is split into digits.
        destination, y_base, y_stride: the result.
        first_token: results of tokens before this are dropped (the class token's place). MEAN_TOKENS: first
            token of the first mean.
        scaling, multiplier, shift: requantization; for SOFTMAX and LAYER_NORM the constant of the
            reciprocal and its exponent. A LAYER_NORM of CONSTANT scaling requantizes its source as it is:
            with 0 for the moments and one channel, of epsilon 1.
        qmax: results are clamped to -qmax..qmax.
        table_entries: entries of the table that the stream carries for this layer (0: none). LAYER_NORM:
            each channel's shift, so k of them, or none where all are 0.
        epsilon_low, epsilon_high: 64-bit epsilon of LAYER_NORM.
        patch, height, width: LOAD_IMAGE; the image's channels are in k. MEAN_TOKENS: patch is the token of
            the result that the first mean becomes.
        after: what must be complete before this layer may begin, as :class:`After` packs it; an engine
            that runs one layer after the other needs not look at it.
    """

    unit: int
    steps: int = 0
    trace_memory: int = Memory.NONE
    trace_base: int = 0
    trace_stride: int = 0
    trace_tokens: int = 0
    trace_channels: int = 0
    tokens: int = 0
    k: int = 0
    k_steps: int = 0
    x_base: int = 0
    x_stride: int = 0
    rows: int = 0
    rows8: int = 0
    digit_source: int = 0
    digit_base: int = 0
    digit_stride: int = 0
    destination: int = 0
    y_base: int = 0
    y_stride: int = 0
    first_token: int = 0
    scaling: int = 0
    multiplier: int = 0
    shift: int = 0
    qmax: int = 0
    table_entries: int = 0
    epsilon_low: int = 0
    epsilon_high: int = 0
    patch: int = 0
    height: int = 0
    width: int = 0
    after: int = 0

    def words(self) -> np.ndarray:
        """The record, uint32 ``[32]``.

        Raises:
            OverflowError: a field does not fit 32 unsigned bits.
        """
        return np.array([int(getattr(self, field.name)) for field in fields(self)], dtype=np.uint32)
