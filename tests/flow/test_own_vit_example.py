"""The example of a network of one's own: from its definition to an accelerator that computes the same."""

from __future__ import annotations

import runpy
from pathlib import Path

from click.testing import CliRunner

from qvit_hls.flow.generate import Target, generate
from qvit_hls.verify.csim import run_csim

SCRIPT = Path(__file__).parents[2] / "examples" / "own_vit" / "own_vit.py"


def test_the_example_makes_an_accelerator(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        runpy.run_path(str(SCRIPT))["main"], ["-o", str(tmp_path / "model.pt"), "--steps", "2"]
    )
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert len(lines) == 2 and lines[0].startswith("float: ") and lines[1].startswith("integer: ")
    folder = generate(tmp_path / "model.pt", tmp_path / "build", Target.on_board(tile=(8, 16, 4))).folder
    report = run_csim(folder)
    assert report.passed
