from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bare_machine import Install

from qvit_hls.flow import toolchain


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A machine without any tool, and a function that puts pretended ones on its PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    for variable in ("CXX", "XILINX_HLS", "XILINX_VITIS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(toolchain, "package_folder", lambda name: None)

    def install(name: str, prints: str = "", folder: Path = programs) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_text(f"#!{shutil.which('sh', path='/bin:/usr/bin')}\necho '{prints}'\n")
        path.chmod(0o755)
        if folder != programs:
            (programs / name).symlink_to(path)
        return programs / name

    return install
