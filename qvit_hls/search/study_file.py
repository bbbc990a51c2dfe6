"""Opening the storage of a study: a file of SQLite that is made in one step, or the URL of a database."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

from qvit_hls.errors import QvitError
from qvit_hls.search.database import (
    BaseStorage,
    DuplicatedStudyError,
    RDBStorage,
    StudyDirection,
    get_storage,
    optuna,
    sqlalchemy,
)

STUDY_NAME = "qvit-hls search"
#: Attribute of the study that holds its settings.
SETTINGS = "settings"
#: Seconds that a worker waits for another one's write.
_WAIT_S = 120.0
_MAGIC = b"SQLite format 3\0"
_DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)


def open_storage(study: str, settings: dict[str, Any]) -> tuple[BaseStorage, int]:
    """Open a study, or make it where there is none.

    Args:
        study: path of a file, or URL of a database that Optuna can use.
        settings: what a new study is made with.

    Returns:
        The storage, and the study's number in it.

    Raises:
        QvitError: what is there is no study of this program, or it is damaged or cannot be used. Nothing is
            changed then.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if "://" in study:
            return _of_url(study, settings)
        return _of_file(Path(study), settings)
    except (QvitError, KeyboardInterrupt):
        raise
    except Exception as error:  # of the database, its driver, or Optuna: of many kinds, all say the same
        raise unusable(study, error) from error


def unusable(study: str, error: BaseException) -> QvitError:
    """The sentence that a study cannot be used, by what a database, its driver or Optuna has raised."""
    while error.__cause__ is not None:  # Optuna's own error says nothing of the database's
        error = error.__cause__
    reason = " ".join(str(error).split())[:300].rstrip(".")
    return QvitError(f"The study {study} cannot be used: {reason}.")


def _of_url(url: str, settings: dict[str, Any]) -> tuple[BaseStorage, int]:
    storage = get_storage(url)
    try:
        number = storage.create_new_study(_DIRECTIONS, STUDY_NAME)
        storage.set_study_user_attr(number, SETTINGS, settings)
    except DuplicatedStudyError:
        number = storage.get_study_id_from_name(STUDY_NAME)
        # Its maker may be about to write the settings.
        for _ in range(50):
            if SETTINGS in storage.get_study_user_attrs(number):
                break
            time.sleep(0.1)
    return storage, number


def _of_file(path: Path, settings: dict[str, Any]) -> tuple[BaseStorage, int]:
    if not path.exists():
        _make(path, settings)
    _check(path)
    storage = get_storage(_sqlite(path))
    try:
        return storage, storage.get_study_id_from_name(STUDY_NAME)
    except KeyError:
        names = ", ".join(sorted(s.study_name for s in storage.get_all_studies())) or "none"
        raise QvitError(
            f"{path} is a file of Optuna, but holds no search of this program; its studies: {names}. "
            "Choose another file or folder for the search."
        ) from None


def _make(path: Path, settings: dict[str, Any]) -> None:
    """Write a new study beside its place, then put it there, unless another worker was first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        new = Path(folder) / path.name
        storage = RDBStorage(f"sqlite:///{new}")
        number = storage.create_new_study(_DIRECTIONS, STUDY_NAME)
        storage.set_study_user_attr(number, SETTINGS, settings)
        storage.remove_session()
        storage.engine.dispose()
        with contextlib.suppress(FileExistsError):
            os.link(new, path)


def _check(path: Path) -> None:
    """Refuse a file that is no whole database of Optuna; it is only read."""
    if path.is_dir():
        raise QvitError(f"The study {path} is a folder; it should be a file such as study.db.")
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
    if start != _MAGIC:
        raise QvitError(
            f"The study {path} is not a file of SQLite; it was left as it is. Choose another file or folder "
            "for the search, or remove this one yourself."
        )
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT_S)
        try:
            (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        state, tables = str(error), set()
    if state != "ok":
        reason = " ".join(state.split())
        raise QvitError(
            f"The study {path} is damaged ({reason}); it was left as it is. Restore it from a copy, or "
            "choose another file or folder for the search."
        )
    if not {"studies", "trials", "version_info"} <= tables:
        raise QvitError(
            f"{path} is a file of SQLite, but not of Optuna; it was left as it is. Choose another file or "
            "folder for the search."
        )


def _sqlite(path: Path) -> RDBStorage:
    """A storage whose transactions wait for one another from their begin on.

    Otherwise two that both read before they write could miss each other's trial. Written pages go to a log
    first: what a process has committed stays when it is killed.
    """

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    kwargs = {"creator": connect, "poolclass": sqlalchemy.pool.QueuePool}
    storage = RDBStorage("sqlite://", engine_kwargs=kwargs, skip_table_creation=True)

    @sqlalchemy.event.listens_for(storage.engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return storage
