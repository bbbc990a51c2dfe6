"""``qvit-hls mutate``: test the harness itself with planted faults."""

from __future__ import annotations

from pathlib import Path

import click

from qvit_hls.errors import QvitError


@click.command(short_help="Plant faults in a project: each must be caught and located.")
@click.argument("build", type=click.Path(path_type=Path))
@click.option(
    "--only", multiple=True, metavar="NAME", help="Only these faults; may be repeated, may hold * and ?."
)
@click.option("--functional", is_flag=True, help="Leave out faults that need the packed C-simulation.")
@click.option("--rtl", is_flag=True, help="Plant faults in the SystemVerilog and simulate it with Verilator.")
@click.option("--jobs", type=click.IntRange(min=1), help="Faults at a time. [default: one per core]")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="PATH", help="Write the report here."
)
@click.option("--quiet", is_flag=True, help="No progress, and of the result only the score.")
def mutate(
    build: Path,
    only: tuple[str, ...],
    functional: bool,
    rtl: bool,
    jobs: int | None,
    json_path: Path | None,
    quiet: bool,
) -> None:
    """Plant faults in copies of the generated project BUILD, one at a time.

    Each changes a kernel, packed weights, row parameters, a table or a descriptor. The C-simulation must
    then differ from the golden integer graph, and the first differing layer must be one that the fault
    touches. BUILD itself is not changed. The exit code is 1 where a fault is missed or not located.

    With --rtl, faults are planted in the SystemVerilog of a project made with --mac rtl, and RTL simulation
    must catch them.
    """
    from qvit_hls.cli.console import progress, results
    from qvit_hls.flow.output import write_json
    from qvit_hls.report.mutation import mutation_table, mutation_verdict
    from qvit_hls.verify.faults.catalogue import CATALOGUE, RTL_CATALOGUE, select
    from qvit_hls.verify.mutation import run_mutation
    from qvit_hls.verify.rtl_mutation import run_rtl_mutation

    if rtl and functional:
        raise QvitError("--functional is about C-simulation, --rtl about RTL: leave out one of them.")
    if rtl:
        rtl_faults = select(only, RTL_CATALOGUE)
        with progress(quiet) as update:
            report = run_rtl_mutation(build, rtl_faults, jobs=jobs, progress=update)
    else:
        faults = [
            fault for fault in select(only, CATALOGUE) if not functional or fault.variant == "functional"
        ]
        with progress(quiet) as update:
            report = run_mutation(build, faults, jobs=jobs, progress=update)
    if json_path is not None:
        write_json(json_path, report.to_json())
    console = results()
    if not quiet:
        console.print(mutation_table(report))
    console.print(mutation_verdict(report), soft_wrap=True)
    if not report.passed:
        raise SystemExit(1)
