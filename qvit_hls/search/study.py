"""The one record of a search: an Optuna study that several workers write to, and that survives any of them.

A trial is one network by one worker: RUNNING with the network's key and the worker from its first moment,
COMPLETE with accuracy and cycles, or FAIL, which counts for nothing. Of several trials of the same network
the one with the lowest number counts; a worker looks after it has written its own, so that one is evaluated.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from qvit_hls.errors import QvitError
from qvit_hls.nets.subnet import Subnet
from qvit_hls.search.database import (
    FrozenTrial,
    TrialState,
    UpdateFinishedTrialError,
    create_trial,
    optuna,
    sqlalchemy,
)
from qvit_hls.search.settings import DIGESTS, PLAN, SearchSettings
from qvit_hls.search.study_file import SETTINGS, open_storage, unusable
from qvit_hls.search.workers import HEARTBEAT_S, Worker

#: Attribute of a trial: its network's key, stage, generation and cycles, and its worker. Only one, since each
#: takes the database as long as the trial itself.
TRIAL = "search"
#: Attribute of a trial: when its worker last showed, as ``time.time()``.
SEEN = "seen"
#: Seconds between two looks at the study while others work on the last trials of a generation.
_POLL_S = 0.05
#: Seconds after which what is known of the study is taken for old.
_FRESH_S = 0.1


@dataclass(frozen=True)
class Proposal:
    """A network that is to be evaluated.

    Attributes:
        stage, generation: which of the search's stages it belongs to, and which generation of that.
        cycles: per frame.
    """

    subnet: Subnet
    stage: int
    generation: int
    cycles: int


@dataclass(frozen=True)
class Record:
    """A finished trial.

    Attributes:
        number: of the trial.
        key: of the network.
        accuracy: what its evaluation gave.
    """

    number: int
    key: str
    stage: int
    generation: int
    cycles: int
    accuracy: float


@dataclass(frozen=True)
class _Claim:
    """A trial of this worker: how the storage calls it, and its number in the study."""

    trial: int
    number: int


class SearchStudy:
    """A study that is open.

    Args:
        study: path of a file, or URL of a database.
        settings: of the search; those of a study that is there must be the same, but for the plan of its
            trials, which stays as it is.

    Attributes:
        settings: those given, with the study's plan.

    Raises:
        QvitError: the study is no study of this program, damaged, or of another search; every setting that
            differs is named.
    """

    def __init__(self, study: str, settings: SearchSettings) -> None:
        self.name = study
        self._storage, self._number = open_storage(study, settings.to_json())
        self.settings = self._checked(settings)
        self._worker = Worker.here()
        self._records: dict[str, Record] = {}
        self._running: dict[str, list[FrozenTrial]] = {}
        self._final: set[int] = set()
        self._read_at = -math.inf
        #: Trials as last read, and this worker's since then.
        self._count = 0
        #: Whether another worker has begun trials since this one came.
        self._shared = False
        #: The trial that this worker is at.
        self._at: int | None = None
        self._read()

    def records(self) -> list[Record]:
        """All finished trials in the order of their numbers, as last read."""
        return sorted(self._records.values(), key=lambda record: record.number)

    def evaluate(
        self,
        proposals: Sequence[Proposal],
        accuracy: Callable[[Subnet], float],
        finished: Callable[[Record], None] = lambda record: None,
    ) -> None:
        """Evaluate networks together with other workers that do the same; returns when all are finished.

        Args:
            proposals: different networks.
            accuracy: of a network.
            finished: called with each trial that this worker finishes.

        Raises:
            QvitError: an accuracy is no number, or the study cannot be written any more.
        """
        keyed = {proposal.subnet.key: proposal for proposal in proposals}
        try:
            with self._alive():
                self._evaluate(keyed, accuracy, finished)
        except (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError) as error:
            raise unusable(self.name, error) from error

    def _evaluate(
        self,
        keyed: dict[str, Proposal],
        accuracy: Callable[[Subnet], float],
        finished: Callable[[Record], None],
    ) -> None:
        self._read()
        while True:
            if self._shared and time.monotonic() - self._read_at > _FRESH_S:
                self._read()
            left = [key for key in keyed if key not in self._records]
            if not left:
                return
            key = next((key for key in left if not self._is_running(key)), None)
            if key is None:
                time.sleep(_POLL_S)
                self._read()
                continue
            claim = self._claim(key, keyed[key])
            if claim is not None:
                self._finish(claim, keyed[key], key, accuracy, finished)

    # ------------------------------------------------------------ trials

    def _claim(self, key: str, proposal: Proposal) -> _Claim | None:
        """A trial of this worker for a network, unless another worker was first."""
        template = create_trial(
            state=TrialState.RUNNING,
            user_attrs={
                TRIAL: {
                    "network": key,
                    "place": [proposal.stage, proposal.generation, proposal.cycles],
                    "worker": self._worker.to_json(),
                }
            },
        )
        trial = self._storage.create_new_trial(self._number, template)
        # It has the next number if nobody else has begun a trial since the study was read.
        number = self._count
        if self._storage.get_trial_id_from_study_id_trial_number(self._number, number) == trial:
            self._count += 1
            return _Claim(trial, number)
        self._shared = True
        self._read()
        first = min(self._running[key], key=lambda other: other.number)
        if key in self._records or first._trial_id != trial:
            self._fail(trial)
            return None
        return _Claim(trial, first.number)

    def _finish(
        self,
        claim: _Claim,
        proposal: Proposal,
        key: str,
        accuracy: Callable[[Subnet], float],
        finished: Callable[[Record], None],
    ) -> None:
        try:
            self._at = claim.trial
            value = float(accuracy(proposal.subnet))
            if not math.isfinite(value):
                raise QvitError(
                    f"The accuracy of the network {key} is {value}; it should be a finite number."
                )
        except BaseException:
            self._fail(claim.trial)
            raise
        finally:
            self._at = None
        values = [value, float(proposal.cycles)]
        try:
            self._storage.set_trial_state_values(claim.trial, TrialState.COMPLETE, values)
        except UpdateFinishedTrialError:
            return  # others took this worker for dead, and evaluate the network themselves
        self._running.pop(key, None)
        self._final.add(claim.number)
        place = (proposal.stage, proposal.generation, proposal.cycles)
        self._records[key] = Record(claim.number, key, *place, value)
        finished(self._records[key])

    def _fail(self, trial: int) -> None:
        with contextlib.suppress(UpdateFinishedTrialError):
            self._storage.set_trial_state_values(trial, TrialState.FAIL)

    @contextlib.contextmanager
    def _alive(self) -> Iterator[None]:
        """Let workers of other machines know that this one is there, while it is at a trial."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(HEARTBEAT_S):
                trial = self._at
                if trial is not None:
                    with contextlib.suppress(Exception):  # the next one, or the trial's end, says the same
                        self._storage.set_trial_user_attr(trial, SEEN, time.time())

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    # ------------------------------------------------------------ reading

    def _read(self) -> None:
        """Bring what is known up to date; finished trials are read once."""
        self._running = {}
        trials = self._storage.get_all_trials(self._number, deepcopy=False)
        self._count = len(trials)
        for trial in trials:
            if trial.number in self._final:
                continue
            about = trial.user_attrs.get(TRIAL, {})
            key = about.get("network")
            if trial.state == TrialState.RUNNING and key is not None:
                self._running.setdefault(key, []).append(trial)
            elif trial.state.is_finished():
                self._final.add(trial.number)
                if trial.state == TrialState.COMPLETE and key is not None and key not in self._records:
                    stage, generation, cycles = about["place"]
                    self._records[key] = Record(
                        trial.number, key, stage, generation, cycles, float(trial.values[0])
                    )
        self._read_at = time.monotonic()

    def _is_running(self, key: str) -> bool:
        """Whether a worker that is there evaluates a network; trials of dead workers are given up."""
        alive = False
        for trial in self._running.get(key, []):
            started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
            worker = Worker.of_json(trial.user_attrs[TRIAL]["worker"])
            if worker.is_dead(max(trial.user_attrs.get(SEEN, 0.0), started)):
                self._fail(trial._trial_id)
            else:
                alive = True
        return alive

    def _checked(self, settings: SearchSettings) -> SearchSettings:
        """The study's own plan of the trials, once all else is the same."""
        found = self._storage.get_study_user_attrs(self._number).get(SETTINGS)
        if not isinstance(found, dict) or not all(isinstance(found.get(name), int) for name in PLAN):
            raise QvitError(f"The study {self.name} holds no settings of a search; choose another one.")
        wanted = settings.to_json()
        if problems := [
            f"The study {self.name} is of another search: "
            + _difference(name, found.get(name), wanted.get(name))
            + " Search with the same, or choose another study."
            for name in dict.fromkeys([*wanted, *found])
            if name not in PLAN and found.get(name) != wanted.get(name)
        ]:
            raise QvitError(problems)
        return replace(settings, **{name: found[name] for name in PLAN})


def _difference(name: str, found: object, wanted: object) -> str:
    """What differs between two searches, as a sentence; digests say nothing to people."""
    if name in DIGESTS:
        return f"it has another {DIGESTS[name]}."
    verb = "are" if isinstance(wanted, list) else "is"
    return f"its {name.replace('_', ' ')} {verb} {found!r}, not {wanted!r}."
