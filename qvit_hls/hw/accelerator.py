"""What is fixed when an accelerator is synthesized: its tile, its lanes, its memories, its functions."""

from __future__ import annotations

import json
from math import gcd
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from qvit_hls.errors import QvitError
from qvit_hls.quant.levels import MAX_ACTIVATION_BITS, MIN_ACTIVATION_BITS

#: One word of a weight port: 128 bits, 32 atoms of 4 bits.
PORT_BITS = 128
ATOMS_PER_WORD = PORT_BITS // 4
#: Products that one DSP48E2 cascade can sum before an 11-bit field overflows, by activation bits:
#: the largest power of two c with c * 8 * (2**(A-1) - 1) < 1024.
CASCADE = {4: 16, 5: 8, 6: 4, 7: 2, 8: 1}
#: Multiply-accumulates per DSP48E2: two rows by two tokens, or at A = 8 three rows by one token.
DSP_LANES = {4: 4, 5: 4, 6: 4, 7: 4, 8: 3}
MIN_ACCUMULATOR_BITS = 8
#: What the engine is made of: C++ that Vitis HLS schedules, or SystemVerilog.
Mac = Literal["hls", "rtl"]


class AcceleratorConfig(BaseModel):
    """One synthesizable accelerator; any program that fits it runs on it without a new synthesis.

    Attributes:
        mac: what the engine is made of; both run the same programs.
        tile_tokens: T_n, tokens that the engine works on at once; also the lanes of every memory.
        tile_rows: T_m, atom rows (a 4-bit weight row is one, an 8-bit row two).
        tile_depth: T_k, products summed per cycle for each token and atom row.
        activation_bits: A, width of the activation codes.
        dsp_rows: atom rows on DSP lanes; the other ``tile_rows - dsp_rows`` are on LUT lanes.
        weight_ports: 128-bit memory ports that the weight stream is striped over.
        drain_rows: R, rows that the RTL engine requantizes per cycle (the C++ engine takes one).
        activation_depth: channels that each lane of the activation memory holds.
        digit_depth: the same of the memory for attention keys and exponents.
        wide_depth: the same of the 16-bit memory (residual stream, scores, logits).
        weight_depth: steps (of tile_depth channels) that half of the weight buffer holds.
        max_row_tiles: row tiles of the largest matrix product; they are planned before it starts.
        table_bits: bits of the codes that enter the elementwise table; 0 leaves the table out.
        max_tokens: most tokens of a sequence; rows of the deferred softmax normalisation memory.
        max_channels: most channels of the residual stream; sizes the LayerNorm's accumulators.
        image_pixels: pixels that the image loader takes per cycle; divides the patch size, T_k and 16.
        image_ahead: whether a frame can take the next one's image: the activation memory keeps the image's
            region free for the whole frame. Otherwise the top's ``next_image_words`` is always 0.
        accumulator_bits: width of an accumulator, digits recombined and bias included.
        softmax, layer_norm, mean_tokens: whether the accelerator has these units.
        norm_shifts: whether its LayerNorm can scale each channel by a power of two.
        stream_operands: whether its LayerNorm unit can also pass the residual stream as it is, requantized.
        program_words, stream_words, image_words, result_words: elements that RTL simulation copies from
            each memory port, as for the model that the accelerator was made for; no limit of the hardware.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mac: Mac = "hls"
    tile_tokens: int = Field(ge=2, le=512)
    tile_rows: int = Field(ge=2, le=1024)
    tile_depth: int = Field(ge=2, le=32)
    activation_bits: int = Field(ge=MIN_ACTIVATION_BITS, le=MAX_ACTIVATION_BITS)
    dsp_rows: int = Field(ge=0)
    weight_ports: int = Field(ge=1, le=4)
    drain_rows: int = Field(default=1, ge=1, le=2)
    activation_depth: int = Field(ge=1)
    digit_depth: int = Field(ge=1)
    wide_depth: int = Field(ge=1)
    weight_depth: int = Field(ge=1)
    max_row_tiles: int = Field(ge=1)
    table_bits: int = Field(ge=0, le=10)
    max_tokens: int = Field(ge=1, le=4095)
    max_channels: int = Field(ge=1, le=4095)
    image_pixels: int = Field(ge=1, le=16)
    image_ahead: bool = True
    accumulator_bits: int = Field(ge=MIN_ACCUMULATOR_BITS, le=32)
    softmax: bool
    layer_norm: bool
    mean_tokens: bool
    norm_shifts: bool = False
    stream_operands: bool = False
    program_words: int = Field(default=1, ge=1)
    stream_words: int = Field(default=1, ge=1)
    image_words: int = Field(default=1, ge=1)
    result_words: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _tile_is_buildable(self) -> AcceleratorConfig:
        problems = []
        if self.tile_depth not in (2, 4, 8, 16, 32):
            problems.append(f"tile_depth is {self.tile_depth}; it is a power of two from 2 to 32")
        elif self.tile_tokens % self.tile_depth:
            problems.append(
                f"tile_tokens is {self.tile_tokens}; it is a multiple of tile_depth ({self.tile_depth}), so "
                "that transposed results are written as whole words"
            )
        if self.image_pixels not in (1, 2, 4, 8, 16) or self.image_pixels > self.tile_depth:
            problems.append(f"image_pixels is {self.image_pixels}; it is a power of two, at most tile_depth")
        if self.tile_tokens % 2 or self.tile_rows % 2:
            problems.append(
                f"tile_tokens {self.tile_tokens} and tile_rows {self.tile_rows} must both be even"
            )
        if self.drain_rows == 2 and self.tile_rows % 4:
            problems.append(
                f"tile_rows is {self.tile_rows}; to drain two rows at a time it is a multiple of 4, so that "
                "tiles hold whole pairs of two-digit rows"
            )
        rows_per_dsp = 3 if self.activation_bits == 8 else 2
        if self.dsp_rows > self.tile_rows or self.dsp_rows % rows_per_dsp:
            problems.append(
                f"dsp_rows is {self.dsp_rows}; at {self.activation_bits}-bit activations it is a multiple of "
                f"{rows_per_dsp}, at most tile_rows ({self.tile_rows})"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def cascade(self) -> int:
        """Products summed inside one DSP cascade before its fields are decoded."""
        return min(CASCADE[self.activation_bits], self.tile_depth)

    @property
    def beat_bits(self) -> int:
        """Bits of the weight stream that arrive per cycle."""
        return PORT_BITS * self.weight_ports

    @property
    def beats_per_step(self) -> int:
        """Cycles to load the weights of one step of a full tile; the last beat may be partly used."""
        return -(-self.tile_rows // self.rows_per_beat)

    @property
    def rows_per_beat(self) -> int:
        """Atom rows of one step that arrive per cycle; T_k divides a word, so they are whole."""
        return ATOMS_PER_WORD * self.weight_ports // self.tile_depth

    @property
    def digit_group(self) -> int:
        """Rows that one cycle loads from the digit memory; divides T_n and T_m / 2, so lanes stay aligned."""
        return gcd(self.tile_tokens, self.tile_rows // 2)

    @property
    def transposed_rows(self) -> int:
        """Rows that the drain writes per cycle when it transposes (T_k tokens of each)."""
        return self.tile_tokens // self.tile_depth

    @property
    def lanes(self) -> int:
        """Signed 4-bit x A-bit multiply-accumulates per cycle."""
        return self.tile_tokens * self.tile_rows * self.tile_depth

    @property
    def mac_dsps(self) -> int:
        """DSP48E2 slices of the MAC tile."""
        return self.tile_tokens * self.dsp_rows * self.tile_depth // DSP_LANES[self.activation_bits]


def parse_accelerator(text: str, origin: str) -> AcceleratorConfig:
    """Read a configuration from the JSON text of ``accelerator.json``.

    Raises:
        QvitError: the text is not JSON or not a valid configuration; ``origin`` names it.
    """
    try:
        return AcceleratorConfig.model_validate(json.loads(text))
    except ValidationError as error:
        raise QvitError(
            f"{origin}: {'.'.join(str(p) for p in item['loc']) or 'accelerator'}: {item['msg']}"
            for item in error.errors()
        ) from error
    except (ValueError, RecursionError) as error:
        raise QvitError(f"{origin} is not JSON: {error}") from error
