"""The outcome of an RTL simulation, and how it comes about: images in, every layer compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from qvit_hls import __version__
from qvit_hls.flow.images import ImageSet
from qvit_hls.flow.output import write_json
from qvit_hls.flow.verilator import Model
from qvit_hls.ir.graph import Graph
from qvit_hls.verify.compare import LayerResult, Mismatch
from qvit_hls.verify.cycles import FrameCycles
from qvit_hls.verify.reference import Progress, Reference, Top1, layers_json, mismatch_json
from qvit_hls.verify.rtl.frame_order import OrderedFrame
from qvit_hls.verify.rtl.frame_run import Frames
from qvit_hls.verify.rtl.stalls import Stalls
from qvit_hls.verify.trace import TraceLayout

#: Trace words simulated before they are compared (4 bytes each on disk).
_SIMULATED_WORDS = 1 << 26


class Simulation(Protocol):
    """RTL that is ready to run images."""

    @property
    def model(self) -> Model:
        """The program that simulates it."""

    @property
    def stalls(self) -> Stalls:
        """Of its ports."""

    @property
    def waves(self) -> Path | None:
        """FST file that it writes."""

    def run(self, codes: np.ndarray, progress: Callable[[int, int], None]) -> Frames:
        """Run images int8 ``[n, ...]``, all with the trace on (or none of them) and then all without.

        ``progress`` is called with how many of how many steps are done, a multiple of ``n`` in all.
        """


@dataclass(frozen=True)
class CosimReport:
    """The outcome of an RTL simulation.

    Attributes:
        variant: ``functional``, ``packed``, or ``vitis`` for RTL made by Vitis HLS.
        images: how many; each ran with its trace on (unless only the logits were asked for) and without.
        origin: where they come from.
        stalls: of the streams.
        layers: one result per layer, in the accelerator's order.
        untraced: graph nodes without an own tensor in the trace; the next layer checks them.
        first: the first mismatch of the first layer that has one.
        vector: file with the failing image and tensors, where there is a mismatch.
        problems: all else that is wrong, a sentence each: logits without the trace, counts of words,
            breaches of the streams' contract.
        top1: where labels are known.
        cycles: of the first frame of ``frame_cycles``; None where the layers' begin and end are not known.
        frame_cycles: cycles of frames without their trace in the steady state: the image is on chip already,
            and the next one is taken. Where the accelerator cannot do that, of all without their trace.
        first_frame_cycles: where it can, cycles of frames without their trace that load their own image
            before the next one.
        traced_cycles: cycles of each image with its trace.
        model: the simulation.
        simulated_cycles, simulation_seconds: all frames, set-up excluded.
        golden_seconds: time in the golden graph.
        waves: FST file, where one was asked for.
    """

    variant: str
    images: int
    origin: str
    stalls: Stalls
    layers: tuple[LayerResult, ...]
    untraced: tuple[str, ...]
    first: Mismatch | None
    vector: Path | None
    problems: tuple[str, ...]
    top1: Top1 | None
    cycles: FrameCycles | None
    frame_cycles: tuple[int, ...]
    first_frame_cycles: tuple[int, ...]
    traced_cycles: tuple[int, ...]
    model: Model
    simulated_cycles: int
    simulation_seconds: float
    golden_seconds: float
    waves: Path | None = None

    @property
    def passed(self) -> bool:
        """Whether every value of every layer is equal and nothing else is wrong."""
        return self.first is None and not self.problems

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "qvit_hls": __version__,
            "passed": self.passed,
            "variant": self.variant,
            "images": {"count": self.images, "origin": self.origin},
            "stalls": {"share": self.stalls.share, "seed": self.stalls.seed},
            "values": sum(layer.values for layer in self.layers),
            "mismatches": sum(layer.mismatches for layer in self.layers),
            "first_mismatch": mismatch_json(self.first, self.vector),
            "problems": list(self.problems),
            "top1": None if self.top1 is None else self.top1.to_json(),
            "layers": layers_json(self.layers),
            "untraced": list(self.untraced),
            "frame_cycles": list(self.frame_cycles),
            "first_frame_cycles": list(self.first_frame_cycles),
            "traced_frame_cycles": list(self.traced_cycles),
            "cycles": None if self.cycles is None else self.cycles.to_json(),
            "simulator": {
                "verilator": self.model.simulators.verilator.version,
                "cocotb": self.model.simulators.cocotb,
                "top": self.model.top,
            },
            "simulated_cycles": self.simulated_cycles,
            "seconds": {
                "build": self.model.seconds,
                "simulation": self.simulation_seconds,
                "golden": self.golden_seconds,
            },
        }


def prove(
    folder: Path,
    variant: str,
    run: Simulation,
    graph: Graph,
    layout: TraceLayout,
    images: ImageSet,
    progress: Progress,
    timing: Callable[[Frames, int], FrameCycles | None] = lambda frames, frame: None,
) -> CosimReport:
    """Simulate images and compare every layer with the golden graph; write the report and a failing vector.

    Args:
        folder: the project; its ``reports/cosim-<variant>.json`` is written.
        variant: see :class:`CosimReport`.
        run: simulates a batch of images.
        graph, layout, images: what is simulated.
        progress: told how far each stage is.
        timing: the layers' cycles in one frame of a batch, where they can be told.

    Raises:
        QvitError: as ``run`` does.
    """
    reference = Reference(graph, layout, images)
    problems: list[str] = []
    steady_cycles: list[int] = []
    first_cycles: list[int] = []
    traced_cycles: list[int] = []
    cycles: FrameCycles | None = None
    layers: tuple[LayerResult, ...] = ()
    simulated, elapsed = 0, 0.0
    # A waveform is one file, so the images of one are simulated in one run.
    for batch in reference.batches(_SIMULATED_WORDS, least=1 if run.waves is None else len(images)):
        part = batch.stop - batch.start

        def report_part(done: int, total: int, batch: slice = batch, part: int = part) -> None:
            per_image = total // part
            progress("simulate", per_image * batch.start + done, per_image * len(images))

        frames = run.run(reference.codes(batch), report_part)
        traced = len(frames.trace)
        plain, logits = frames.order[traced:], frames.result[traced:]
        if traced:
            trace = np.hstack([frames.trace, frames.result[:traced]])
            golden = reference.compare(batch, trace, progress)
        else:
            golden = reference.compare_logits(batch, logits[:part], progress)
            layers = (_logits_result(graph, golden, logits[:part], layers),)
        problems += [*frames.problems, *_wrong_logits(golden, logits, plain, batch.start)]
        traced_cycles += frames.cycles[:traced]
        steady = [index for index, frame in enumerate(plain, traced) if frame.image_loaded]
        steady_cycles += [frames.cycles[index] for index in steady]
        first_cycles += frames.cycles[traced : steady[0]]
        simulated, elapsed = simulated + frames.total_cycles, elapsed + frames.seconds
        if batch.start == 0:
            cycles = timing(frames, steady[0])

    report = CosimReport(
        variant=variant,
        images=len(images),
        origin=images.origin,
        stalls=run.stalls,
        layers=layers or reference.layers,
        untraced=tuple(node.name for node in graph if node.name not in layers[0].nodes)
        if layers
        else reference.untraced,
        first=reference.first,
        vector=reference.save_vector(folder / "reports" / f"cosim-{variant}-mismatch.npz"),
        problems=tuple(problems),
        top1=reference.top1,
        cycles=cycles,
        frame_cycles=tuple(steady_cycles),
        first_frame_cycles=tuple(first_cycles),
        traced_cycles=tuple(traced_cycles),
        model=run.model,
        simulated_cycles=simulated,
        simulation_seconds=elapsed,
        golden_seconds=reference.seconds,
        waves=run.waves,
    )
    write_json(folder / "reports" / f"cosim-{variant}.json", report.to_json())
    return report


def _logits_result(
    graph: Graph, golden: np.ndarray, logits: np.ndarray, before: tuple[LayerResult, ...]
) -> LayerResult:
    """The comparison of the logits alone, of this batch and those before it."""
    values = golden.size + sum(layer.values for layer in before)
    mismatches = np.count_nonzero(golden != logits) + sum(layer.mismatches for layer in before)
    return LayerResult("result", "store_result", (graph.outputs[0],), values, int(mismatches))


def _wrong_logits(
    golden: np.ndarray, result: np.ndarray, order: Sequence[OrderedFrame], start: int
) -> list[str]:
    """What the frames without a trace got wrong; a sentence for each frame."""
    problems = []
    for frame, logits in zip(order, result, strict=True):
        expected = golden[frame.image]
        wrong = np.flatnonzero(expected != logits)
        if len(wrong):
            name = replace(frame, image=start + frame.image).name
            problems.append(
                f"{name.capitalize()}: {len(wrong)} of {len(expected)} logits differ; the first is logit "
                f"{wrong[0]}: expected {expected[wrong[0]]}, got {logits[wrong[0]]}."
            )
    return problems
