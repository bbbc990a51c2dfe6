"""The progress bar of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Called with the phase's name, the steps done, those of the run, and the newest loss.
Update = Callable[[str, int, int, float], None]


@contextmanager
def training_progress(quiet: bool = False) -> Iterator[Update]:
    """Show a run's steps and loss on stderr, or nothing.

    Yields:
        The function to call after a step.
    """
    if quiet:
        yield lambda phase, done, total, loss: None
        return
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(
            "train", total=None, loss=float("nan"), visible=False
        )  # until there is a loss

        def update(phase: str, done: int, total: int, loss: float) -> None:
            progress.update(task, description=phase, completed=done, total=total, loss=loss, visible=True)

        yield update
