"""What a frame's cycles depend on, layer by layer, as arrays: no weights, no addresses, no names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from qvit_hls.hw.descriptor import After, Descriptor, Destination, DigitSource, Scaling, Unit
from qvit_hls.hw.program import Layer, Program, StreamedWeights

#: In place of a unit: no layer. Networks of fewer layers are filled up with it.
ABSENT = -1


@dataclass(frozen=True, eq=False)
class NetworkShape:
    """The layers of one network, int64 ``[L]``, or of many, ``[S, L]``; fields broadcast against each other.

    Attributes:
        unit: a Unit, or ABSENT.
        tokens: of the activation operand, or of the tensor that a vector unit works on; of each mean.
        k, k_parts: summed channels: so many parts of so many channels, each padded to whole words of T_k
            (the heads of an attention's result). For LOAD_IMAGE, channels of the image.
        rows, rows8: output rows; how many have two digits. For LAYER_NORM, ``rows`` is not 0 where its
            moments are taken while the residual stream is written; for LOAD_IMAGE it is how many GEMMs
            must be complete before the next image may be loaded; for MEAN_TOKENS, the number of means.
        same_bank8, same_bank4: of the two-digit and of the one-digit rows, pairs that go to the same bank
            where two rows drain per cycle; they are the last ones of their kind.
        from_memory: 1 where the digits come from the digit memory instead of the weight stream.
        destination: a Destination.
        table_entries: of the table in the stream, 0 without.
        first_token: first token that is written; of MEAN_TOKENS, first one of the first mean.
        first_result: of MEAN_TOKENS, the token that the first mean becomes.
        pixels: of one image channel.
        after_gemm, after_vector: 1 + index of the last layer of that lane that must be complete, else 0.
        gemm_by_tile, vector_by_tile: 1 where a token tile waits only for the same token tile of it.
    """

    unit: np.ndarray
    tokens: np.ndarray
    k: np.ndarray
    k_parts: np.ndarray
    rows: np.ndarray
    rows8: np.ndarray
    same_bank8: np.ndarray
    same_bank4: np.ndarray
    from_memory: np.ndarray
    destination: np.ndarray
    table_entries: np.ndarray
    first_token: np.ndarray
    first_result: np.ndarray
    pixels: np.ndarray
    after_gemm: np.ndarray
    after_vector: np.ndarray
    gemm_by_tile: np.ndarray
    vector_by_tile: np.ndarray

    @property
    def layers(self) -> int:
        """L, absent ones included."""
        return int(self.unit.shape[-1])

    @property
    def atom_macs(self) -> np.ndarray:
        """Products of a signed 4-bit with an activation, padding excluded, ``[..., L]``; 0 but for GEMMs."""
        products = (self.tokens - self.first_token) * self.k * self.k_parts * (self.rows + self.rows8)
        return np.where(self.unit == Unit.GEMM, products, 0)

    @classmethod
    def of_program(cls, program: Program) -> NetworkShape:
        """The shape of a scheduled network."""
        descriptors = [layer.descriptor for layer in program.layers]
        same_bank = [_same_bank(layer) for layer in program.layers]
        lanes = np.array([d.unit == Unit.GEMM for d in descriptors])
        gemms, vectors = np.flatnonzero(lanes) + 1, np.flatnonzero(~lanes) + 1
        columns = []
        heads: list[Descriptor] = []  # contexts whose result is still to be read
        for d, (same8, same4) in zip(descriptors, same_bank, strict=True):
            k, parts = d.k, 1
            if d.unit == Unit.GEMM and d.scaling == Scaling.RECIPROCAL:
                heads.append(d)
            elif heads and d.unit == Unit.GEMM and d.digit_source == DigitSource.STREAM:
                if d.x_base == heads[0].y_base:
                    k, parts = heads[0].tokens, len(heads)
                heads = []
            after = After.of_word(d.after)
            columns.append(
                {
                    "unit": d.unit,
                    "tokens": d.tokens,
                    "k": k,
                    "k_parts": parts,
                    "rows": d.rows,
                    "rows8": d.rows8,
                    "same_bank8": same8,
                    "same_bank4": same4,
                    "from_memory": d.digit_source == DigitSource.MEMORY,
                    "destination": d.destination,
                    "table_entries": d.table_entries,
                    "first_token": d.first_token,
                    "first_result": d.patch if d.unit == Unit.MEAN_TOKENS else 0,
                    "pixels": d.height * d.width,
                    "after_gemm": gemms[after.gemms - 1] if after.gemms else 0,
                    "after_vector": vectors[after.vectors - 1] if after.vectors else 0,
                    "gemm_by_tile": after.gemm_by_tile,
                    "vector_by_tile": after.vector_by_tile,
                }
            )
        return cls(**{f.name: np.array([int(c[f.name]) for c in columns], np.int64) for f in fields(cls)})

    def select(self, index: int) -> NetworkShape:
        """One network ``[L]`` of many ``[S, L]``."""
        shape = np.broadcast_shapes(*(getattr(self, f.name).shape for f in fields(self)))
        return NetworkShape(
            **{f.name: np.broadcast_to(getattr(self, f.name), shape)[index] for f in fields(self)}
        )

    def compact(self) -> NetworkShape:
        """One network ``[L]`` without its absent layers.

        Raises:
            ValueError: these are many networks.
        """
        if self.unit.ndim != 1:
            raise ValueError(f"compact takes one network [L], not an array {self.unit.shape}")
        present = self.unit != ABSENT
        place = np.concatenate([[0], np.cumsum(present)])  # 1 + index -> 1 + index among those present
        result = NetworkShape(**{f.name: getattr(self, f.name)[present] for f in fields(self)})
        gemm = self.unit == Unit.GEMM
        moved = {}
        for name, lane in (("after_gemm", gemm), ("after_vector", present & ~gemm)):
            # An absent layer is complete with the one before it in its lane.
            latest = np.concatenate(
                [[0], np.maximum.accumulate(np.where(lane, np.arange(1, len(lane) + 1), 0))]
            )
            moved[name] = place[latest[getattr(result, name)]]
        return replace(result, **moved)


def _same_bank(layer: Layer) -> tuple[int, int]:
    """Pairs of rows that go to the same bank, of two-digit and of one-digit rows.

    Rows are streamed with even and odd channels in turn as far as there are both; the others pair up.
    """
    if layer.descriptor.destination == Destination.ACTIVATION_TRANSPOSED:
        return 0, 0
    for item in layer.stream:
        if isinstance(item, StreamedWeights):
            odd = item.parameters.channel % 2
            return unpaired(odd[: item.rows8]), unpaired(odd[item.rows8 :])
    return 0, 0


def unpaired(odd: np.ndarray) -> int:
    """Pairs of rows of one kind that go to the same bank, from whether each row's channel is odd."""
    return abs(2 * int(odd.sum()) - len(odd)) // 2


def stack(shapes: Sequence[NetworkShape]) -> NetworkShape:
    """Many networks ``[S, L]`` from networks ``[L]``, filled up with absent layers.

    Raises:
        ValueError: there are none.
    """
    if not shapes:
        raise ValueError("stack takes at least one network")
    most = max(shape.layers for shape in shapes)

    def rows(name: str) -> np.ndarray:
        result = np.full((len(shapes), most), ABSENT if name == "unit" else 0, np.int64)
        for row, shape in zip(result, shapes, strict=True):
            row[: shape.layers] = getattr(shape, name)
        return result

    return NetworkShape(**{f.name: rows(f.name) for f in fields(NetworkShape)})
