"""The result of ``qvit-hls mutate`` as a table and a score."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from qvit_hls.verify.mutation import MutationReport, Outcome

#: Characters of a message that a cell shows.
_SHOWN = 60
#: Variants that go without saying.
_USUAL = ("functional", "RTL")


def mutation_table(report: MutationReport) -> Table:
    """One row per fault: what it is, where it was planted, what the harness said."""
    table = Table(box=None, pad_edge=False)
    for name in ("Fault", "Group", "Planted in", "First difference", "Caught", "Located"):
        table.add_column(name, overflow="fold")
    for outcome in report.outcomes:
        fault = outcome.fault
        name = fault.name if fault.variant in _USUAL else f"{fault.name} ({fault.variant})"
        if outcome.skipped:
            table.add_row(
                name, fault.group, f"not in this project: {outcome.skipped}", "", "", "", style="dim"
            )
        else:
            table.add_row(
                name,
                fault.group,
                outcome.place,
                _shortened(outcome.first) or "none",
                _mark(outcome.caught),
                _mark(outcome.located),
            )
    return table


def mutation_verdict(report: MutationReport) -> Text:
    """Faults that were missed or not located, and the score."""
    lines = Text()
    for outcome in report.planted:
        if not outcome.located:
            lines.append(_failure(outcome) + "\n", style="red")
    total, skipped = len(report.planted), len(report.outcomes) - len(report.planted)
    lines.append(
        f"score: {report.caught} of {total} caught, {report.located} of {total} located",
        style="bold green" if report.passed else "bold red",
    )
    if skipped:
        lines.append(f"; {skipped} not in this project")
    return lines


def _failure(outcome: Outcome) -> str:
    if not outcome.caught:
        return f"MISSED: {outcome.fault.name} ({outcome.fault.what}), planted in {outcome.place}"
    expected = sorted(outcome.expected)
    more = "" if len(expected) <= 3 else f" or {len(expected) - 3} others"
    return (
        f"NOT LOCATED: {outcome.fault.name} ({outcome.fault.what}), planted in {outcome.place}: "
        f"expected in {', '.join(expected[:3])}{more}, reported {outcome.first}"
    )


def _shortened(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= _SHOWN else line[: _SHOWN - 3] + "..."


def _mark(passed: bool) -> Text:
    return Text("yes") if passed else Text("NO", style="bold red")
