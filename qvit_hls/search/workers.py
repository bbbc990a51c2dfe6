"""Who works on a trial, and whether it is still there."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: A worker that evaluates shows so often, in seconds, that it is there.
HEARTBEAT_S = 15.0
#: A worker of another machine that did not show for so long, in seconds, is taken for dead.
GRACE_S = 120.0


@dataclass(frozen=True)
class Worker:
    """A process on a machine.

    Attributes:
        host: the machine's name, with what tells apart containers that have the same.
        pid: of the process.
        started: when the process started, as the system counts it; a later process of the same pid has
            another value. Empty where the system does not say.
    """

    host: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> Worker:
        """This process."""
        return cls(_host(), os.getpid(), _started(os.getpid()))

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> Worker:
        """From ``to_json``."""
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def is_dead(self, last_seen: float) -> bool:
        """Whether it will not complete its trial.

        Args:
            last_seen: when it last showed that it is there, as ``time.time()``; on other machines, nothing
                else is known.
        """
        if self.host != _host():
            return time.time() - last_seen > GRACE_S
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # there is such a process, of someone else
            pass
        return _started(self.pid) != self.started


def _host() -> str:
    """The machine's name, and the namespace that its process ids belong to."""
    try:
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()} {namespace}"


def _started(pid: int) -> str:
    """When a process started, in clock ticks after the machine did; empty for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
