"""Running a compiled C-simulation on image codes, several processes at a time."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from qvit_hls.errors import QvitError

_POLL_SECONDS = 0.05
_STDERR_LINES = 12


@dataclass(frozen=True)
class Simulator:
    """A C-simulation ready to run.

    Attributes:
        program: the compiled program.
        data: folder with weights, tables and descriptors.
        words: int16 words of trace per image.
        jobs: processes that share the images.
        timeout: seconds that one image may take before the run is given up.
    """

    program: Path
    data: Path
    words: int
    jobs: int = 1
    timeout: float = 600.0

    def run(self, codes: np.ndarray, progress: Callable[[int], None] = lambda done: None) -> np.ndarray:
        """Simulate images and return their traces, int16 ``[n, words]``.

        Args:
            codes: image codes int8 ``[n, C, H, W]``.
            progress: called from time to time with the number of images done.

        Raises:
            QvitError: the program cannot be started, fails, takes too long, or writes a trace of
                another length.
        """
        parts = np.array_split(codes, min(self.jobs, len(codes)))
        with tempfile.TemporaryDirectory(prefix="qvit-csim-") as folder:
            runs: list[_Process] = []
            try:
                for number, part in enumerate(parts):
                    runs.append(self._start(Path(folder), number, part))
                self._wait(runs, progress)
            finally:
                for run in runs:
                    run.stop()
            return np.concatenate([self._trace(run) for run in runs])

    def _start(self, folder: Path, number: int, part: np.ndarray) -> _Process:
        images, trace = folder / f"images{number}.bin", folder / f"trace{number}.bin"
        images.write_bytes(np.ascontiguousarray(part, np.int8).tobytes())
        stderr = (folder / f"stderr{number}.txt").open("wb")
        command = [str(self.program), str(self.data), str(images), str(trace), str(len(part))]
        try:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr)
        except OSError as error:
            stderr.close()
            raise QvitError(
                f"The C-simulation {self.program} cannot be started: {error.strerror}."
            ) from error
        return _Process(process, len(part), trace, stderr)

    def _wait(self, runs: list[_Process], progress: Callable[[int], None]) -> None:
        started = time.monotonic()
        while any(run.process.poll() is None for run in runs):
            for run in runs:
                self._check(run)
                if run.process.poll() is None and time.monotonic() - started > self.timeout * run.images:
                    raise QvitError(
                        f"The C-simulation was stopped: {run.images} images took longer than "
                        f"{self.timeout * run.images:g} seconds. Allow more with --timeout."
                    )
            progress(sum(run.done(self.words) for run in runs))
            time.sleep(_POLL_SECONDS)
        for run in runs:
            self._check(run)
        progress(sum(run.images for run in runs))

    def _check(self, run: _Process) -> None:
        code = run.process.poll()
        if not code:
            return
        how = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
        lines = run.stderr_lines()
        said = "\n".join(["and said:", *(f"  {line}" for line in lines)]) if lines else "and said nothing."
        raise QvitError(f"The C-simulation {self.program} ended with {how} {said}")

    def _trace(self, run: _Process) -> np.ndarray:
        trace = np.fromfile(run.trace, "<i2") if run.trace.is_file() else np.empty(0, "<i2")
        if trace.size != run.images * self.words:
            raise QvitError(
                f"The C-simulation {self.program} wrote a trace of {trace.size} words "
                f"for {run.images} images; program.json says {self.words} words per image."
            )
        return trace.reshape(run.images, self.words)


@dataclass(frozen=True)
class _Process:
    """One running simulation of some of the images."""

    process: subprocess.Popen[bytes]
    images: int
    trace: Path
    stderr: IO[bytes]

    def done(self, words: int) -> int:
        """Images whose trace is written already."""
        try:
            return min(self.images, self.trace.stat().st_size // (2 * words))
        except OSError:
            return 0

    def stderr_lines(self) -> list[str]:
        """The last lines of its stderr."""
        return Path(self.stderr.name).read_text(errors="replace").splitlines()[-_STDERR_LINES:]

    def stop(self) -> None:
        """End the process, if it still runs, and close its files."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.stderr.close()
