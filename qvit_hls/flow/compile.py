"""Compiling the C-simulation of a generated project with an ordinary C++ compiler."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qvit_hls.errors import QvitError
from qvit_hls.flow.build import Build
from qvit_hls.flow.output import write_file
from qvit_hls.flow.toolchain import require_ap_types, require_compiler

_FLAGS = ("-std=c++17", "-O3", "-Wno-unknown-pragmas", "-pthread")
_NATIVE = "-march=native"
_ERROR = re.compile(r"error: |undefined reference")
_ERROR_LINES = 12


@dataclass(frozen=True)
class Program:
    """A compiled C-simulation.

    Attributes:
        path: the program.
        seconds: how long the compiler took, or None where an earlier program was still right.
        compiler: path and version of the compiler.
        flags: what it was called with, without file names.
    """

    path: Path
    seconds: float | None
    compiler: str
    flags: tuple[str, ...]


def compile_simulation(build: Build, packed: bool = False) -> Program:
    """Compile the C-simulation into ``build/csim/functional`` or ``build/csim/packed``.

    It is compiled again only when a source, the compiler, the flags or the machine changed.

    Args:
        build: the generated project.
        packed: compile the DSP and LUT arithmetic as the hardware does it, instead of native integers.

    Raises:
        QvitError: no compiler, no ap_types headers, a source is missing, or the compiler reports errors.
    """
    compiler = require_compiler()
    headers = require_ap_types()
    variant = "packed" if packed else "functional"
    simulation = build.simulation
    sources = [build.folder / source for source in simulation.sources]
    missing = [path for path in sources if not path.is_file()]
    if missing:
        raise QvitError(
            [f"The project lacks the source {path}. Make it again with qvit-hls gen." for path in missing]
        )
    flags = (
        *_FLAGS,
        *((_NATIVE,) if _accepts(compiler.command, _NATIVE) else ()),
        *(f"-D{define}" for define in simulation.defines[variant]),
    )
    includes = [build.folder / folder for folder in simulation.include]
    digest = hashlib.sha256()
    for part in (
        *compiler.command,
        compiler.version,
        *flags,
        str(headers.folder),
        headers.version,
        _machine(),
    ):
        digest.update(part.encode() + b"\0")
    for path in _dependencies(sources, includes):
        digest.update(str(path.relative_to(build.folder)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    key = digest.hexdigest()

    folder = build.folder / "csim" / variant
    program, stamp = folder / "csim", folder / "digest"
    described = f"{compiler.path} {compiler.version}"
    if program.is_file() and stamp.is_file() and stamp.read_bytes() == key.encode():
        return Program(program, None, described, flags)

    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix=".compile.", dir=folder) as temporary:
        result = Path(temporary) / "csim"
        command = [
            *compiler.command,
            *flags,
            *(f"-I{path}" for path in includes),
            "-isystem",
            str(headers.folder),
            *map(str, sources),
            "-o",
            str(result),
        ]
        _run_compiler(command)
        stamp.unlink(missing_ok=True)  # never a stamp beside a program that it does not describe
        result.replace(program)
        write_file(stamp, key.encode())
    return Program(program, time.perf_counter() - started, described, flags)


def _run_compiler(command: Sequence[str]) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise QvitError(f"The compiler {command[0]} cannot be started: {error.strerror}.") from error
    if result.returncode != 0:
        lines = result.stderr.splitlines()
        first = next((i for i, line in enumerate(lines) if _ERROR.search(line)), 0)
        shown = "\n".join(f"  {line}" for line in lines[first : first + _ERROR_LINES])
        raise QvitError(
            f"The C-simulation did not compile: {command[0]} ended with exit code {result.returncode} "
            + (f"and said:\n{shown}" if shown else "and said nothing.")
        )


def _accepts(command: Sequence[str], flag: str) -> bool:
    # Some compilers do not know -march=native for their machine; the simulation is right without it.
    try:
        result = subprocess.run(
            [*command, flag, "-x", "c++", "-fsyntax-only", os.devnull], capture_output=True, check=False
        )
    except OSError:
        return False
    return result.returncode == 0


def _dependencies(sources: Sequence[Path], includes: Sequence[Path]) -> Iterator[Path]:
    yield from sorted(sources)
    for folder in includes:
        yield from sorted(path for path in folder.rglob("*") if path.is_file())


def _machine() -> str:
    # A program made with -march=native may not run on another processor.
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return f"{platform.machine()} {line}"
    return f"{platform.machine()} {platform.processor()}"
