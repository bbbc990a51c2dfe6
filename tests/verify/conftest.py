from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from small_project import write_project
from small_rtl_project import write_rtl_project

from qvit_hls.verify.cosim import run_cosim


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with RTL whose simulation is built; once for all processes of the tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "rtl-project"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            run_cosim(write_rtl_project(folder), count=1)
    return folder


@pytest.fixture
def rtl_project(built: Path, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    return Path(shutil.copytree(built, tmp_path / "rtl-project"))
