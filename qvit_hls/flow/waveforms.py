"""What Verilator's waveform writer needs to compile."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
from pathlib import Path

from qvit_hls.errors import QvitError
from qvit_hls.flow.toolchain import find_compiler


def waveform_arguments(folder: Path) -> list[str]:
    """Options of Verilator that let its FST writer compile where LZ4 is installed without its header.

    Distributions install the library everywhere and the header on request; the writer calls two functions.

    Args:
        folder: the build's; a header and a link are put there where they are needed.

    Raises:
        QvitError: the library is missing too, or zlib's header.
    """
    if _has_header("zlib.h") and _has_header("lz4.h"):
        return []
    library = ctypes.util.find_library("lz4")
    path = None if library is None else _library_path(library)
    if not _has_header("zlib.h") or path is None:
        raise QvitError(
            "Waveforms need the headers of zlib and LZ4, which Verilator's FST writer is compiled with. "
            "Install them (Debian, Ubuntu: apt-get install zlib1g-dev liblz4-dev), or leave out --trace."
        )
    folder = folder / "lz4"
    folder.mkdir()
    (folder / "lz4.h").write_text(
        "#pragma once\n"
        'extern "C" {\n'
        "int LZ4_compressBound(int size);\n"
        "int LZ4_compress_default(const char *from, char *to, int size, int capacity);\n"
        "}\n"
    )
    (folder / "liblz4.so").symlink_to(path)
    return ["-CFLAGS", f"-I{folder}", "-LDFLAGS", f"-L{folder}"]


def _has_header(name: str) -> bool:
    compiler = find_compiler()
    if compiler is None:
        return False
    command = [*compiler.command, "-x", "c++", "-E", "-"]
    result = subprocess.run(
        command, input=f"#include <{name}>\n", capture_output=True, text=True, check=False
    )
    return result.returncode == 0


def _library_path(name: str) -> str | None:
    """Where the linker finds a library by its file name (``liblz4.so.1``)."""
    compiler = find_compiler()
    if compiler is None:
        return None
    command = [*compiler.command, f"-print-file-name={name}"]
    path = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return path if os.path.isabs(path) else None  # noqa: PTH117 (the compiler prints the bare name otherwise)
