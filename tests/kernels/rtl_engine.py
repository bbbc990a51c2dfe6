"""The RTL executor: an accelerator's SystemVerilog, Verilated once, that runs the program of any graph."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qvit_hls.flow.build import read_build
from qvit_hls.flow.toolchain import package_folder
from qvit_hls.flow.verilator import Model, require_simulators
from qvit_hls.hw.accelerator import parse_accelerator
from qvit_hls.verify.cycles import read_layers
from qvit_hls.verify.rtl.design import BENCH_TOP, Design, read_design, write_bench
from qvit_hls.verify.rtl.frame_run import FrameRun, Frames, read_sizes
from qvit_hls.verify.rtl.stalls import Stalls

_MAIN = Path(__file__).with_name("frame_bench.cpp")
_PATIENCE = 20_000
_SECONDS = 120.0
#: The bench's inputs and outputs, as frame_bench.cpp takes and prints them.
_INPUTS = ("frames", "traced_frames", "layers", "single", "burst_begin", "burst_stay", "patience")
_OUTPUTS = (
    *("hung", "busy_after_last", "frame", "cycle", "layers_begun", "layers_completed", "offered"),
    *("result_broken", "trace_broken"),
)


class _PlainRun(FrameRun):
    """Frames of the same bench with a main program of its own in the place of cocotb."""

    def simulate(self, folder: Path, images: int, poll: Callable[[], None]) -> None:
        """See :class:`FrameRun`."""
        inputs = json.loads((folder / "plan.json").read_text())["inputs"]
        streams = len(self.design.streams)
        numbers = [inputs[name] for name in _INPUTS]
        numbers += [inputs["packed_words"] >> 32 * i & 0xFFFFFFFF for i in range(streams)]
        numbers += [inputs["packed_seeds"] >> 32 * i & 0xFFFFFFFF for i in range(streams + 1)]
        # Registers without reset begin at random.
        options = ("+verilator+rand+reset+2", f"+verilator+seed+{self.stalls.seed % (2**31 - 1) + 1}")
        done = subprocess.run(
            [self.model.program, *options, *map(str, numbers)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=self.seconds,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        printed = [int(word) for word in done.stdout.split()]
        state: dict[str, int | bool] = dict(zip(_OUTPUTS, printed, strict=False))
        passed = sum(word << 32 * i for i, word in enumerate(printed[len(_OUTPUTS) :]))
        state |= {"packed_passed": passed, "late": False, "seconds": 0}
        (folder / "outcome.json").write_text(json.dumps(state))


@dataclass(frozen=True)
class RtlEngine:
    """An accelerator's RTL with the primitives of its lanes, ready to run any program that fits it."""

    model: Model
    design: Design = field(repr=False)

    @classmethod
    def verilated(cls, project: Path) -> RtlEngine:
        """Build the simulation of a project beside it, where that is not done yet."""
        folder = project.with_name(f"{project.name}-simulation")
        build = read_build(project)
        config = parse_accelerator((project / "accelerator.json").read_text(), "")
        design = read_design(build, config.weight_ports)
        model = Model(folder / BENCH_TOP, BENCH_TOP, False, None, require_simulators())
        if not model.program.exists():
            sources = [*design.sources, *write_bench(design, folder / "bench")]
            _build(sources, folder)
        return cls(model, design)

    def run(self, data: Path, codes: np.ndarray, stalls: Stalls) -> Frames:
        """Run images int8 ``[n, ...]`` with the program in ``data``: with the trace on, then without."""
        run = _PlainRun(
            self.model,
            self.design,
            data,
            read_sizes(data, self.design),
            read_layers(data / "program.json"),
            stalls,
            _PATIENCE,
            _SECONDS,
        )
        return run.run(codes)


def _build(sources: list[Path], folder: Path) -> None:
    """In one piece, which saves precompiled headers, with little optimisation: it runs for seconds."""
    root = package_folder("verilator")
    assert root is not None, "The Python package verilator is not installed."
    make = "VM_PARALLEL_BUILDS=0 OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0"
    command = [
        *(str(root / "bin" / "verilator"), "--cc", "--exe", "--build", "-j", "1", "-MAKEFLAGS", make),
        *("-O3", "-Wno-fatal", "-Wno-lint", "--assert", "--x-assign", "unique", "--x-initial", "unique"),
        *("--unroll-count", "8", "--top-module", BENCH_TOP, "-GFUNCTIONAL=0"),
        *("-Mdir", str(folder / "verilated"), "-o", str(folder / BENCH_TOP)),
        *map(str, sources),
        str(_MAIN),
    ]
    made = subprocess.run(
        command, env={**os.environ, "VERILATOR_ROOT": str(root)}, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
