"""Testing RTL simulation itself: faults planted in copies of a project's RTL must be caught and located."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qvit_hls.errors import QvitError
from qvit_hls.flow.build import read_build
from qvit_hls.flow.output import write_file
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.verify.cosim import run_cosim
from qvit_hls.verify.cosim_report import CosimReport
from qvit_hls.verify.faults.rtl_fault import RtlFault, RtlPlanting, Shows
from qvit_hls.verify.faults.rtl_sources import SWITCH_FILE, SWITCH_SOURCE, plusarg, switched
from qvit_hls.verify.faults.subject import Subject
from qvit_hls.verify.mutation import (
    MutationReport,
    Outcome,
    Progress,
    copy_project,
    differs_already,
    plan,
    run_all,
)
from qvit_hls.verify.rtl.frame_run import HungError
from qvit_hls.verify.rtl.stalls import Stalls

#: Two, so that what one frame leaves behind shows in the next.
_IMAGES = 2
_STALLS = Stalls(0.3, seed=1)
#: Cycles without progress after which a fault has made the design hang; healthy ones wait for less.
_PATIENCE = 20_000
#: Seconds for one image; a fault that makes the simulation run forever is caught by this.
_SECONDS = 60.0


@one_torch_thread()
def run_rtl_mutation(
    folder: Path,
    faults: Sequence[RtlFault],
    *,
    jobs: int | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> MutationReport:
    """Plant faults one at a time and simulate the RTL on each; the project itself is not touched.

    The packed variant is simulated, with the trace and without. One model carries all faults and switches one
    of them on; with none on it must equal the golden graph.

    Args:
        folder: a project that ``qvit-hls gen --mac rtl`` wrote.
        faults: what to plant.
        jobs: simulations at a time; default one per core.
        progress: told how far each stage is.

    Raises:
        QvitError: the project is not usable or differs before any fault is planted; or faults no longer
            apply to these sources or cannot be built, all of them named.
    """
    if "rtl" not in read_build(folder).manifest:
        raise QvitError(
            f"The project {folder} holds no RTL to plant faults in. Make it with qvit-hls gen --mac rtl."
        )
    subject = Subject(folder)
    plantings = plan(faults, lambda fault: fault.plant(subject), progress)
    with tempfile.TemporaryDirectory(prefix="qvit-mutate-") as temporary:
        bench = _Bench(folder, Path(temporary) / "project")
        bench.prepare(plantings, progress)
        outcomes = run_all(plantings, bench.run, jobs or os.cpu_count() or 1, progress)
    return MutationReport(folder.name, tuple(outcomes))


@dataclass(frozen=True)
class _Bench:
    """A copy of a project, with all faults in its RTL.

    Attributes:
        origin: the project.
        folder: the copy.
    """

    origin: Path
    folder: Path

    def prepare(self, plantings: Sequence[tuple[RtlFault, RtlPlanting | str]], progress: Progress) -> None:
        """Make the copy, build its model, and run it with all faults off.

        Raises:
            QvitError: the faults cannot be built, or the project differs as it is.
        """
        edits = {
            number: planting.edits
            for number, (_, planting) in enumerate(plantings, 1)
            if isinstance(planting, RtlPlanting)
        }
        stalls = sorted({fault.stalls for fault, planting in plantings if isinstance(planting, RtlPlanting)})
        copy_project(self.origin, self.folder)
        names = {placed.file for placed_ones in edits.values() for placed in placed_ones}
        texts = {name: (self.folder / name).read_text(encoding="utf-8") for name in names}
        for name, text in switched(texts, edits).items():
            write_file(self.folder / name, text.encode())
        _add_switch(self.folder)
        for done, stalled in enumerate(stalls):
            progress("project without faults", done, len(stalls))
            if not self._simulate(0, stalled).passed:
                options = f" --stalls {_STALLS.share} --seed {_STALLS.seed}" if stalled else ""
                raise differs_already(self.origin, f"cosim {self.origin} --packed{options}")
            progress("project without faults", done + 1, len(stalls))

    def run(self, number: int, fault: RtlFault, planting: RtlPlanting) -> Outcome:
        """Simulate the fault of an index."""
        try:
            seen, first = _seen(self._simulate(number + 1, fault.stalls))
        except HungError as error:
            seen, first = Shows.HANG.value, f"hang: {_state(str(error))}"
        except QvitError as error:
            seen, first = Shows.FAILURE.value, str(error).replace(f"{self.folder}/", "")
        return Outcome(
            fault,
            planting.place,
            planting.expected,
            first,
            caught=bool(seen),
            located=seen in planting.expected,
        )

    def _simulate(self, number: int, stalled: bool) -> CosimReport:
        return run_cosim(
            self.folder,
            count=_IMAGES,
            packed=True,
            stalls=_STALLS if stalled else None,
            patience=_PATIENCE,
            seconds=_SECONDS,
            plusargs=(plusarg(number),),
        )


def _seen(report: CosimReport) -> tuple[str, str]:
    """The first layer that differs, or what else is wrong; and in words. Both empty where nothing is."""
    if report.first is not None:
        return report.first.tensor.layer, report.first.tensor.layer
    if report.problems:
        of_logits = [problem for problem in report.problems if re.search(r"\blogits differ\b", problem)]
        kind = Shows.UNTRACED if of_logits else Shows.STREAMS
        return kind.value, (of_logits or report.problems)[0]
    return "", ""


def _state(message: str) -> str:
    """The part of a hang's message that says how far the design was."""
    found = re.search(r"cycle [\d,]+ of (image \d+, trace \w+).*?(Matrix products: .*?)\. Words", message)
    return message if found is None else f"{found[1]}; {found[2]}"


def _add_switch(folder: Path) -> None:
    write_file(folder / SWITCH_FILE, SWITCH_SOURCE)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["rtl"]["sources"].insert(0, SWITCH_FILE)
    write_file(path, json.dumps(manifest).encode())
