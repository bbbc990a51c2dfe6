"""``qvit-hls doctor`` shows what is there, and its exit code says whether gen and csim can run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Run


def test_a_ready_machine_exits_with_0(qvit_hls: Run) -> None:
    result = qvit_hls("doctor")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "gen, csim and estimate can run here."


def test_a_machine_without_compiler_exits_with_1_and_says_how_to_get_one(
    qvit_hls: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    result = qvit_hls("doctor", "--json")
    assert result.exit_code == 1
    (compiler,) = [tool for tool in json.loads(result.stdout) if tool["tool"] == "C++ compiler"]
    assert (compiler["status"], compiler["version"], compiler["install"]) == (
        "missing",
        None,
        "apt-get install g++, or set CXX",
    )
    assert qvit_hls("doctor").stdout.splitlines()[-1] == (
        "Not everything that gen and csim need is here: install what is marked missing or unusable."
    )
