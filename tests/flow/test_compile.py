"""The simulation is compiled when something changed, only then, and errors reach the user."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from bare_machine import Install

from qvit_hls.errors import QvitError
from qvit_hls.flow.build import read_build
from qvit_hls.flow.compile import compile_simulation

SOURCE = """
#include <cstdio>
#include <ap_int.h>
#include "value.h"
int main() { ap_uint<9> value = VALUE; std::printf("%d", value.to_int()); return 0; }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build = tmp_path / "with space"
    (build / "src").mkdir(parents=True)
    (build / "src" / "main.cpp").write_text(SOURCE)
    (build / "src" / "value.h").write_text("#ifdef PACKED\n#define VALUE 2\n#else\n#define VALUE 1\n#endif\n")
    entry = {
        "sources": ["src/main.cpp"],
        "include": ["src"],
        "defines": {"functional": [], "packed": ["PACKED"]},
        "data": "data",
    }
    (build / "manifest.json").write_text(json.dumps({"csim": entry}))
    return build


def compiled(folder: Path, packed: bool = False) -> tuple[str, bool]:
    """What the program prints, and whether it was compiled by this call."""
    program = compile_simulation(read_build(folder), packed)
    result = subprocess.run([program.path], capture_output=True, text=True, check=True)
    return result.stdout, program.seconds is not None


def problems(folder: Path) -> tuple[str, ...]:
    with pytest.raises(QvitError) as error:
        compile_simulation(read_build(folder))
    return error.value.problems


def test_it_is_compiled_again_only_after_a_change(folder: Path) -> None:
    assert compiled(folder) == ("1", True)
    assert compiled(folder) == ("1", False)
    assert compiled(folder, packed=True) == ("2", True)
    (folder / "src" / "value.h").write_text("#define VALUE 7\n")
    assert compiled(folder) == ("7", True)
    assert sorted(p.name for p in (folder / "csim" / "functional").iterdir()) == ["csim", "digest"]


def test_compiler_errors_are_shown_from_the_first_on(folder: Path) -> None:
    (folder / "src" / "value.h").write_text("#define VALUE missing_name\n")
    (message,) = problems(folder)
    first, second, *_ = message.splitlines()
    assert first.startswith("The C-simulation did not compile: ")
    assert first.endswith("ended with exit code 1 and said:")
    assert "value.h:1:" in second
    assert "missing_name" in second
    assert not (folder / "csim" / "functional" / "csim").exists()


def test_a_missing_compiler_is_explained(folder: Path, bare_machine: Install) -> None:
    assert problems(folder) == (
        "No C++ compiler was found: neither g++ nor clang++ is on PATH. Install one "
        "(Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++), or set CXX to one.",
    )


def test_missing_sources_are_named(folder: Path) -> None:
    (folder / "src" / "main.cpp").unlink()
    assert problems(folder) == (
        f"The project lacks the source {folder / 'src' / 'main.cpp'}. Make it again with qvit-hls gen.",
    )


def test_sources_outside_the_project_are_refused(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["csim"]["sources"] = ["/etc/passwd", "../x.cpp"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert problems(folder) == tuple(
        f"{folder / 'manifest.json'} names the path {path!r}, which leads out of the project. "
        "Make the project again with qvit-hls gen."
        for path in ("/etc/passwd", "../x.cpp")
    )


_NUL = json.dumps(
    {"csim": {"sources": [], "include": ["a\0"], "defines": {"functional": [], "packed": []}, "data": "d"}}
)


@pytest.mark.parametrize("manifest", ["{}", '{"csim": 3}', '{"csim": {"sources": "a"}}', _NUL])
def test_a_manifest_without_sources_is_refused(folder: Path, manifest: str) -> None:
    (folder / "manifest.json").write_text(manifest)
    assert problems(folder) == (
        f"{folder / 'manifest.json'} does not say how the C-simulation is compiled (entry 'csim'). "
        "It was damaged or written by another version; make the project again with qvit-hls gen.",
    )


def test_a_folder_that_is_no_project_is_named(tmp_path: Path) -> None:
    assert problems(tmp_path / "none") == (
        f"There is no folder {tmp_path / 'none'}. Make a project with: "
        f"qvit-hls gen model.pt -o {tmp_path / 'none'}",
    )
    assert problems(tmp_path) == (
        f"The folder {tmp_path} is not a generated project: it holds no manifest.json. "
        "Name the folder that qvit-hls gen wrote.",
    )


def test_a_damaged_stamp_means_compiling_again(folder: Path) -> None:
    compile_simulation(read_build(folder))
    (folder / "csim" / "functional" / "digest").write_bytes(b"\xff" * 64)
    assert compile_simulation(read_build(folder)).seconds is not None


def test_a_manifest_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("[" * 200_000)
    with pytest.raises(QvitError, match="is not readable JSON"):
        read_build(tmp_path)
