"""``qvit-hls doctor``: which tools are there, and what a missing one would enable."""

from __future__ import annotations

import click


@click.command(short_help="Show which external tools are there and what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def doctor(as_json: bool) -> None:
    """Show which tools are there, and what each missing one would enable.

    Nothing is installed or changed. The exit code is 1 where gen or csim cannot run.
    """
    import json
    from dataclasses import asdict

    from qvit_hls.cli.console import results
    from qvit_hls.flow.doctor import examine, is_ready
    from qvit_hls.report.doctor import doctor_table

    findings = examine()
    if as_json:
        click.echo(
            json.dumps([{**asdict(finding), "status": finding.status} for finding in findings], indent=2)
        )
    else:
        results().print(doctor_table(findings))
    if not is_ready(findings):
        raise SystemExit(1)
