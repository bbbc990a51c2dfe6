"""What the search takes from Optuna, or the sentence that it is not there."""

from __future__ import annotations

from qvit_hls.errors import QvitError

try:
    import optuna
    import sqlalchemy
    from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
    from optuna.storages import BaseStorage, RDBStorage, get_storage
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial, TrialState, create_trial
except ImportError:
    raise QvitError(
        "Searching needs the package optuna; install it with: pip install 'qvit-hls[search]'"
    ) from None

__all__ = [
    "BaseStorage",
    "DuplicatedStudyError",
    "FrozenTrial",
    "RDBStorage",
    "StudyDirection",
    "TrialState",
    "UpdateFinishedTrialError",
    "create_trial",
    "get_storage",
    "optuna",
    "sqlalchemy",
]
