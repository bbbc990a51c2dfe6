"""What a run measures: a line of JSON for each record, and TensorBoard's events."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from qvit_hls.errors import QvitError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Metrics:
    """Records of a run, in ``metrics.jsonl`` and ``tensorboard/``.

    Args:
        folder: of the run.
        step: from which the run goes on; what a run wrote after that step is dropped.

    Raises:
        QvitError: TensorBoard is not installed, or the file of an earlier run is damaged.
        OSError: a file cannot be written.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise QvitError(
                "Training needs the package tensorboard; install it with: pip install 'qvit-hls[search]'"
            ) from None
        self._path = folder / "metrics.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        kept = [record for record in read_metrics(self._path) if record["step"] <= step]
        shortened = self._path.with_name(f".{self._path.name}")
        shortened.write_text("".join(f"{json.dumps(record)}\n" for record in kept), encoding="utf-8")
        shortened.replace(self._path)
        self._file = self._path.open("a", encoding="utf-8")
        self._events: SummaryWriter = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def record(self, step: int, values: dict[str, float]) -> None:
        """Add what was measured after ``step`` steps."""
        # One write: a line that a killed run leaves half-written is dropped when it is read.
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def __enter__(self) -> Metrics:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._events.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The records of a run, in order, without a last line that is not whole; none where there is no file.

    Raises:
        QvitError: a line is no record.
    """
    if not path.exists():
        return []
    records = []
    for i, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1], 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            raise QvitError(f"{path}, line {i}, is no record of a training run; remove the line or the file.")
        records.append(record)
    return records
