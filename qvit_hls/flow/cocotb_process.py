"""Running a cocotb test module on a built model, in processes of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qvit_hls.errors import QvitError
from qvit_hls.flow.verilator import Model

_POLL_SECONDS = 0.1
#: What the simulator says of a failure, or else what Python does.
_SAID = (re.compile(r"%Error|%Fatal"), re.compile(r"\w+Error\b"))
_LINES = 12
#: Variables of a surrounding pytest, make or cocotb that cocotb would take for its own.
_FOREIGN = ("PYTEST_CURRENT_TEST", "WAVES", "GUI", "MAKEFLAGS", "MAKELEVEL", "VERILATOR_ROOT")


def run_test(
    model: Model,
    module: str,
    folder: Path,
    *,
    seed: int = 0,
    waves: Path | None = None,
    seconds: float | None = None,
    environment: Mapping[str, str] | None = None,
    plusargs: Sequence[str] = (),
    poll: Callable[[], None] = lambda: None,
) -> None:
    """Run the cocotb tests of a Python module; what they find they write to files in ``folder``.

    Args:
        model: the simulation.
        module: name of the module (``qvit_hls.verify.rtl.frame_test``).
        folder: working folder of the simulation; its log is ``simulation.log`` there.
        seed: registers without a reset start with random values of this seed.
        waves: FST file to write; the model must have been built for it.
        seconds: after so long it is ended.
        environment: variables for the test.
        plusargs: further ones of the simulation (``+name=value``).
        poll: called several times per second meanwhile.

    Raises:
        QvitError: the simulation cannot be started, ends early, takes too long, or a test fails.
    """
    log, results = folder / "simulation.log", folder / "results.xml"
    request = {
        "module": module,
        "top": model.top,
        "build_dir": str(model.program.parent.resolve()),
        "test_dir": str(folder.resolve()),
        "log_file": str(log.resolve()),
        "results_xml": str(results.resolve()),
        "waves": None if waves is None else str(waves.resolve()),
        "seed": seed,
        "environment": {"COCOTB_ANSI_OUTPUT": "0", **(environment or {})},
        "plusargs": list(plusargs),
    }
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in _FOREIGN and not name.startswith(("COCOTB_", "GPI_", "PYGPI_"))
    }
    with (folder / "process.log").open("wb") as output:
        # A session of its own: the simulator is a process below it, and both must end together.
        process = subprocess.Popen(
            [sys.executable, "-m", "qvit_hls.flow.cocotb_process", json.dumps(request)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**clean, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,
        )
        started = time.monotonic()
        try:
            while process.poll() is None:
                if seconds is not None and time.monotonic() - started > seconds:
                    raise QvitError(
                        f"The simulation of {model.top} was ended: it took longer than {seconds:g} s."
                    )
                poll()
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    poll()
    if process.returncode != 0 or not _passed(results):
        lines = [
            line
            for path in (log, folder / "process.log")
            if path.is_file()
            for line in path.read_text(errors="replace").splitlines()
        ]
        found = ([line.strip() for line in lines if pattern.search(line)][:_LINES] for pattern in _SAID)
        said = "\n".join(f"  {line}" for line in next(filter(None, found), lines[-_LINES:])) or "  nothing"
        raise QvitError(f"The simulation of {model.top} failed and said:\n{said}")


def _passed(results: Path) -> bool:
    from cocotb_tools.check_results import get_results

    try:
        tests, failures = get_results(results)
    except (RuntimeError, SyntaxError):  # not there, or cut off
        return False
    return tests > 0 and failures == 0


def _main(request: dict[str, Any]) -> None:
    from cocotb_tools.runner import get_runner

    waves = request["waves"]
    get_runner("verilator").test(
        test_module=request["module"],
        hdl_toplevel=request["top"],
        hdl_toplevel_lang="verilog",
        build_dir=request["build_dir"],
        test_dir=request["test_dir"],
        log_file=request["log_file"],
        results_xml=request["results_xml"],
        seed=request["seed"],
        waves=waves is not None,
        test_args=[] if waves is None else ["--trace-file", waves],
        # Verilator's seed is from 1 on; 0 would be a new one each time.
        plusargs=[
            "+verilator+rand+reset+2",
            f"+verilator+seed+{request['seed'] % (2**31 - 1) + 1}",
            *request["plusargs"],
        ],
        extra_env=request["environment"],
    )


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
