"""Proving RTL of the whole top, as Vitis HLS makes it: a host at its registers, memory at its AXI ports."""

from __future__ import annotations

from pathlib import Path

from qvit_hls.errors import QvitError
from qvit_hls.flow.build import read_build
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.flow.toolchain import package_version
from qvit_hls.flow.verilator import require_simulators
from qvit_hls.hw.accelerator import parse_accelerator
from qvit_hls.ir.file_format import load_graph
from qvit_hls.verify.cosim import DEFAULT_PATIENCE, DEFAULT_SECONDS
from qvit_hls.verify.cosim_report import CosimReport, prove
from qvit_hls.verify.reference import Progress, images_of
from qvit_hls.verify.rtl.axi_run import AxiRun, build_axi_model
from qvit_hls.verify.rtl.axi_top import read_axi_top
from qvit_hls.verify.rtl.frame_run import read_sizes
from qvit_hls.verify.rtl.stalls import Stalls
from qvit_hls.verify.trace import read_layout

VARIANT = "vitis"


@one_torch_thread()
def run_cosim_axi(
    folder: Path,
    rtl: Path,
    *,
    data: Path | None = None,
    count: int | None = None,
    stalls: Stalls | None = None,
    waves: bool = False,
    patience: int = DEFAULT_PATIENCE,
    seconds: float = DEFAULT_SECONDS,
    progress: Progress = lambda stage, done, total: None,
) -> CosimReport:
    """Simulate RTL of the whole top with a project's program, and compare it with the golden graph.

    Images run as in :func:`qvit_hls.verify.cosim.run_cosim`, with the trace on and without it. Writes
    ``reports/cosim-vitis.json`` and, at a mismatch, an .npz beside it.

    Args:
        folder: a project that ``qvit-hls gen`` wrote, with --mac hls or rtl.
        rtl: folder with ``qvit_top.v``, as Vitis HLS makes it from the project (see ``rtl/axi_top.py``).
        data: .npz file with ``images`` and perhaps ``labels``; without it, the project's own vectors.
        count: number of images; default all of the file.
        stalls: of all AXI channels; the seed also moves the memory's regions.
        waves: write all signals to ``reports/cosim-vitis.fst``.
        patience: cycles without any transfer that end the run.
        seconds: that one image may take.
        progress: told how far each stage is.

    Raises:
        HungError: the design transferred nothing for too long, or took too long.
        QvitError: the project, the RTL or the data are not usable, a tool is missing, or the build fails.
    """
    stalls = stalls or Stalls()
    build = read_build(folder)
    accelerator = folder / "accelerator.json"
    if not accelerator.is_file():
        raise QvitError(f"The project lacks {accelerator}. Make it again with qvit-hls gen.")
    config = parse_accelerator(accelerator.read_text(encoding="utf-8"), str(accelerator))
    top = read_axi_top(rtl, config.weight_ports)
    require_simulators()
    if package_version("cocotbext-axi") is None:
        raise QvitError(
            "The Python package cocotbext-axi, which drives the AXI ports, was not found. "
            "Install it with: pip install 'qvit-hls[rtl]'"
        )
    graph = load_graph(folder)
    layout = read_layout(folder / "program.json", graph)
    data_folder = folder / build.simulation.data
    sizes = read_sizes(data_folder, top.design)
    images = images_of(build, graph, data, count)

    progress("build", 0, 1)
    model = build_axi_model(top, folder / "cosim", waves)
    progress("build", 1, 1)
    wave_file = folder / "reports" / f"cosim-{VARIANT}.fst" if waves else None
    if wave_file is not None:
        wave_file.parent.mkdir(exist_ok=True)
    run = AxiRun(model, top, data_folder, sizes, stalls, patience, seconds, wave_file)

    return prove(folder, VARIANT, run, graph, layout, images, progress)
