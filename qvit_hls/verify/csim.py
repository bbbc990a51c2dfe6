"""Proving a generated project: its C-simulation must equal the golden integer graph in every layer."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qvit_hls import __version__
from qvit_hls.errors import QvitError
from qvit_hls.flow.build import Build, read_build
from qvit_hls.flow.compile import Program, compile_simulation
from qvit_hls.flow.images import ImageSet, input_node, load_images, random_images
from qvit_hls.flow.output import write_file, write_json
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.ir.file_format import load_graph
from qvit_hls.ir.graph import Graph
from qvit_hls.verify.compare import Comparison, LayerResult, Mismatch
from qvit_hls.verify.simulator import Simulator
from qvit_hls.verify.trace import TraceLayout, read_layout

#: Trace words simulated before they are compared, and golden values held at a time (8 bytes each).
_SIMULATED_WORDS = 1 << 27
_GOLDEN_WORDS = 1 << 25

#: Called with a stage's name, and how many of how many images are done in it.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Top1:
    """Share of labelled images whose largest logit is the label's, by the simulation and by the graph."""

    simulated: float
    golden: float


@dataclass(frozen=True)
class CsimReport:
    """The outcome of a C-simulation.

    Attributes:
        variant: ``functional`` or ``packed``.
        images: how many.
        origin: where they come from.
        layers: one result per layer, in the accelerator's order.
        untraced: graph nodes without an own tensor in the trace; the next layer checks them.
        first: the first mismatch of the first layer that has one.
        vector: file with the failing image and tensors, where there is a mismatch.
        top1: where labels are known.
        program: how the simulation was compiled.
        simulation_seconds, golden_seconds: time in the C-simulation and in the golden graph.
    """

    variant: str
    images: int
    origin: str
    layers: tuple[LayerResult, ...]
    untraced: tuple[str, ...]
    first: Mismatch | None
    vector: Path | None
    top1: Top1 | None
    program: Program
    simulation_seconds: float
    golden_seconds: float

    @property
    def passed(self) -> bool:
        """Whether every value of every layer is equal."""
        return self.first is None

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        first = self.first
        return {
            "qvit_hls": __version__,
            "passed": self.passed,
            "variant": self.variant,
            "images": {"count": self.images, "origin": self.origin},
            "values": sum(layer.values for layer in self.layers),
            "mismatches": sum(layer.mismatches for layer in self.layers),
            "first_mismatch": None
            if first is None
            else {
                "layer": first.tensor.layer,
                "unit": first.tensor.unit,
                "tensor": first.tensor.entry.node,
                "image": first.image,
                "head": first.tensor.entry.head,
                "token": first.token,
                "channel": first.channel,
                "expected": first.expected,
                "got": first.got,
                "vector": None if self.vector is None else self.vector.name,
            },
            "top1": None
            if self.top1 is None
            else {"simulated": self.top1.simulated, "golden": self.top1.golden},
            "layers": [
                {
                    "layer": layer.layer,
                    "unit": layer.unit,
                    "tensors": list(layer.nodes),
                    "values": layer.values,
                    "mismatches": layer.mismatches,
                }
                for layer in self.layers
            ],
            "untraced": list(self.untraced),
            "compiler": {"program": self.program.compiler, "flags": list(self.program.flags)},
            "seconds": {
                "compile": self.program.seconds,
                "simulation": self.simulation_seconds,
                "golden": self.golden_seconds,
            },
        }


@one_torch_thread()
def run_csim(
    folder: Path,
    *,
    data: Path | None = None,
    count: int | None = None,
    packed: bool = False,
    jobs: int | None = None,
    timeout: float = 600.0,
    progress: Progress = lambda stage, done, total: None,
) -> CsimReport:
    """Compile the C-simulation of a project, run it, and compare every layer with the golden graph.

    Writes ``reports/csim-functional.json`` or ``reports/csim-packed.json`` in the project and, at a
    mismatch, an .npz beside it with ``image`` (int8 codes), ``expected`` and ``got`` (int64 ``[tokens,
    channels]``) of the first differing layer.

    Args:
        folder: a project that ``qvit-hls gen`` wrote.
        data: .npz file with ``images`` and perhaps ``labels``; without it, the project's own vectors.
        count: number of images; default all of the file.
        packed: simulate the DSP and LUT arithmetic instead of native integers.
        jobs: processes at a time; default one per core.
        timeout: seconds that one image may take.
        progress: told how far each stage is.

    Raises:
        QvitError: the project or the data are not usable, there is no compiler, or the simulation fails.
    """
    build = read_build(folder)
    graph = load_graph(folder)
    layout = read_layout(folder / "program.json", graph)
    images = load_images(data, graph, count) if data is not None else _own_images(build, graph, count)
    progress("compile", 0, 1)
    program = compile_simulation(build, packed)
    progress("compile", 1, 1)
    simulator = Simulator(
        program.path, folder / build.simulation.data, layout.words, jobs or os.cpu_count() or 1, timeout
    )

    comparison = Comparison(layout)
    logits: list[np.ndarray] = []
    golden_logits: list[np.ndarray] = []
    seconds = {"simulation": 0.0, "golden": 0.0}
    node = input_node(graph)
    head = Graph(graph.name, (node,), (node.name,))
    for batch in _slices(0, len(images), max(simulator.jobs, _SIMULATED_WORDS // layout.words)):
        part = torch.from_numpy(images.images[batch])
        codes = head.run(part)[node.name].numpy().astype(np.int8)
        started = time.perf_counter()
        trace = simulator.run(codes, partial(_report_progress, progress, batch.start, len(images)))
        seconds["simulation"] += time.perf_counter() - started
        for chunk in _slices(0, len(part), max(1, _GOLDEN_WORDS // layout.words)):
            started = time.perf_counter()
            values = {name: value.numpy() for name, value in graph.run(part[chunk]).items()}
            seconds["golden"] += time.perf_counter() - started
            comparison.add(values, trace[chunk])
            golden_logits.append(values[graph.outputs[0]].reshape(len(trace[chunk]), -1))
            progress("compare", batch.start + chunk.stop, len(images))
        logits.append(_output(layout, graph, trace))

    variant = "packed" if packed else "functional"
    report = CsimReport(
        variant=variant,
        images=len(images),
        origin=images.origin,
        layers=tuple(comparison.layers()),
        untraced=tuple(name for name in layout.untraced(graph) if name != node.name),
        first=comparison.first,
        vector=_save_vector(folder, variant, comparison.first, head, images),
        top1=None
        if images.labels is None
        else Top1(_accuracy(logits, images.labels), _accuracy(golden_logits, images.labels)),
        program=program,
        simulation_seconds=seconds["simulation"],
        golden_seconds=seconds["golden"],
    )
    write_json(folder / "reports" / f"csim-{variant}.json", report.to_json())
    return report


def _own_images(build: Build, graph: Graph, count: int | None) -> ImageSet:
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


def _report_progress(progress: Progress, start: int, total: int, done: int) -> None:
    progress("simulate", start + done, total)


def _slices(start: int, stop: int, size: int) -> Iterator[slice]:
    for at in range(start, stop, size):
        yield slice(at, min(at + size, stop))


def _output(layout: TraceLayout, graph: Graph, trace: np.ndarray) -> np.ndarray:
    tensors = [tensor for tensor in layout.tensors if tensor.entry.node == graph.outputs[0]]
    # The last layer that holds them: as written to external memory, where that is traced.
    entries = [tensor.entry for tensor in tensors if tensor.layer == tensors[-1].layer]
    entries.sort(key=lambda entry: entry.start)
    return np.concatenate([entry.read(trace) for entry in entries], axis=2).reshape(len(trace), -1)


def _accuracy(logits: list[np.ndarray], labels: np.ndarray) -> float:
    return float(np.mean(np.concatenate(logits).argmax(axis=1) == labels))


def _save_vector(
    folder: Path, variant: str, mismatch: Mismatch | None, head: Graph, images: ImageSet
) -> Path | None:
    path = folder / "reports" / f"csim-{variant}-mismatch.npz"
    path.unlink(missing_ok=True)  # one of an earlier run would be taken for this one's
    if mismatch is None:
        return None
    image = torch.from_numpy(images.images[mismatch.image : mismatch.image + 1])
    content = io.BytesIO()
    np.savez(
        content,
        image=head.run(image)[head.outputs[0]].numpy().astype(np.int8)[0],
        expected=mismatch.expected_tensor,
        got=mismatch.got_tensor,
    )
    write_file(path, content.getvalue())
    return path
