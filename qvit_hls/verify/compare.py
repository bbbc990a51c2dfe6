"""Comparing simulated traces with the golden integer graph: every value of every layer, by equality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qvit_hls.verify.trace import TracedTensor, TraceLayout


@dataclass(frozen=True)
class Mismatch:
    """The first value of a layer that is not as the golden graph says, and the tensors it lies in.

    Attributes:
        tensor: the traced tensor.
        image: index of the image.
        token, channel: index in the node's value (channel counts from the node's first, not the entry's).
        expected, got: the two values.
        expected_tensor, got_tensor: the whole tensors of this image, int64 ``[tokens, channels]``.
    """

    tensor: TracedTensor
    image: int
    token: int
    channel: int
    expected: int
    got: int
    expected_tensor: np.ndarray
    got_tensor: np.ndarray


@dataclass(frozen=True)
class LayerResult:
    """How one layer compared, over all images and all its traced tensors."""

    layer: str
    unit: str
    nodes: tuple[str, ...]
    values: int
    mismatches: int


class Comparison:
    """Counts of equal and differing values per traced tensor; batches are added as they come."""

    def __init__(self, layout: TraceLayout) -> None:
        """Start with no images; ``layout`` says what is compared."""
        self._layout = layout
        self._mismatches = np.zeros(len(layout.tensors), np.int64)
        self._images = 0
        self._first: tuple[int, Mismatch] | None = None

    def add(self, values: Mapping[str, np.ndarray], trace: np.ndarray) -> None:
        """Compare the next images.

        Args:
            values: every value of the golden graph by name, int64, batch first.
            trace: int16 ``[images, words]`` of the same images.
        """
        for position, tensor in enumerate(self._layout.tensors):
            expected, got = tensor.entry.expected(values[tensor.entry.node]), tensor.entry.read(trace)
            differs = expected != got
            count = int(np.count_nonzero(differs))
            self._mismatches[position] += count
            # The earliest layer counts, not the earliest image: later layers only carry its fault on.
            if count and (self._first is None or position < self._first[0]):
                image, token, channel = (int(i) for i in np.unravel_index(np.argmax(differs), differs.shape))
                mismatch = Mismatch(
                    tensor=tensor,
                    image=self._images + image,
                    token=token,
                    channel=tensor.entry.start + channel,
                    expected=int(expected[image, token, channel]),
                    got=int(got[image, token, channel]),
                    expected_tensor=expected[image].astype(np.int64),
                    got_tensor=got[image].astype(np.int64),
                )
                self._first = (position, mismatch)
        self._images += len(trace)

    @property
    def first(self) -> Mismatch | None:
        """The first mismatch in the first layer, in the accelerator's order, that has one."""
        return None if self._first is None else self._first[1]

    def layers(self) -> list[LayerResult]:
        """One result per layer, in the accelerator's order."""
        grouped: dict[tuple[str, str], list[int]] = {}
        tensors = self._layout.tensors
        for position, tensor in enumerate(tensors):
            grouped.setdefault((tensor.layer, tensor.unit), []).append(position)
        return [
            LayerResult(
                layer=layer,
                unit=unit,
                nodes=tuple(dict.fromkeys(tensors[i].entry.node for i in positions)),
                values=self._images * sum(tensors[i].values for i in positions),
                mismatches=int(self._mismatches[positions].sum()),
            )
            for (layer, unit), positions in grouped.items()
        ]
