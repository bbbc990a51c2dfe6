"""A study loses no finished trial and evaluates no network twice, whatever happens to its workers."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from study_worker import SETTINGS, proposals, synthetic_accuracy

from qvit_hls.errors import QvitError
from qvit_hls.nets.subnet import Subnet
from qvit_hls.search.study import TRIAL, SearchStudy
from qvit_hls.search.study_file import STUDY_NAME
from qvit_hls.search.workers import GRACE_S, Worker

HERE = Path(__file__).parent


def _start(study: Path, evaluated: Path, seconds: float, hang_at: int = -1) -> subprocess.Popen[bytes]:
    arguments = [str(study), str(evaluated), str(seconds), str(hang_at)]
    return subprocess.Popen([sys.executable, str(HERE / "study_worker.py"), *arguments])


def _trials(path: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=STUDY_NAME, storage=f"sqlite:///{path}").trials


def _keys(path: Path, state: TrialState) -> list[str]:
    return [trial.user_attrs[TRIAL]["network"] for trial in _trials(path) if trial.state == state]


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _running(path: Path, worker: Worker, key: str, **more: object) -> int:
    """A trial that another worker has begun."""
    study = SearchStudy(str(path), SETTINGS)
    attributes = {TRIAL: {"network": key, "worker": worker.to_json(), "place": [0, 0, 1]}, **more}
    template = create_trial(state=TrialState.RUNNING, user_attrs=attributes)
    return study._storage.create_new_trial(study._number, template)


def test_two_processes_share_the_work_and_do_nothing_twice(tmp_path: Path) -> None:
    study = tmp_path / "study.db"
    evaluated = [tmp_path / "first.txt", tmp_path / "second.txt"]
    workers = [_start(study, path, 0.05) for path in evaluated]
    _wait_for(lambda: all(path.exists() for path in evaluated))
    (tmp_path / "go").touch()
    assert [worker.wait(120) for worker in workers] == [0, 0]
    first, second = (path.read_text().split() for path in evaluated)
    assert first and second
    wanted = {proposal.subnet.key for proposal in proposals()}
    assert len(first) + len(second) == len(wanted) and {*first, *second} == wanted
    complete = _keys(study, TrialState.COMPLETE)
    assert len(complete) == len(wanted) and set(complete) == wanted
    assert not _keys(study, TrialState.RUNNING)
    assert [trial.number for trial in _trials(study)] == list(range(len(_trials(study))))


def test_a_killed_worker_loses_only_the_trial_it_was_at(tmp_path: Path) -> None:
    study, evaluated = tmp_path / "study.db", tmp_path / "evaluated.txt"
    (tmp_path / "go").touch()
    worker = _start(study, evaluated, 0.0, hang_at=5)
    _wait_for(lambda: study.exists() and len(_keys(study, TrialState.RUNNING)) == 1
              and len(_keys(study, TrialState.COMPLETE)) == 5)  # fmt: skip
    before = [trial for trial in _trials(study) if trial.state == TrialState.COMPLETE]
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    resumed = SearchStudy(str(study), SETTINGS)
    anew: list[str] = []

    def accuracy(subnet: Subnet) -> float:
        anew.append(subnet.key)
        return synthetic_accuracy(subnet)

    resumed.evaluate(proposals(), accuracy)
    assert len(anew) == len(proposals()) - 5
    after = {trial.number: trial for trial in _trials(study)}
    assert all(after[trial.number] == trial for trial in before)
    assert [trial.state for trial in after.values()].count(TrialState.FAIL) == 1
    wanted = {p.subnet.key: (p.cycles, synthetic_accuracy(p.subnet)) for p in proposals()}
    assert {r.key: (r.cycles, r.accuracy) for r in resumed.records()} == wanted


def test_a_trial_of_a_living_worker_is_waited_for(tmp_path: Path) -> None:
    """And the network is taken over once the worker is gone."""
    path, (proposal, *_) = tmp_path / "study.db", proposals()
    process = subprocess.Popen(["sleep", "600"])
    try:
        worker = replace(Worker.here(), pid=process.pid, started=_start_time(process.pid))
        _running(path, worker, proposal.subnet.key)
        study = SearchStudy(str(path), SETTINGS)
        assert study._is_running(proposal.subnet.key)
    finally:
        process.kill()
        process.wait()
    study.evaluate([proposal], synthetic_accuracy)
    assert [trial.state for trial in _trials(path)] == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_later_process_of_the_same_number_is_another_worker() -> None:
    here = Worker.here()
    assert not here.is_dead(0.0)
    assert replace(here, started="1").is_dead(time.time())


def test_workers_of_other_machines_live_as_long_as_they_show(tmp_path: Path) -> None:
    path, (first, second, *_) = tmp_path / "study.db", proposals()
    elsewhere = Worker("elsewhere", os.getpid(), "1")
    _running(path, elsewhere, first.subnet.key, seen=time.time() - GRACE_S / 2)
    old = _running(path, elsewhere, second.subnet.key)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE trials SET datetime_start = '2020-01-01 00:00:00.000000' WHERE trial_id = ?", (old,)
        )
    study = SearchStudy(str(path), SETTINGS)
    assert study._is_running(first.subnet.key)
    assert not study._is_running(second.subnet.key)


def test_of_equal_networks_the_lowest_number_counts(tmp_path: Path) -> None:
    """Another worker begins the same network between this one's look and its trial."""
    path, (proposal, *_) = tmp_path / "study.db", proposals()
    study = SearchStudy(str(path), SETTINGS)
    other = _running(path, Worker.here(), proposal.subnet.key)
    assert study._claim(proposal.subnet.key, proposal) is None
    states = [trial.state for trial in _trials(path)]
    assert states == [TrialState.RUNNING, TrialState.FAIL]
    study._storage.set_trial_state_values(other, TrialState.COMPLETE, [0.5, 1.0])
    study.evaluate([proposal], lambda subnet: pytest.fail("it is finished"))
    assert [record.accuracy for record in study.records()] == [0.5]


def test_a_worker_that_was_taken_for_dead_changes_nothing(tmp_path: Path) -> None:
    path, (proposal, *_) = tmp_path / "study.db", proposals()
    slow, quick = SearchStudy(str(path), SETTINGS), SearchStudy(str(path), SETTINGS)

    def accuracy(subnet: Subnet) -> float:
        for trial in _trials(path):
            quick._fail(trial._trial_id)
        quick.evaluate([proposal], lambda subnet: 0.25)
        return 0.75

    slow.evaluate([proposal], accuracy)
    assert [record.accuracy for record in slow.records()] == [0.25]
    assert [record.accuracy for record in SearchStudy(str(path), SETTINGS).records()] == [0.25]


def test_an_evaluation_that_fails_leaves_its_network_open(tmp_path: Path) -> None:
    path, (proposal, *_) = tmp_path / "study.db", proposals()
    study = SearchStudy(str(path), SETTINGS)
    with pytest.raises(QvitError) as refused:
        study.evaluate([proposal], lambda subnet: float("nan"))
    assert refused.value.problems == (
        f"The accuracy of the network {proposal.subnet.key} is nan; it should be a finite number.",
    )
    study.evaluate([proposal], lambda subnet: 0.5)
    assert [trial.state for trial in _trials(path)] == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_study_of_another_search_is_refused_with_all_that_differs(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    SearchStudy(str(path), SETTINGS)
    with pytest.raises(QvitError) as refused:
        SearchStudy(str(path), replace(SETTINGS, seed=2, targets=(1.0, 5.0)))
    end = "Search with the same, or choose another study."
    assert refused.value.problems == (
        f"The study {path} is of another search: its targets are [1.0], not [1.0, 5.0]. {end}",
        f"The study {path} is of another search: its seed is 0, not 2. {end}",
    )


def test_another_space_board_or_supernet_is_named_in_words(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    SearchStudy(str(path), SETTINGS)
    with pytest.raises(QvitError) as refused:
        SearchStudy(str(path), replace(SETTINGS, space="1", hardware="2", accuracy="3"))
    others = ("search space", "board, clock or accelerator", "supernet, or other validation images")
    assert refused.value.problems == tuple(
        f"The study {path} is of another search: it has another {other}. Search with the same, or choose "
        "another study."
        for other in others
    )


def test_a_study_that_breaks_during_the_search_is_said(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    study = SearchStudy(str(path), SETTINGS)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE trials")
    with pytest.raises(QvitError) as refused:
        study.evaluate(proposals(1), synthetic_accuracy)
    assert refused.value.problems == (f"The study {path} cannot be used: no such table: trials.",)


def _text(path: Path) -> str:
    path.write_text("no database")
    return (
        f"The study {path} is not a file of SQLite; it was left as it is. Choose another file or folder for "
        "the search, or remove this one yourself."
    )


def _empty(path: Path) -> str:
    path.touch()
    return (
        f"The study {path} is not a file of SQLite; it was left as it is. Choose another file or folder for "
        "the search, or remove this one yourself."
    )


def _foreign(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    return (
        f"{path} is a file of SQLite, but not of Optuna; it was left as it is. Choose another file or folder "
        "for the search."
    )


def _of_others(path: Path) -> str:
    optuna.create_study(study_name="mine", storage=f"sqlite:///{path}")
    return (
        f"{path} is a file of Optuna, but holds no search of this program; its studies: mine. Choose another "
        "file or folder for the search."
    )


def _damaged(path: Path) -> str:
    SearchStudy(str(path), SETTINGS)
    content = bytearray(path.read_bytes())
    content[4096:-4096] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    return f"The study {path} is damaged ("


@pytest.mark.parametrize("make", [_text, _empty, _foreign, _of_others, _damaged])
def test_what_is_no_study_is_refused_and_left_alone(make: Callable[[Path], str], tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    message = make(path)
    for left in tmp_path.glob("study.db-*"):
        left.unlink()
    before = path.read_bytes()
    with pytest.raises(QvitError) as refused:
        SearchStudy(str(path), SETTINGS)
    (problem,) = refused.value.problems
    if make is _damaged:
        assert problem.startswith(message) and "\n" not in problem
        assert problem.endswith(
            "); it was left as it is. Restore it from a copy, or choose another file or folder for the "
            "search."
        )
    else:
        assert problem == message
    # Its first page holds when Optuna's file was last opened for writing; all else must be the same.
    assert path.read_bytes()[4096:] == before[4096:] and len(path.read_bytes()) == len(before)


def test_a_url_that_no_database_answers_is_said(tmp_path: Path) -> None:
    with pytest.raises(QvitError, match=r"^The study nonsense://host cannot be used: .+\.$"):
        SearchStudy("nonsense://host", SETTINGS)


def test_any_database_of_optuna_will_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'plain.db'}"
    some = proposals(3)
    SearchStudy(url, SETTINGS).evaluate(some, synthetic_accuracy)
    records = SearchStudy(url, SETTINGS).records()
    assert [record.key for record in records] == [proposal.subnet.key for proposal in some]


def _start_time(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
