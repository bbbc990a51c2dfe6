"""Networks of a search space as rows of integers, so that many are drawn, changed and timed at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qvit_hls.hw.timing.vit import VitArchitectures
from qvit_hls.nets.space import SearchSpace
from qvit_hls.nets.subnet import BLOCK_LAYERS, Subnet, SubnetBlock

#: Genes of a network before those of its blocks.
_HEAD = ("depth", "embed_dim", "activation_bits", "patch_share", "head_share")
_DEPTH, _EMBED, _BITS, _PATCH, _CLASSIFIER = range(len(_HEAD))
#: Genes of each block.
_BLOCK = ("heads", "head_dim", "mlp_ratio", *(f"share_{layer}" for layer in BLOCK_LAYERS))
_SHARES = _BLOCK.index(f"share_{BLOCK_LAYERS[0]}")


class Genome:
    """The encoding of one space's networks: rows int64 ``[S, G]``.

    A gene is the position of what was chosen in the space's list of choices. Genes of blocks that a network
    has not are 0, so that equal networks are equal rows.

    Args:
        space: the search space.

    Attributes:
        choices: how many values each gene can take, int64 ``[G]``.
        is_share: which genes choose a share of 8-bit rows, bool ``[G]``.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        count = {name: len(getattr(space, name)) for name in ("heads", "head_dim", "mlp_ratio")}
        shares = len(space.eight_bit_share)
        head = [len(space.depth), len(space.embed_dim), len(space.activation_bits), shares, shares]
        block = [*count.values(), *[shares] * len(BLOCK_LAYERS)]
        self.choices = np.array(head + block * space.max_depth, np.int64)
        in_block = np.arange(len(_BLOCK)) >= _SHARES
        in_head = np.arange(len(_HEAD)) >= _PATCH
        self.is_share = np.concatenate([in_head, *[in_block] * space.max_depth])
        # Of each gene, which block it belongs to; -1 for those of the whole network.
        self._block = np.repeat(
            np.arange(-1, space.max_depth), [len(_HEAD), *[len(_BLOCK)] * space.max_depth]
        )
        self._depths = np.array(space.depth, np.int64)

    @property
    def length(self) -> int:
        """G, the number of genes."""
        return len(self.choices)

    # ------------------------------------------------------------ to and from networks

    def rows(self, subnets: Sequence[Subnet]) -> np.ndarray:
        """Networks of the space as rows, int64 ``[S, G]``.

        Raises:
            ValueError: a network has a choice that is none of the space's.
        """
        space = self.space
        result = np.zeros((len(subnets), self.length), np.int64)
        for row, subnet in zip(result, subnets, strict=True):
            share = space.eight_bit_share.index
            genes = [
                space.depth.index(subnet.depth),
                space.embed_dim.index(subnet.embed_dim),
                space.activation_bits.index(subnet.activation_bits),
                share(subnet.patch_share),
                share(subnet.head_share),
            ]
            for block in subnet.blocks:
                genes += [
                    space.heads.index(block.heads),
                    space.head_dim.index(block.head_dim),
                    space.mlp_ratio.index(block.mlp_ratio),
                    *map(share, block.shares),
                ]
            row[: len(genes)] = genes
        return result

    def subnets(self, rows: np.ndarray) -> list[Subnet]:
        """The networks that rows stand for."""
        space = self.space
        result = []
        for row in rows.tolist():
            genes = np.array(row[len(_HEAD) :], np.int64).reshape(-1, len(_BLOCK)).tolist()
            blocks = tuple(
                SubnetBlock(
                    space.heads[heads],
                    space.head_dim[head_dim],
                    space.mlp_ratio[ratio],
                    tuple(space.eight_bit_share[share] for share in shares),
                )
                for heads, head_dim, ratio, *shares in genes[: space.depth[row[_DEPTH]]]
            )
            result.append(
                Subnet(
                    space.embed_dim[row[_EMBED]],
                    blocks,
                    space.eight_bit_share[row[_PATCH]],
                    space.eight_bit_share[row[_CLASSIFIER]],
                    space.activation_bits[row[_BITS]],
                )
            )
        return result

    def architectures(self, rows: np.ndarray) -> VitArchitectures:
        """What the cycle model takes: as many blocks as the deepest has, ``wide_keys`` of the first."""
        space = self.space
        config = space.config(space.largest())
        depths = self.depths(rows)
        deepest = int(depths.max())
        blocks = rows[:, len(_HEAD) :].reshape(len(rows), space.max_depth, len(_BLOCK))[:, :deepest]
        embed, share = np.array(space.embed_dim)[rows[:, _EMBED]], np.array(space.eight_bit_share)
        hidden = embed[:, None] * np.array(space.mlp_ratio)[blocks[..., _BLOCK.index("mlp_ratio")]]
        exists = depths[:, None] > np.arange(deepest)
        heads = np.array(space.heads)[blocks[..., _BLOCK.index("heads")]]
        return VitArchitectures(
            image_size=config.image_size,
            patch_size=config.patch_size,
            channels=config.channels,
            classes=config.classes,
            embed_dim=embed,
            heads=np.where(exists, heads, 0),
            head_dim=np.array(space.head_dim)[blocks[..., _BLOCK.index("head_dim")]],
            mlp_hidden=np.rint(hidden).astype(np.int64),
            shares=share[blocks[..., _SHARES:]],
            patch_share=share[rows[:, _PATCH]],
            head_share=share[rows[:, _CLASSIFIER]],
            class_token=config.pooling == "cls",
            table_bits=config.table_bits,
            wide_keys=bool(self.activation_bits(rows)[0] > 4),
        )

    def depths(self, rows: np.ndarray) -> np.ndarray:
        """Blocks of each network, int64 ``[S]``."""
        return self._depths[rows[:, _DEPTH]]

    def activation_bits(self, rows: np.ndarray) -> np.ndarray:
        """Activation bits of each network, int64 ``[S]``."""
        return np.array(self.space.activation_bits, np.int64)[rows[:, _BITS]]

    # ------------------------------------------------------------ drawing and changing

    def canonical(self, rows: np.ndarray) -> np.ndarray:
        """The same networks with 0 for the genes of blocks that they have not."""
        return np.where(self._exists(rows), rows, 0)

    def with_uniform_share(self, rows: np.ndarray) -> np.ndarray:
        """The same architectures, all layers with the patch embedding's share of 8-bit rows."""
        return self.canonical(np.where(self.is_share, rows[:, _PATCH : _PATCH + 1], rows))

    def sample(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Random networks: all choices uniform and independent."""
        return self.canonical(generator.integers(self.choices, size=(count, self.length)))

    def mutate(
        self, rows: np.ndarray, rate: float, generator: np.random.Generator, free: Any = True
    ) -> np.ndarray:
        """Networks some of whose genes are drawn anew; blocks that are added are random.

        Args:
            rate: probability of each gene to become another of its choices, where there is one.
            free: genes that may change, bool ``[G]``.
        """
        other = (rows + generator.integers(1, np.maximum(self.choices, 2), size=rows.shape)) % self.choices
        change = (generator.random(rows.shape) < rate) & free
        changed = np.where(change, other, rows)
        added = self._exists(changed) & ~self._exists(rows)
        return self.canonical(np.where(added, generator.integers(self.choices, size=rows.shape), changed))

    def cross(
        self,
        first: np.ndarray,
        second: np.ndarray,
        generator: np.random.Generator,
        free: Any = True,
        share: float | np.ndarray = 0.5,
    ) -> np.ndarray:
        """Networks that take each gene from one of two parents; blocks that one has not, from the other.

        Args:
            first, second: parents, ``[S, G]`` each.
            free: genes that may come from the second parent, bool ``[G]``.
            share: probability of a gene to come from the second parent, a number or ``[S]``.
        """
        take = (generator.random(first.shape) < np.reshape(share, (-1, 1))) & free
        mine, theirs = self._exists(first), self._exists(second)
        return self.canonical(np.where(np.where(mine & theirs, take, theirs), second, first))

    def _exists(self, rows: np.ndarray) -> np.ndarray:
        """Which genes a network has, bool ``[S, G]``."""
        return self._block < self._depths[rows[:, [_DEPTH]]]
