"""Architecture and number formats of a quantized Vision Transformer, validated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from qvit_hls.errors import QvitError
from qvit_hls.nets.setting_errors import sentences
from qvit_hls.quant.levels import MAX_ACTIVATION_BITS, MAX_RESIDUAL_BITS, MIN_ACTIVATION_BITS

#: Widest residual stream: LayerNorm's sums stay within 64 bits.
MAX_EMBED_DIM = 2048
#: Most inputs of a dot product and most rows of a layer other than the residual stream's.
MAX_WIDTH = 4095
MAX_TOKENS = 2048
MAX_DEPTH = 256
#: Smallest step of the attention scores: the last exponent, ``119 * exp(-255 * step)``, rounds to 0.
MIN_SCORE_STEP = 1 / 46

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(strict=True, ge=1)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BlockConfig(_Settings):
    """Widths of one transformer block; blocks may differ."""

    heads: Count
    head_dim: Count
    #: Hidden width of the MLP.
    mlp_hidden: Annotated[Count, Field(le=MAX_WIDTH)]

    @property
    def attention_dim(self) -> int:
        """Width of queries, keys and values over all heads."""
        return self.heads * self.head_dim

    @model_validator(mode="after")
    def _fits(self) -> BlockConfig:
        if self.attention_dim > MAX_WIDTH:
            raise ValueError(
                f"heads * head_dim is {self.heads} * {self.head_dim} = {self.attention_dim}; "
                f"it should be at most {MAX_WIDTH}."
            )
        return self


class VitConfig(_Settings):
    """A Vision Transformer and the number formats of everything in it."""

    #: Images are square, in pixels.
    image_size: Count
    channels: Count = 3
    #: Side of a square patch in pixels.
    patch_size: Count
    classes: Annotated[Count, Field(le=MAX_WIDTH)]
    #: Width of the residual stream.
    embed_dim: Annotated[Count, Field(le=MAX_EMBED_DIM)]
    blocks: tuple[BlockConfig, ...]
    #: What the classifier reads: a class token, or the mean over the patches (then there is no such token).
    pooling: Literal["cls", "mean"] = "cls"
    #: A learned factor per channel on every residual branch.
    layer_scale: bool = False
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu"

    #: Bits of every activation that enters a matrix product.
    activation_bits: Annotated[int, Field(strict=True, ge=MIN_ACTIVATION_BITS, le=MAX_ACTIVATION_BITS)] = 7
    residual_bits: Annotated[int, Field(strict=True, ge=12, le=MAX_RESIDUAL_BITS)] = 16
    #: Bits of the codes that enter the activation function, which is a table over all of them.
    table_bits: Annotated[int, Field(strict=True, ge=4, le=10)] = 8
    #: Step of the attention scores.
    score_step: Annotated[float, Field(ge=MIN_SCORE_STEP, le=1)] = 1 / 32
    layer_norm_eps: Annotated[float, Field(gt=0, le=0.1)] = 1e-6

    #: Share of the rows of a layer that get 8 bits when rows are allocated.
    eight_bit_share: Share = 0.25
    #: The same for single layers, by module name (``blocks.3.mlp.fc1``).
    layer_eight_bit_share: dict[str, Share] = Field(default_factory=dict)

    #: Normalisation that the images have had, per channel; for users of the model, not used here.
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    class_names: tuple[str, ...] | None = None

    @property
    def grid(self) -> int:
        """Patches along a side of the image."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """Length of the token sequence, the class token included."""
        return self.grid**2 + (self.pooling == "cls")

    def layer_names(self) -> Iterator[str]:
        """Module names of all layers with weights, in order."""
        yield "patch_embed"
        for i in range(len(self.blocks)):
            yield from (f"blocks.{i}.attn.{part}" for part in ("q", "k", "v", "proj"))
            yield from (f"blocks.{i}.mlp.{part}" for part in ("fc1", "fc2"))
        yield "head"

    def share_of(self, layer: str) -> float:
        """The 8-bit share of one layer, by module name."""
        return self.layer_eight_bit_share.get(layer, self.eight_bit_share)

    @field_validator("layer_eight_bit_share", mode="after")
    @classmethod
    def _sorted(cls, shares: dict[str, float]) -> dict[str, float]:
        return dict(sorted(shares.items()))

    @model_validator(mode="after")
    def _consistent(self) -> VitConfig:
        problems = list(self._problems())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        if not 1 <= len(self.blocks) <= MAX_DEPTH:
            yield f"there are {len(self.blocks)} blocks; there should be 1 to {MAX_DEPTH}."
        if self.image_size % self.patch_size:
            yield (
                f"patch_size {self.patch_size} does not divide image_size {self.image_size}; "
                "images are cut into whole patches."
            )
        elif self.tokens > MAX_TOKENS:
            yield (
                f"image_size {self.image_size} and patch_size {self.patch_size} make {self.tokens} tokens; "
                f"there should be at most {MAX_TOKENS}."
            )
        if (inputs := self.channels * self.patch_size**2) > MAX_WIDTH:
            yield (
                f"a patch of {self.channels} x {self.patch_size} x {self.patch_size} has {inputs} values; "
                f"it should have at most {MAX_WIDTH}."
            )
        known = set(self.layer_names())
        for name in self.layer_eight_bit_share:
            if name not in known:
                yield (
                    f"layer_eight_bit_share names {name}, which is no layer of this model; "
                    "a layer's name is like patch_embed, blocks.0.attn.q, blocks.0.mlp.fc1 or head."
                )
        for field in ("mean", "std"):
            values = getattr(self, field)
            if values is not None and len(values) != self.channels:
                yield (
                    f"{field} should have one value for each of {self.channels} channels; "
                    f"it has {len(values)}."
                )
        if self.class_names is not None and len(self.class_names) != self.classes:
            yield (
                f"class_names should have one name for each of {self.classes} classes; "
                f"it has {len(self.class_names)}."
            )


def parse_config(data: object) -> VitConfig:
    """A configuration from plain data (a mapping as in a model file).

    Raises:
        QvitError: every problem found, with its path.
    """
    try:
        return VitConfig.model_validate(data)
    except ValidationError as error:
        raise QvitError(
            [line for details in error.errors() for line in sentences(details, "config")]
        ) from None
