"""``qvit-hls csim``: prove a generated project with an ordinary C++ compiler."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Prove a generated project by C-simulation, layer by layer.")
@click.argument("build", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="FILE.npz", help="Images, and perhaps labels."
)
@click.option("--images", type=click.IntRange(min=1), metavar="N", help="Number of images. [default: all]")
@click.option(
    "--packed", is_flag=True, help="Simulate the packed DSP and LUT arithmetic as hardware does it."
)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at a time. [default: one per core]")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest time for one image.",
)
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="PATH", help="Copy the report here."
)
@click.option("--quiet", is_flag=True, help="No progress, and of the result only the verdict.")
def csim(
    build: Path,
    data: Path | None,
    images: int | None,
    packed: bool,
    jobs: int | None,
    timeout: float,
    json_path: Path | None,
    quiet: bool,
) -> None:
    """Prove the generated project BUILD by C-simulation.

    Its sources are compiled and run, and every layer's output is compared with the golden integer graph:
    every value must be equal.

    Without --data, the random images run that gen made. The report is written to BUILD/reports; at a
    mismatch the exit code is 1, and the failing image and tensors are saved beside it.
    """
    from qvit_hls.cli.console import progress, results
    from qvit_hls.flow.output import write_json
    from qvit_hls.report.csim import csim_table, csim_verdict
    from qvit_hls.verify.csim import run_csim

    with progress(quiet) as update:
        report = run_csim(
            build, data=data, count=images, packed=packed, jobs=jobs, timeout=timeout, progress=update
        )
    if json_path is not None:
        write_json(json_path, report.to_json())
    console = results()
    if not quiet:
        console.print(csim_table(report.layers))
    console.print(csim_verdict(report), soft_wrap=True)
    if not report.passed:
        raise SystemExit(1)
