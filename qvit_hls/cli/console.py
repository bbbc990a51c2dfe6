"""Where output goes: results to stdout, progress to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

#: Columns where stdout is not a terminal, so that tables in a file are not folded.
_FILE_WIDTH = 130


def results() -> Console:
    """The console for results."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _FILE_WIDTH, highlight=False)


@contextmanager
def progress(quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Show stages as they run, each with a bar and its time, on stderr.

    Yields:
        A function to call with a stage's name, and how many of how many steps are done.
    """
    if quiet:
        yield lambda stage, done, total: None
        return
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    display = Progress(*columns, console=Console(stderr=True))
    tasks: dict[str, TaskID] = {}

    def update(stage: str, done: int, total: int) -> None:
        display.start()  # not before there is something to show; later calls do nothing
        if stage not in tasks:
            tasks[stage] = display.add_task(stage, total=total)
        display.update(tasks[stage], completed=done, total=total)

    try:
        yield update
    finally:
        if tasks:
            display.stop()
