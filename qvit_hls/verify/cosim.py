"""Proving a project's RTL: simulated by Verilator, every layer must equal the golden integer graph."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from qvit_hls.errors import QvitError
from qvit_hls.flow.build import read_build
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.flow.verilator import build_model, require_simulators
from qvit_hls.hw.accelerator import parse_accelerator
from qvit_hls.ir.file_format import load_graph
from qvit_hls.verify.cosim_report import CosimReport, prove
from qvit_hls.verify.cycles import frame_cycles, read_layers
from qvit_hls.verify.reference import Progress, images_of
from qvit_hls.verify.rtl.design import BENCH_TOP, read_design, write_bench
from qvit_hls.verify.rtl.frame_run import FrameRun, read_sizes
from qvit_hls.verify.rtl.stalls import Stalls
from qvit_hls.verify.trace import read_layout

DEFAULT_PATIENCE = 200_000
DEFAULT_SECONDS = 3600.0


@one_torch_thread()
def run_cosim(
    folder: Path,
    *,
    data: Path | None = None,
    count: int | None = None,
    packed: bool = False,
    stalls: Stalls | None = None,
    waves: bool = False,
    traced: bool = True,
    patience: int = DEFAULT_PATIENCE,
    seconds: float = DEFAULT_SECONDS,
    plusargs: tuple[str, ...] = (),
    progress: Progress = lambda stage, done, total: None,
) -> CosimReport:
    """Simulate a project's RTL with its own program and weights, and compare it with the golden graph.

    Every image runs twice: with the trace on, which shows every layer's result, and without, which gives the
    cycles and the logits as in use, each frame taking the next one's image where the accelerator can. All
    frames follow each other without reset.

    Writes ``reports/cosim-functional.json`` or ``reports/cosim-packed.json`` in the project and, at a
    mismatch, an .npz beside it like :func:`qvit_hls.verify.csim.run_csim`. The simulation program is kept in
    ``cosim/`` and built again only when something that it is made of changed.

    Args:
        folder: a project that ``qvit-hls gen --mac rtl`` wrote.
        data: .npz file with ``images`` and perhaps ``labels``; without it, the project's own vectors.
        count: number of images; default all of the file.
        packed: simulate the DSP and LUT primitives instead of the sums that they make.
        stalls: of all streams; default none.
        waves: write all signals to ``reports/cosim.fst``.
        traced: run with the trace too, and compare every layer; else only the logits.
        patience: cycles without progress (a word on some stream, a layer begun or complete) that end the run.
        seconds: that one image may take.
        plusargs: of the simulation, for RTL that reads them.
        progress: told how far each stage is.

    Raises:
        HungError: the design made no progress or took too long.
        QvitError: the project or the data are not usable, a tool is missing, or the RTL cannot be built.
    """
    stalls = stalls or Stalls()
    build = read_build(folder)
    accelerator = folder / "accelerator.json"
    if not accelerator.is_file():
        raise QvitError(f"The project lacks {accelerator}. Make it again with qvit-hls gen.")
    config = parse_accelerator(accelerator.read_text(encoding="utf-8"), str(accelerator))
    design = read_design(build, config.weight_ports)
    require_simulators()
    graph = load_graph(folder)
    layout = read_layout(folder / "program.json", graph)
    layers = read_layers(folder / "program.json")
    data_folder = folder / build.simulation.data
    sizes = read_sizes(data_folder, design)
    images = images_of(build, graph, data, count)

    variant = "packed" if packed else "functional"
    progress("build", 0, 1)
    model = build_model(
        [*design.sources, *write_bench(design, folder / "cosim" / "bench")],
        BENCH_TOP,
        folder / "cosim" / variant,
        parameters={"FUNCTIONAL": int(not packed)},
        waves=waves,
    )
    progress("build", 1, 1)
    wave_file = folder / "reports" / "cosim.fst" if waves else None
    if wave_file is not None:
        wave_file.parent.mkdir(exist_ok=True)
    run = FrameRun(
        model,
        design,
        data_folder,
        sizes,
        layers,
        stalls,
        patience,
        seconds,
        wave_file,
        traced,
        plusargs,
    )
    return prove(
        folder,
        variant,
        run,
        graph,
        layout,
        images,
        progress,
        lambda frames, index: frame_cycles(layers, frames.events[index], frames.cycles[index], config.lanes),
    )


def select_layers(folder: Path, pattern: str) -> set[str]:
    """Names of a project's layers that match a pattern, in which ``*`` stands for anything.

    Raises:
        QvitError: the project is not usable, or no layer matches.
    """
    read_build(folder)
    names = [layer.name for layer in read_layers(folder / "program.json")]
    # A head's name ends in [1]: brackets are part of names.
    selected = set(fnmatch.filter(names, pattern.replace("[", "[[]")))
    if not selected:
        raise QvitError(
            f"No layer matches {pattern!r}; there are {len(names)}, from {names[0]} to {names[-1]}. "
            "Name layers with --layers as in 'blocks.0.*'."
            if names
            else f"{folder / 'program.json'} lists no layers. Make the project again with qvit-hls gen."
        )
    return selected
