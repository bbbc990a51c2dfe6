"""Proving a generated project: its C-simulation must equal the golden integer graph in every layer."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qvit_hls import __version__
from qvit_hls.flow.build import read_build
from qvit_hls.flow.compile import Program, compile_simulation
from qvit_hls.flow.output import write_json
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.ir.file_format import load_graph
from qvit_hls.verify.compare import LayerResult, Mismatch
from qvit_hls.verify.reference import Progress, Reference, Top1, images_of, layers_json, mismatch_json
from qvit_hls.verify.simulator import Simulator
from qvit_hls.verify.trace import read_layout

#: Trace words simulated before they are compared.
_SIMULATED_WORDS = 1 << 27


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
        return {
            "qvit_hls": __version__,
            "passed": self.passed,
            "variant": self.variant,
            "images": {"count": self.images, "origin": self.origin},
            "values": sum(layer.values for layer in self.layers),
            "mismatches": sum(layer.mismatches for layer in self.layers),
            "first_mismatch": mismatch_json(self.first, self.vector),
            "top1": None if self.top1 is None else self.top1.to_json(),
            "layers": layers_json(self.layers),
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
    images = images_of(build, graph, data, count)
    progress("compile", 0, 1)
    program = compile_simulation(build, packed)
    progress("compile", 1, 1)
    simulator = Simulator(
        program.path, folder / build.simulation.data, layout.words, jobs or os.cpu_count() or 1, timeout
    )

    reference = Reference(graph, layout, images)
    seconds = 0.0
    for batch in reference.batches(_SIMULATED_WORDS, least=simulator.jobs):
        codes = reference.codes(batch)
        started = time.perf_counter()
        trace = simulator.run(codes, partial(_report_progress, progress, batch.start, len(images)))
        seconds += time.perf_counter() - started
        reference.compare(batch, trace, progress)

    variant = "packed" if packed else "functional"
    report = CsimReport(
        variant=variant,
        images=len(images),
        origin=images.origin,
        layers=reference.layers,
        untraced=reference.untraced,
        first=reference.first,
        vector=reference.save_vector(folder / "reports" / f"csim-{variant}-mismatch.npz"),
        top1=reference.top1,
        program=program,
        simulation_seconds=seconds,
        golden_seconds=reference.seconds,
    )
    write_json(folder / "reports" / f"csim-{variant}.json", report.to_json())
    return report


def _report_progress(progress: Progress, start: int, total: int, done: int) -> None:
    progress("simulate", start + done, total)
