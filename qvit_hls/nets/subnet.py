"""One network of a search space, by what was chosen."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

#: Layers with weights in a block, in order; each has a share of 8-bit rows of its own.
BLOCK_LAYERS = ("attn.q", "attn.k", "attn.v", "attn.proj", "mlp.fc1", "mlp.fc2")


@dataclass(frozen=True)
class SubnetBlock:
    """Choices of one transformer block.

    Attributes:
        heads, head_dim: attention heads, and the width of queries, keys and values in each.
        mlp_ratio: hidden width of the MLP by the embedding's width.
        shares: share of 8-bit rows in each of ``BLOCK_LAYERS``.
    """

    heads: int
    head_dim: int
    mlp_ratio: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Subnet:
    """Choices of a whole network; equal networks are equal objects.

    Attributes:
        embed_dim: width of the residual stream.
        blocks: as many as the network is deep.
        patch_share, head_share: share of 8-bit rows in the patch embedding and the classifier.
        activation_bits: of all activations that enter a matrix product.
    """

    embed_dim: int
    blocks: tuple[SubnetBlock, ...]
    patch_share: float
    head_share: float
    activation_bits: int

    @property
    def depth(self) -> int:
        """Blocks."""
        return len(self.blocks)

    @property
    def key(self) -> str:
        """Text that is the same for the same network, and for no other; ``of_key`` reads it."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def of_key(cls, key: str) -> Subnet:
        """The network whose ``key`` this is."""
        fields = json.loads(key)
        blocks = tuple(
            SubnetBlock(**{**block, "shares": tuple(block["shares"])}) for block in fields["blocks"]
        )
        return cls(**{**fields, "blocks": blocks})

    def layer_shares(self) -> dict[str, float]:
        """Share of 8-bit rows by module name."""
        shares = {"patch_embed": self.patch_share}
        for i, block in enumerate(self.blocks):
            names = (f"blocks.{i}.{layer}" for layer in BLOCK_LAYERS)
            shares |= dict(zip(names, block.shares, strict=True))
        return shares | {"head": self.head_share}

    def with_share(self, share: float) -> Subnet:
        """The same network with one share of 8-bit rows in all layers."""
        blocks = tuple(
            SubnetBlock(block.heads, block.head_dim, block.mlp_ratio, (share,) * len(BLOCK_LAYERS))
            for block in self.blocks
        )
        return Subnet(self.embed_dim, blocks, share, share, self.activation_bits)
