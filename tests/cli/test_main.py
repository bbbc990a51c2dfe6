"""The command line as a whole: quick help, a version, and errors one per line on stderr."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Run

from qvit_hls import __version__
from qvit_hls.cli import main as module
from qvit_hls.errors import QvitError


def test_help_lists_the_verbs_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from qvit_hls.cli.main import main\n"
        "result = CliRunner().invoke(main, ['--help'])\n"
        "print(result.output)\n"
        "print([name for name in ('torch', 'numpy', 'rich', 'hls4ml') if name in sys.modules])\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    verbs = [line.split()[0] for line in output.partition("Commands:\n")[2].splitlines() if line[:2] == "  "]
    assert verbs == [
        *(
            "cosim",
            "csim",
            "doctor",
            "estimate",
            "explore",
            "gen",
            "mutate",
            "pipeline",
            "quantize",
            "search",
            "train",
        ),
    ]
    assert output.splitlines()[-1] == "[]"


def test_the_version_is_the_packages(qvit_hls: Run) -> None:
    assert qvit_hls("--version").output == f"qvit-hls, version {__version__}\n"


def test_every_problem_is_one_error_line_and_the_exit_code_is_1(
    qvit_hls: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise QvitError(["The first is wrong.", "The second is wrong."])

    monkeypatch.setattr(module.main.commands["doctor"], "callback", lambda as_json: fail())
    result = qvit_hls("doctor")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: The first is wrong.\nerror: The second is wrong.\n"


def test_a_missing_model_is_named(qvit_hls: Run, tmp_path: Path) -> None:
    result = qvit_hls("gen", tmp_path / "none.pt", "-o", tmp_path / "build", "--quiet")
    assert result.exit_code == 1
    assert str(tmp_path / "none.pt") in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused_before_anything_is_read(qvit_hls: Run, tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "precious.txt").write_text("")
    result = qvit_hls("gen", tmp_path / "none.pt", "-o", tmp_path / "build")
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: The output folder {tmp_path / 'build'} exists. Choose another with -o, or give "
        "--force to replace it with everything in it.\n"
    )


def test_a_name_that_the_file_system_refuses_is_an_error_line(qvit_hls: Run) -> None:
    name = "a" * 300
    result = qvit_hls("csim", name)
    assert (result.exit_code, result.stderr) == (1, f"error: {name} cannot be used: File name too long.\n")
