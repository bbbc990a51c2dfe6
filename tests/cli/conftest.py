from __future__ import annotations

import pytest
from click.testing import CliRunner, Result
from command_line import Run

from qvit_hls.cli.main import main


@pytest.fixture
def qvit_hls() -> Run:
    """Run the command line in this process: ``qvit_hls("csim", folder)``."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run
