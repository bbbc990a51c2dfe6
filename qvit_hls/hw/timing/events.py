"""A minimal event kernel: processes that wait for a cycle or for a change, and changes at given cycles."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count

#: What a process waits for: a cycle, or None for the next change of anything.
Wait = int | None
Process = Iterator[Wait]


class Kernel:
    """Runs processes in the order of cycles. In a cycle, changes come before processes.

    Attributes:
        now: the cycle.
    """

    def __init__(self) -> None:
        self.now = 0
        self._order = count()
        self._changes: list[tuple[int, int, Callable[[], None]]] = []
        self._timed: list[tuple[int, int, Process]] = []
        self._waiting: list[Process] = []

    def start(self, process: Process) -> None:
        """Run a process from this cycle on."""
        heapq.heappush(self._timed, (self.now, next(self._order), process))

    def at(self, cycle: int, change: Callable[[], None]) -> None:
        """Make a change in a cycle, which wakes all that wait for one; not in this cycle or before."""
        heapq.heappush(self._changes, (cycle, next(self._order), change))

    def run(self) -> None:
        """Until nothing happens any more.

        Raises:
            RuntimeError: processes still wait, for something that never comes.
        """
        while self._changes or self._timed:
            self.now = min(queue[0][0] for queue in (self._changes, self._timed) if queue)
            changed = False
            while self._changes and self._changes[0][0] == self.now:
                heapq.heappop(self._changes)[2]()
                changed = True
            if changed:
                waiting, self._waiting = self._waiting, []
                for process in waiting:
                    self.start(process)
            while self._timed and self._timed[0][0] == self.now:
                process = heapq.heappop(self._timed)[2]
                try:
                    wait = next(process)
                except StopIteration:
                    continue
                if wait is None:
                    self._waiting.append(process)
                else:
                    heapq.heappush(self._timed, (max(wait, self.now), next(self._order), process))
        if self._waiting:
            raise RuntimeError(f"{len(self._waiting)} processes wait for ever at cycle {self.now}")
