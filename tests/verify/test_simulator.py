"""What reaches the user when the simulation program itself goes wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from qvit_hls.errors import QvitError
from qvit_hls.verify.simulator import Simulator

CODES = np.arange(8, dtype=np.int8).reshape(4, 1, 1, 2)


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def problem(simulator: Simulator) -> str:
    with pytest.raises(QvitError) as error:
        simulator.run(CODES)
    (message,) = error.value.problems
    return message


@pytest.mark.parametrize("jobs", [1, 2, 3, 9])
def test_traces_come_back_in_the_order_of_the_images(tmp_path: Path, jobs: int) -> None:
    echo = script(tmp_path / "csim", 'cp "$2" "$3"')  # two int8 codes per image are one word of trace
    done: list[int] = []
    trace = Simulator(echo, tmp_path, words=1, jobs=jobs).run(CODES, done.append)
    assert trace.tobytes() == CODES.tobytes()
    assert done[-1] == 4


def test_a_failing_program_is_reported_with_what_it_said(tmp_path: Path) -> None:
    program = script(tmp_path / "csim", "echo accumulator of layer 3 overflows >&2; exit 3")
    assert problem(Simulator(program, tmp_path, words=1)) == (
        f"The C-simulation {program} ended with exit code 3 and said:\n  accumulator of layer 3 overflows"
    )


def test_a_crash_is_reported_with_its_signal(tmp_path: Path) -> None:
    program = script(tmp_path / "csim", "kill -SEGV $$")
    assert problem(Simulator(program, tmp_path, words=1)) == (
        f"The C-simulation {program} ended with signal SIGSEGV and said nothing."
    )


def test_a_short_trace_is_refused(tmp_path: Path) -> None:
    program = script(tmp_path / "csim", 'cp "$2" "$3"')
    assert problem(Simulator(program, tmp_path, words=2)) == (
        f"The C-simulation {program} wrote a trace of 4 words for 4 images; "
        "program.json says 2 words per image."
    )


def test_a_program_that_hangs_is_stopped(tmp_path: Path) -> None:
    program = script(tmp_path / "csim", "exec sleep 60")
    assert problem(Simulator(program, tmp_path, words=1, timeout=0.05)) == (
        "The C-simulation was stopped: 4 images took longer than 0.2 seconds. Allow more with --timeout."
    )


def test_a_program_that_cannot_start_is_named(tmp_path: Path) -> None:
    message = problem(Simulator(tmp_path / "none", tmp_path, words=1))
    assert re.fullmatch(r"The C-simulation .*none cannot be started: No such file or directory\.", message)
