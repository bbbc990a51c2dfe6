"""What every simulation is compared with: the golden graph's values, and how a result is reported."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qvit_hls.errors import QvitError
from qvit_hls.flow.build import Build
from qvit_hls.flow.images import ImageSet, input_node, load_images, random_images
from qvit_hls.flow.output import write_file
from qvit_hls.ir.graph import Graph
from qvit_hls.verify.compare import Comparison, LayerResult, Mismatch
from qvit_hls.verify.trace import TraceLayout

#: Golden values held at a time (8 bytes each).
_GOLDEN_WORDS = 1 << 25

#: Called with a stage's name, and how many of how many steps are done in it.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Top1:
    """Share of labelled images whose largest logit is the label's, by the simulation and by the graph."""

    simulated: float
    golden: float

    def to_json(self) -> dict[str, float]:
        """The shares as plain JSON values."""
        return {"simulated": self.simulated, "golden": self.golden}


def images_of(build: Build, graph: Graph, data: Path | None, count: int | None) -> ImageSet:
    """The user's images, or else the project's own vectors; beyond those, more of the same random sequence.

    Raises:
        QvitError: the file is not usable, or the project lacks the seed.
    """
    if data is not None:
        return load_images(data, graph, count)
    stored = load_images(build.folder / "vectors" / "images.npz", graph)
    if count is None or count <= len(stored):
        return ImageSet(stored.images[:count], None, "the project's own vectors")
    seed = build.manifest.get("seed")
    if not isinstance(seed, int) or seed < 0:
        raise QvitError(
            f"{build.folder / 'manifest.json'} has no integer 'seed' of 0 or more, which more than "
            f"{len(stored)} images are made from. Make the project again with qvit-hls gen."
        )
    return ImageSet(random_images(graph, count, seed), None, f"random images of seed {seed}")


class Reference:
    """Runs the golden graph beside a simulation: image codes for it, and the comparison of its traces."""

    def __init__(self, graph: Graph, layout: TraceLayout, images: ImageSet) -> None:
        """Start with nothing compared."""
        node = input_node(graph)
        self._graph, self._layout, self._images = graph, layout, images
        self._head = Graph(graph.name, (node,), (node.name,))
        self._comparison = Comparison(layout)
        self._logits: list[np.ndarray] = []
        self._golden_logits: list[np.ndarray] = []
        self.seconds = 0.0  #: in the golden graph

    def batches(self, words: int, least: int = 1) -> Iterator[slice]:
        """All images in parts of at most ``words`` trace words, but of ``least`` images at least."""
        return _slices(len(self._images), max(least, words // self._layout.words))

    def codes(self, batch: slice) -> np.ndarray:
        """The accelerator's input for some of the images, int8 ``[n, C, H, W]``."""
        return self._codes(self._images.images[batch])

    def compare(self, batch: slice, trace: np.ndarray, progress: Progress) -> np.ndarray:
        """Compare the traces int16 ``[n, words]`` of the next images; they come in order.

        Returns:
            The golden logits of these images, ``[n, classes]``.
        """
        self._logits.append(self._output(trace))
        return self._run(batch, trace, progress)

    def compare_logits(self, batch: slice, logits: np.ndarray, progress: Progress) -> np.ndarray:
        """For images without a trace: note their logits ``[n, classes]`` for the accuracy.

        Returns:
            The golden logits.
        """
        self._logits.append(logits)
        return self._run(batch, None, progress)

    def _run(self, batch: slice, trace: np.ndarray | None, progress: Progress) -> np.ndarray:
        part = torch.from_numpy(self._images.images[batch])
        golden = []
        for chunk in _slices(len(part), max(1, _GOLDEN_WORDS // self._layout.words)):
            started = time.perf_counter()
            values = {name: value.numpy() for name, value in self._graph.run(part[chunk]).items()}
            self.seconds += time.perf_counter() - started
            if trace is not None:
                self._comparison.add(values, trace[chunk])
            golden.append(values[self._graph.outputs[0]].reshape(chunk.stop - chunk.start, -1))
            progress("compare", batch.start + chunk.stop, len(self._images))
        self._golden_logits += golden
        return np.concatenate(golden)

    @property
    def layers(self) -> tuple[LayerResult, ...]:
        """One result per layer, in the accelerator's order."""
        return tuple(self._comparison.layers())

    @property
    def first(self) -> Mismatch | None:
        """The first mismatch of the first layer that has one."""
        return self._comparison.first

    @property
    def untraced(self) -> tuple[str, ...]:
        """Graph nodes without an own tensor in the trace; the next layer checks them."""
        entry = self._head.outputs[0]
        return tuple(name for name in self._layout.untraced(self._graph) if name != entry)

    @property
    def top1(self) -> Top1 | None:
        """Accuracy, where labels are known."""
        if self._images.labels is None:
            return None
        labels = self._images.labels
        return Top1(_accuracy(self._logits, labels), _accuracy(self._golden_logits, labels))

    def save_vector(self, path: Path) -> Path | None:
        """Write an .npz with the failing image's codes, the expected and the simulated tensor.

        Returns:
            The file; None where there is no mismatch, and then no file of an earlier run is left either.
        """
        path.unlink(missing_ok=True)
        first = self.first
        if first is None:
            return None
        content = io.BytesIO()
        np.savez(
            content,
            image=self._codes(self._images.images[first.image : first.image + 1])[0],
            expected=first.expected_tensor,
            got=first.got_tensor,
        )
        write_file(path, content.getvalue())
        return path

    def _codes(self, images: np.ndarray) -> np.ndarray:
        return self._head.run(torch.from_numpy(images))[self._head.outputs[0]].numpy().astype(np.int8)

    def _output(self, trace: np.ndarray) -> np.ndarray:
        output = self._graph.outputs[0]
        tensors = [tensor for tensor in self._layout.tensors if tensor.entry.node == output]
        # The last layer that holds them: as written to external memory, where that is traced.
        entries = [tensor.entry for tensor in tensors if tensor.layer == tensors[-1].layer]
        entries.sort(key=lambda entry: entry.start)
        return np.concatenate([entry.read(trace) for entry in entries], axis=2).reshape(len(trace), -1)


def mismatch_json(first: Mismatch | None, vector: Path | None) -> dict[str, Any] | None:
    """A first mismatch as plain JSON values."""
    if first is None:
        return None
    return {
        "layer": first.tensor.layer,
        "unit": first.tensor.unit,
        "tensor": first.tensor.entry.node,
        "image": first.image,
        "head": first.tensor.entry.head,
        "token": first.token,
        "channel": first.channel,
        "expected": first.expected,
        "got": first.got,
        "vector": None if vector is None else vector.name,
    }


def layers_json(layers: Sequence[LayerResult]) -> list[dict[str, Any]]:
    """How the layers compared, as plain JSON values."""
    return [
        {
            "layer": layer.layer,
            "unit": layer.unit,
            "tensors": list(layer.nodes),
            "values": layer.values,
            "mismatches": layer.mismatches,
        }
        for layer in layers
    ]


def _accuracy(logits: Sequence[np.ndarray], labels: np.ndarray) -> float:
    return float(np.mean(np.concatenate(logits).argmax(axis=1) == labels))


def _slices(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
