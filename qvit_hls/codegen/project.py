"""A whole Vitis HLS project as a build plan. Pure: the same input gives the same bytes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from qvit_hls import __version__
from qvit_hls.codegen.plan import BuildPlan
from qvit_hls.codegen.render import Renderer
from qvit_hls.codegen.rtl import black_box, rtl_files
from qvit_hls.codegen.stream import WORD_BYTES, pack_stream
from qvit_hls.hw.board import Board
from qvit_hls.hw.descriptor import Unit
from qvit_hls.hw.program import Program, TraceEntry
from qvit_hls.ir.file_format import graph_files
from qvit_hls.ir.graph import Graph
from qvit_hls.quant.levels import EXPONENT_TABLE_SIZE

_CFLAGS = "-std=c++14"
_ARGV = "data vectors/images.bin - {count} vectors/expected.bin"
_ENGINE_FUNCTION = ("src/engine_rtl.hpp", "src/engine_rtl.cpp")
_STEPS = {"csim": "csim", "synth": "synth", "cosim": "synth cosim", "xo": "synth xo"}


@dataclass(frozen=True, eq=False)
class Vectors:
    """Test images that the project carries, with what the golden graph makes of them.

    Attributes:
        images: float32 ``[n, channels, height, width]``.
        codes: the same quantized, int8.
        logits: int16 ``[n, classes]``.
    """

    images: np.ndarray
    codes: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True)
class Origin:
    """What the manifest says about where the project comes from.

    Attributes:
        model_digest: SHA-256 of the model file.
        seed: of the test images.
    """

    model_digest: str
    seed: int


def build_plan(
    graph: Graph, program: Program, board: Board, clock_mhz: float, vectors: Vectors, origin: Origin
) -> BuildPlan:
    """All files of a project.

    Args:
        graph: the integer graph that ``program`` was scheduled from.

    Raises:
        QvitError: a parameter does not fit the weight stream.
    """
    argv = _ARGV.format(count=len(vectors.images))
    context = {
        "config": program.config,
        "board": board,
        "clock_mhz": clock_mhz,
        "cflags": _CFLAGS,
        "argv": argv,
        "exponents": EXPONENT_TABLE_SIZE,
    }
    render = Renderer(context)
    files = _sources(render) | {
        "accelerator.json": _json(program.config.model_dump()),
        "board.json": _json(board.model_dump()),
        "program.json": _json(_describe(program)),
        "vectors/images.npz": _npz(images=vectors.images),
        "vectors/images.bin": vectors.codes.astype(np.int8).tobytes(),
        "vectors/expected.bin": vectors.logits.astype("<i2").tobytes(),
    }
    rtl = None
    if program.config.mac == "rtl":
        rtl = rtl_files(program.config, render)
        files |= rtl.files
        files |= {path: render(f"{PurePosixPath(path).name}.j2") for path in _ENGINE_FUNCTION}
        files["blackbox.json"] = black_box(program.config, rtl, _CFLAGS)
    files |= {f"data/{name}": content for name, content in frame_data(program).items()}
    files |= graph_files(graph)
    manifest = _manifest(program, board, clock_mhz, origin, BuildPlan(files).digest())
    if rtl is not None:
        manifest["rtl"] = rtl.manifest()
    files["manifest.json"] = _json(manifest)
    return BuildPlan(files)


def _sources(render: Renderer) -> dict[str, bytes]:
    """Kernels as they are, and the templates filled in. They depend on the accelerator, not on the model."""
    package = resources.files("qvit_hls")
    files = {
        "src/accelerator.hpp": render("accelerator.hpp.j2"),
        "src/top.hpp": render("top.hpp.j2"),
        "src/top.cpp": render("top.cpp.j2"),
        "src/testbench.cpp": (package / "templates" / "testbench.cpp").read_bytes(),
        "hls_config.cfg": render("hls_config.cfg.j2"),
        "run_hls.tcl": render("run_hls.tcl.j2"),
        "Makefile": render("Makefile.j2"),
    }
    files |= {f"run_{step}.tcl": render("run_step.tcl.j2", steps=steps) for step, steps in _STEPS.items()}
    for kernel in sorted((package / "hls_kernels" / "hls").iterdir(), key=lambda entry: entry.name):
        if kernel.name.endswith(".hpp"):
            files[f"src/kernels/{kernel.name}"] = kernel.read_bytes()
    return files


def frame_data(program: Program) -> dict[str, bytes]:
    """What the accelerator reads to run a frame: sizes, descriptors, and the stream of each weight port.

    Raises:
        QvitError: a parameter does not fit the weight stream.
    """
    ports = pack_stream(program)
    descriptors = [layer.descriptor.words().astype("<u4").tobytes() for layer in program.layers]
    files = {"frame.bin": _sizes(program, ports), "program.bin": b"".join(descriptors)}
    return files | {f"weights{port}.bin": content for port, content in enumerate(ports)}


def _sizes(program: Program, ports: list[bytes]) -> bytes:
    """Sizes that a caller of the accelerator needs, uint32 ``[8]``; see the testbench."""
    channels, height, width = program.image_shape
    sizes = (
        len(program.layers),
        len(ports[0]) // WORD_BYTES,
        channels * height * width,
        program.classes,
        program.trace_words,
        0,
        0,
        0,
    )
    return np.array(sizes, dtype="<u4").tobytes()


def _describe(program: Program) -> dict[str, Any]:
    """The program for people and for the verification: layers with their descriptors, and the trace."""
    layers = []
    entries = []
    for layer in program.layers:
        unit = Unit(layer.descriptor.unit).name.lower()
        fields = {name: int(value) for name, value in asdict(layer.descriptor).items() if name != "unit"}
        work = {"macs": layer.macs, "atom_macs": layer.atom_macs}
        layers.append({"name": layer.name, "unit": unit, **work, "descriptor": fields})
        entries += [{"layer": layer.name, "unit": unit, **asdict(entry)} for entry in layer.trace]
    # The testbench appends the logits as they arrive in external memory.
    result = TraceEntry(program.output, program.trace_words, 1, program.classes, program.classes, 1)
    entries.append({"layer": "result", "unit": Unit.STORE_RESULT.name.lower(), **asdict(result)})
    return {
        "name": program.name,
        "image_shape": list(program.image_shape),
        "classes": program.classes,
        "layers": layers,
        "trace": {"words": program.trace_words + program.classes, "entries": entries},
    }


def _manifest(
    program: Program, board: Board, clock_mhz: float, origin: Origin, digest: str
) -> dict[str, Any]:
    return {
        "tool": "qvit-hls",
        "tool_version": __version__,
        "model": program.name,
        "model_sha256": origin.model_digest,
        "board": board.name,
        "part": board.part,
        "clock_mhz": clock_mhz,
        "seed": origin.seed,
        "accelerator": program.config.model_dump(),
        "files_sha256": digest,
        "csim": {
            "sources": ["src/top.cpp", "src/testbench.cpp", *_c_model(program)],
            "include": ["src"],
            "defines": {"functional": ["QVIT_FUNCTIONAL"], "packed": []},
            "data": "data",
        },
    }


def _c_model(program: Program) -> list[str]:
    """What C-simulation compiles in the place of RTL."""
    return [path for path in _ENGINE_FUNCTION if path.endswith(".cpp") and program.config.mac == "rtl"]


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _npz(**arrays: np.ndarray) -> bytes:
    """An .npz without the time of day in it."""
    import io
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            packed.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), content.getvalue())
    return archive.getvalue()
