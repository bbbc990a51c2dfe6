"""Testing the harness itself: faults planted in copies of a project must be caught and located."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from qvit_hls import __version__
from qvit_hls.errors import QvitError
from qvit_hls.flow.build import read_build
from qvit_hls.flow.compile import compile_simulation
from qvit_hls.flow.output import write_file
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.verify.csim import CsimReport, run_csim
from qvit_hls.verify.faults.fault import Fault, NotInProjectError, Planting, Variant
from qvit_hls.verify.faults.rtl_fault import RtlFault, RtlPlanting
from qvit_hls.verify.faults.subject import Subject

Progress = Callable[[str, int, int], None]
AnyFault = TypeVar("AnyFault", Fault, RtlFault)
AnyPlanting = TypeVar("AnyPlanting", Planting, RtlPlanting)

#: What a copy does not need: reports, what tools made, the graph for viewers.
_LEFT_OUT = ("reports", "hls", "hls_tcl", "cosim", "graph.onnx", "*.xo")
#: Seconds for one image; a fault that makes the simulation run forever is caught by this.
_TIMEOUT = 120.0


@dataclass(frozen=True)
class Outcome:
    """What the harness made of one fault.

    Attributes:
        place: where the fault was planted.
        expected: the layers where the first difference may be; of a fault in RTL perhaps other ways to show.
        first: the first differing layer that was reported, or what else was wrong.
        caught: values differed, or the simulation failed.
        located: the first differing layer is one of the expected ones.
        skipped: why the fault was not planted, where it was not.
    """

    fault: Fault | RtlFault
    place: str = ""
    expected: frozenset[str] = frozenset()
    first: str = ""
    caught: bool = False
    located: bool = False
    skipped: str = ""


@dataclass(frozen=True)
class MutationReport:
    """All outcomes, in the catalogue's order."""

    project: str
    outcomes: tuple[Outcome, ...]

    @property
    def planted(self) -> tuple[Outcome, ...]:
        """Those that the project has a place for."""
        return tuple(outcome for outcome in self.outcomes if not outcome.skipped)

    @property
    def caught(self) -> int:
        """How many of the planted faults were caught."""
        return sum(outcome.caught for outcome in self.planted)

    @property
    def located(self) -> int:
        """How many of the planted faults were located."""
        return sum(outcome.located for outcome in self.planted)

    @property
    def passed(self) -> bool:
        """Every planted fault was caught and located."""
        return self.caught == self.located == len(self.planted)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "qvit_hls": __version__,
            "project": self.project,
            "passed": self.passed,
            "score": {"planted": len(self.planted), "caught": self.caught, "located": self.located},
            "faults": [
                {
                    "name": outcome.fault.name,
                    "group": outcome.fault.group,
                    "what": outcome.fault.what,
                    "variant": outcome.fault.variant,
                    "place": outcome.place,
                    "expected": sorted(outcome.expected),
                    "first_difference": outcome.first,
                    "caught": outcome.caught,
                    "located": outcome.located,
                    "not_in_project": outcome.skipped or None,
                }
                for outcome in self.outcomes
            ],
        }


@one_torch_thread()
def run_mutation(
    folder: Path,
    faults: Sequence[Fault],
    *,
    jobs: int | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> MutationReport:
    """Plant faults one at a time and run the C-simulation on each; the project itself is not touched.

    Args:
        folder: a project that ``qvit-hls gen`` wrote.
        faults: what to plant.
        jobs: faults at a time; default one per core.
        progress: told how far each stage is.

    Raises:
        QvitError: the project is not usable or differs before any fault is planted; or faults no longer
            apply to these sources or do not compile, all of them named.
    """
    subject = Subject(folder)
    plantings = plan(faults, lambda fault: fault.plant(subject), progress)
    with tempfile.TemporaryDirectory(prefix="qvit-mutate-") as temporary:
        healthy = Path(temporary) / "healthy"
        copy_project(folder, healthy)
        used = {fault.variant for fault, planting in plantings if isinstance(planting, Planting)}
        variants: list[Variant] = sorted(used)
        for number, variant in enumerate(variants):
            progress("project without faults", number, len(variants))
            report = run_csim(healthy, packed=variant == "packed", jobs=1)
            if not report.passed:
                raise differs_already(folder, f"csim {folder}{' --packed' if variant == 'packed' else ''}")
            progress("project without faults", number + 1, len(variants))
        outcomes = run_all(
            plantings,
            lambda number, fault, planting: _run_one(healthy, number, fault, planting),
            jobs or os.cpu_count() or 1,
            progress,
        )
    return MutationReport(folder.name, tuple(outcomes))


def plan(
    faults: Sequence[AnyFault], plant: Callable[[AnyFault], AnyPlanting], progress: Progress
) -> list[tuple[AnyFault, AnyPlanting | str]]:
    """Plant every fault on paper; one that the project has no place for gets the reason.

    Raises:
        QvitError: faults that no longer apply, all of them named.
    """
    plantings: list[tuple[AnyFault, AnyPlanting | str]] = []
    problems: list[str] = []
    for number, fault in enumerate(faults):
        try:
            plantings.append((fault, plant(fault)))
        except NotInProjectError as reason:
            plantings.append((fault, str(reason)))
        except QvitError as error:
            problems += error.problems
        progress("plan faults", number + 1, len(faults))
    if problems:
        raise QvitError(problems)
    return plantings


def copy_project(folder: Path, target: Path) -> None:
    """Copy what a project was generated as; what tools made in it since stays behind."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns(*_LEFT_OUT))


def differs_already(folder: Path, command: str) -> QvitError:
    """What to say of a project that is not equal to its golden graph as it is."""
    return QvitError(
        f"{folder} differs before any fault is planted, so faults prove nothing. Run: qvit-hls {command}"
    )


def run_all(
    plantings: Sequence[tuple[AnyFault, AnyPlanting | str]],
    run_one: Callable[[int, AnyFault, AnyPlanting], Outcome],
    jobs: int,
    progress: Progress,
) -> list[Outcome]:
    """Run every planted fault.

    Args:
        plantings: of each fault; the reason where it was not planted.
        run_one: runs one of them, given its index.
        jobs: how many at a time.
        progress: told how many are done.

    Raises:
        QvitError: what ``run_one`` raises, all of it.
    """
    outcomes: dict[int, Outcome] = {}
    problems: list[str] = []
    # Threads: the work is in compilers and simulations, which are processes of their own.
    with ThreadPoolExecutor(jobs) as pool:
        running = {}
        for number, (fault, planting) in enumerate(plantings):
            if isinstance(planting, str):
                outcomes[number] = Outcome(fault, skipped=planting)
            else:
                running[pool.submit(run_one, number, fault, planting)] = number
        try:
            for done, future in enumerate(as_completed(running)):
                try:
                    outcomes[running[future]] = future.result()
                except QvitError as error:
                    problems += error.problems
                progress("faults", done + 1, len(running))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if problems:
        raise QvitError(problems)
    return [outcomes[number] for number in range(len(plantings))]


def _run_one(healthy: Path, number: int, fault: Fault, planting: Planting) -> Outcome:
    packed = fault.variant == "packed"
    folder = healthy.parent / f"fault{number}"
    shutil.copytree(healthy, folder)
    try:
        for path, content in planting.files.items():
            write_file(folder / path, content)
        try:
            compile_simulation(read_build(folder), packed)
        except QvitError as error:
            raise QvitError(f"The fault {fault.name} does not compile. {error}") from error
        try:
            report = run_csim(folder, packed=packed, jobs=1, timeout=_TIMEOUT)
        except QvitError as error:
            first = str(error).replace(f"{folder}/", "")
            return Outcome(fault, planting.place, planting.layers, first, caught=True)
        return _judge(fault, planting, report)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _judge(fault: Fault, planting: Planting, report: CsimReport) -> Outcome:
    first = report.first
    layer = "" if first is None else first.tensor.layer
    return Outcome(
        fault,
        planting.place,
        planting.layers,
        layer,
        caught=first is not None,
        located=layer in planting.layers,
    )
