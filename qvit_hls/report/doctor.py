"""The table of ``qvit-hls doctor``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from qvit_hls.flow.doctor import Finding, is_ready

_STYLES = {"ok": "green", "missing": "bold red", "unusable": "bold yellow", "optional": "dim"}


def doctor_table(findings: Sequence[Finding]) -> RenderableType:
    """One row per tool, and a verdict."""
    table = Table(
        "Tool", "Status", "Version", "Found at, or how to get it", "Is for", box=None, pad_edge=False
    )
    for finding in findings:
        status = "not there" if finding.status == "optional" else finding.status
        where = finding.where or ("" if finding.version else finding.install)
        if finding.remark:
            where += f": {finding.remark}"
        table.add_row(
            finding.tool,
            Text(status, style=_STYLES[finding.status]),
            finding.version or "",
            Text(where, overflow="fold"),
            finding.enables,
        )
    verdict = (
        "gen, csim and estimate can run here."
        if is_ready(findings)
        else "Not everything that gen and csim need is here: install what is marked missing or unusable."
    )
    return Group(table, Text(f"\n{verdict}"))
