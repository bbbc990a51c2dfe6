"""Shapes of Vision Transformers straight from their architectures, many at once: no graph, no weights.

The layers are those that ``hw/scheduling`` makes of such a network. What depends on single weights is taken
as even or as expected: the two-digit rows of the values are spread over the heads, and rows that drain in
pairs meet in a bank as often as random rows do. Layers wait for the operands that they read; that a memory's
place is used again is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import pi

import numpy as np

from qvit_hls.hw.descriptor import Destination, Unit
from qvit_hls.hw.timing.network import ABSENT, NetworkShape

#: Entries of the table of exponents.
_EXPONENTS = 256


@dataclass(frozen=True, eq=False)
class VitArchitectures:
    """S networks of at most B blocks. Numbers may stand for arrays.

    Attributes:
        image_size, patch_size, channels, classes: int ``[S]`` or numbers.
        embed_dim: int ``[S]``.
        heads, head_dim, mlp_hidden: int ``[S, B]``; a block of 0 heads does not exist.
        shares: share of the rows with 8-bit weights, float ``[S, B, 6]``, of the queries, keys, values, the
            attention's output, and of the MLP's two layers.
        patch_share, head_share: the same of the patch embedding and the classifier, float ``[S]`` or numbers.
        class_token: whether the classifier reads a class token; else the mean over the patches.
        table_bits: of the codes that enter the activation function.
        wide_keys: whether keys have more than 4 bits: they are split into two digits then.
    """

    image_size: int | np.ndarray
    patch_size: int | np.ndarray
    channels: int | np.ndarray
    classes: int | np.ndarray
    embed_dim: np.ndarray
    heads: np.ndarray
    head_dim: np.ndarray
    mlp_hidden: np.ndarray
    shares: np.ndarray
    patch_share: float | np.ndarray = 0.25
    head_share: float | np.ndarray = 0.25
    class_token: bool = True
    table_bits: int = 8
    wide_keys: bool = True


def vit_shape(nets: VitArchitectures) -> NetworkShape:
    """The layers of all networks, int64 ``[S, L]``; what a network has not is absent.

    Raises:
        ValueError: the arrays' shapes do not belong together.
    """
    count = len(nets.heads)
    if np.ndim(nets.heads) != 2 or nets.shares.shape != (*nets.heads.shape, 6):
        raise ValueError(
            f"heads are [S, B] and shares [S, B, 6]; they are {np.shape(nets.heads)} and {nets.shares.shape}"
        )
    layers = _Layers(count)
    patch, image = np.asarray(nets.patch_size), np.asarray(nets.image_size)
    tokens = (image // patch) ** 2 + int(nets.class_token)
    first = int(nets.class_token)
    embed = np.asarray(nets.embed_dim)
    layers.add(Unit.LOAD_IMAGE, tokens=tokens, k=nets.channels, rows=1, first_token=first, pixels=image**2)
    constant = layers.add(Unit.LOAD_RESIDUAL, tokens=tokens, k=embed)
    residual = layers.linear(
        tokens, nets.channels * patch**2, embed, nets.patch_share, Destination.WIDE_ADD,
        first_token=first, after_vector=constant,
    )  # fmt: skip
    softmaxes: list[int] = []
    exists_before = np.zeros(count, bool)
    for block in range(nets.heads.shape[1]):
        heads, width = nets.heads[:, block], nets.head_dim[:, block]
        exists = heads > 0
        share = np.moveaxis(nets.shares[:, block], -1, 0)
        norm = layers.norm(tokens, embed, exists, after_gemm=residual)
        columns = heads * width
        layers.linear(
            tokens, embed, columns, share[0], Destination.ACTIVATION,
            present=exists, after_vector=norm, vector_by_tile=1,
        )  # fmt: skip
        keys = layers.linear(
            tokens, embed, columns, share[1], Destination.DIGIT,
            present=exists, after_vector=norm, vector_by_tile=1,
        )  # fmt: skip
        values = [
            layers.linear(
                tokens, embed, width, share[2], Destination.ACTIVATION_TRANSPOSED,
                present=head < heads, after_vector=norm, vector_by_tile=1,
            )
            for head in range(int(heads.max(initial=0)))
        ]  # fmt: skip
        last = layers.attention(nets, tokens, heads, width, keys, values, softmaxes, exists & ~exists_before)
        exists_before = exists_before | exists
        layers.linear(
            tokens, width, embed, share[3], Destination.WIDE_ADD,
            k_parts=heads, present=exists, after_gemm=last,
        )  # fmt: skip
        norm = layers.norm(tokens, embed, exists, after_gemm=layers.count)
        hidden = nets.mlp_hidden[:, block]
        layers.linear(
            tokens, embed, hidden, share[4], Destination.ACTIVATION,
            present=exists, after_vector=norm, vector_by_tile=1, table_entries=(1 << nets.table_bits) - 1,
        )  # fmt: skip
        residual = layers.linear(
            tokens, hidden, embed, share[5], Destination.WIDE_ADD,
            present=exists, after_gemm=layers.count, gemm_by_tile=1,
        )  # fmt: skip
    if nets.class_token:
        norm = layers.norm(1, embed, np.ones(count, bool), after_gemm=residual)
    else:
        mean = layers.add(Unit.MEAN_TOKENS, tokens=tokens, k=embed, rows=1, after_gemm=residual)
        norm = layers.add(Unit.LAYER_NORM, tokens=1, k=embed, after_vector=mean)
    logits = layers.linear(
        1, embed, nets.classes, nets.head_share, Destination.WIDE, after_vector=norm, vector_by_tile=1
    )
    layers.add(Unit.STORE_RESULT, tokens=1, k=nets.classes, after_gemm=logits)
    return layers.shape()


class _Layers:
    """Layers so far; each method returns 1 + the index of the last layer that it has added."""

    def __init__(self, networks: int) -> None:
        self._networks = networks
        self._columns: list[dict[str, np.ndarray]] = []  # numbers, or arrays over networks

    @property
    def count(self) -> int:
        """Layers."""
        return len(self._columns)

    def add(self, unit: Unit, *, present: np.ndarray | None = None, **values: int | np.ndarray) -> int:
        """A layer; all that is not given is 0. What an absent layer would take does not matter."""
        exists = True if present is None else present
        column = {"k_parts": 1, **values, "unit": np.where(exists, int(unit), ABSENT)}
        self._columns.append({name: np.asarray(value) for name, value in column.items()})
        return self.count

    def norm(self, tokens: int | np.ndarray, embed: np.ndarray, present: np.ndarray, after_gemm: int) -> int:
        """A LayerNorm whose moments are taken while its operand is written."""
        return self.add(
            Unit.LAYER_NORM, present=present, tokens=tokens, k=embed, rows=embed,
            after_gemm=after_gemm, gemm_by_tile=1,
        )  # fmt: skip

    def linear(
        self,
        tokens: int | np.ndarray,
        k: int | np.ndarray,
        rows: int | np.ndarray,
        share: float | np.ndarray,
        destination: Destination,
        *,
        present: np.ndarray | None = None,
        **values: int | np.ndarray,
    ) -> int:
        """A linear layer with a share of two-digit rows."""
        rows8 = np.floor(np.asarray(share) * rows + 0.5)
        same = 0 if destination == Destination.ACTIVATION_TRANSPOSED else _same_bank(rows, rows8)
        return self.add(
            Unit.GEMM, tokens=tokens, k=k, rows=rows, rows8=rows8, same_bank8=same, same_bank4=same,
            destination=destination, present=present, **values,
        )  # fmt: skip

    def attention(
        self,
        nets: VitArchitectures,
        tokens: int | np.ndarray,
        heads: np.ndarray,
        width: np.ndarray,
        keys: int,
        values: list[int],
        softmaxes: list[int],
        first: np.ndarray,
    ) -> int:
        """Scores, softmax and context of all heads; ``first``: the networks whose first attention this is."""
        last = 0
        exponents: list[int] = []

        def context(head: int) -> int:
            return self.add(
                Unit.GEMM, present=head < heads, tokens=width, k=tokens, rows=tokens, rows8=tokens,
                from_memory=1, destination=Destination.ACTIVATION_TRANSPOSED,
                after_gemm=values[head], after_vector=exponents[head],
            )  # fmt: skip

        for head in range(len(values)):
            present = head < heads
            scores = self.add(
                Unit.GEMM, present=present, tokens=tokens, k=width, rows=tokens,
                rows8=tokens if nets.wide_keys else 0, from_memory=1, destination=Destination.SCORES,
                after_gemm=keys, after_vector=softmaxes[-2] if len(softmaxes) > 1 else 0,
            )  # fmt: skip
            table = np.where(first, _EXPONENTS, 0) if head == 0 else 0
            softmax = self.add(
                Unit.SOFTMAX, present=present, tokens=tokens, k=tokens, table_entries=table,
                after_gemm=scores, gemm_by_tile=1,
            )  # fmt: skip
            softmaxes.append(softmax)
            exponents.append(softmax)
            if head > 0:
                last = context(head - 1)
        return context(len(values) - 1) if values else last

    def shape(self) -> NetworkShape:
        """All layers; a field in which networks do not differ is ``[1, L]``."""
        zero = np.zeros((), np.int64)
        shape = {}
        for f in fields(NetworkShape):
            columns = [column.get(f.name, zero) for column in self._columns]
            if f.name == "unit" or any(column.ndim for column in columns):
                columns = [np.broadcast_to(column, self._networks) for column in columns]
            else:
                columns = [column[None] for column in columns]
            # Layer by layer in memory, as the cycle model goes through them.
            shape[f.name] = np.stack(columns).astype(np.int64).T
        return NetworkShape(**shape)


def _same_bank(rows: int | np.ndarray, rows8: np.ndarray) -> np.ndarray:
    """Pairs of rows for one bank that random two-digit rows leave: half the mean surplus of a parity."""
    variance = rows8 * (np.asarray(rows) - rows8) / (4 * np.maximum(np.asarray(rows) - 1, 1))
    return np.floor(np.sqrt(variance * 2 / pi) + 0.5)
