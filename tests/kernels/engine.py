"""The engine as executor, C++ and RTL: built once, it runs the program of any graph that fits."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from op_graphs import smallest_graph
from rtl_engine import RtlEngine

from qvit_hls.codegen.plan import BuildPlan
from qvit_hls.codegen.project import Origin, Vectors, build_plan
from qvit_hls.flow.build import read_build
from qvit_hls.flow.compile import compile_simulation
from qvit_hls.flow.output import write_plan
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.board import load_board
from qvit_hls.hw.explore.choose import choose_accelerator
from qvit_hls.hw.explore.configuration import program_for
from qvit_hls.hw.program import Program, TraceEntry
from qvit_hls.ir.graph import Graph
from qvit_hls.verify.rtl.stalls import Stalls
from qvit_hls.verify.trace import TraceLayout, read_layout

_COMPILED = ("functional", "packed")
VARIANTS = (*_COMPILED, "rtl")

#: Memories and units for every graph of these tests.
_ROOMY = {
    "activation_depth": 4096,
    "digit_depth": 1024,
    "wide_depth": 2048,
    "weight_depth": 128,
    "max_row_tiles": 64,
    "table_bits": 10,
    "max_tokens": 64,
    "max_channels": 100,
    "image_pixels": 1,
    "accumulator_bits": 32,
    "softmax": True,
    "layer_norm": True,
    "mean_tokens": True,
    "norm_shifts": True,
    "stream_operands": True,
}


@dataclass(frozen=True)
class Shape:
    """What the accelerators of these tests differ in."""

    tile: tuple[int, int, int]
    activation_bits: int
    dsp_rows: int
    weight_ports: int = 1
    drain_rows: int = 1

    def config(self) -> AcceleratorConfig:
        """An accelerator of this shape with room for every graph."""
        chosen = choose_accelerator(
            smallest_graph(self.activation_bits), load_board("zcu102"), self.tile
        ).config
        lanes = {
            "dsp_rows": self.dsp_rows,
            "weight_ports": self.weight_ports,
            "drain_rows": self.drain_rows,
        }
        return AcceleratorConfig.model_validate({**chosen.model_dump(), **_ROOMY, **lanes})


#: Small tiles of every kind: with and without LUT lanes, one memory port and two, words of 2 to 8 channels,
#: steps of weights that fill their beats and one that does not, rows in the order of pairs.
ENGINES = {
    "A7": Shape((8, 12, 8), 7, dsp_rows=8),
    "A8": Shape((6, 32, 2), 8, dsp_rows=30, weight_ports=2),
    "A5": Shape((4, 12, 4), 5, dsp_rows=8, drain_rows=2),
}


def plan_without_vectors(graph: Graph, program: Program) -> BuildPlan:
    """A project whose own vectors are zeros."""
    shape = (1, *program.image_shape)
    logits = np.zeros((1, program.classes), np.int16)
    vectors = Vectors(np.zeros(shape, np.float32), np.zeros(shape, np.int8), logits)
    return build_plan(graph, program, load_board("zcu102"), 200.0, vectors, Origin("", 0))


@dataclass(frozen=True)
class Engine:
    """An accelerator whose C-simulation, in both variants, and RTL simulation have been built."""

    config: AcceleratorConfig
    programs: dict[str, Path]
    rtl: RtlEngine

    @classmethod
    def compiled(cls, config: AcceleratorConfig, folder: Path) -> Engine:
        """Generate and compile below ``folder``, which processes share: the first one does the work."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for mac in ("hls", "rtl"):
                if not (folder / mac).exists():
                    graph = smallest_graph(config.activation_bits)
                    program = program_for(graph, config.model_copy(update={"mac": mac}))
                    write_plan(plan_without_vectors(graph, program), folder / mac)
            build = read_build(folder / "hls")
            programs = {v: compile_simulation(build, v == "packed").path for v in _COMPILED}
            return cls(config, programs, RtlEngine.verilated(folder / "rtl"))

    @classmethod
    def shared(cls, name: str, factory: pytest.TempPathFactory) -> Engine:
        """The engine of this name, which all tests of a run share."""
        base = factory.getbasetemp()
        folder = base.parent if base.name.startswith("popen-") else base
        return cls.compiled(ENGINES[name].config(), folder / "engines" / name)

    def traces(
        self, graph: Graph, codes: np.ndarray, folder: Path, stalls: Stalls
    ) -> Iterator[tuple[str, TraceEntry, np.ndarray]]:
        """Run image codes int8 ``[images, C, H, W]``: the variant and what it computed, entry by entry.

        The RTL runs every image again without its trace, when layers and frames overlap, to the same logits.
        ``stalls`` are those of its streams.
        """
        files = plan_without_vectors(graph, program_for(graph, self.config)).files
        for path in files:
            if path.startswith("data/") or path == "program.json":
                (folder / Path(path).name).write_bytes(files[path])
        layout = read_layout(folder / "program.json", graph)
        (folder / "images.bin").write_bytes(codes.astype(np.int8).tobytes())
        for variant, simulation in self.programs.items():
            command = [simulation, folder, folder / "images.bin", folder / "trace.bin", str(len(codes))]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            assert (done.returncode, done.stderr) == (0, ""), variant
            # A stream that is read empty, or not to its end, would print a warning.
            assert done.stdout.split() == [str(image + 1) for image in range(len(codes))], variant
            trace = np.fromfile(folder / "trace.bin", "<i2").reshape(len(codes), layout.words)
            yield from _entries(variant, layout, trace)
        frames = self.rtl.run(folder, codes, stalls)
        assert frames.problems == []
        traced, untraced = frames.result[: len(codes)], frames.result[len(codes) :]
        images = [frame.image for frame in frames.order[len(codes) :]]
        yield from _entries("rtl", layout, np.hstack([frames.trace, traced]))
        assert np.array_equal(untraced, traced[images]), "logits of the RTL without its trace"


def _entries(
    variant: str, layout: TraceLayout, trace: np.ndarray
) -> Iterator[tuple[str, TraceEntry, np.ndarray]]:
    for tensor in layout.tensors:
        yield variant, tensor.entry, tensor.entry.read(trace)
