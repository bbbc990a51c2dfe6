"""``qvit-hls pipeline``: train, search, tune, generate and prove, from one file of settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click


@click.command(short_help="From images to proved projects: train, search, tune, gen, csim.")
@click.argument("settings", type=click.Path(path_type=Path), metavar="RUN.yaml")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
              help="Folder of all steps and of pipeline.json.")  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True,
              help="Processes that search.")  # fmt: skip
@click.option("--cosim", "cosim_images", type=click.IntRange(min=0), metavar="N",
              help="Simulate the RTL too, on N test images. [default: what RUN.yaml says]")  # fmt: skip
@click.option("--cpu", is_flag=True, help="Train on the CPU even where there is a GPU.")
@click.option("--quiet", is_flag=True, help="No progress and no table.")
def pipeline(
    settings: Path, out: Path, workers: int, cosim_images: int | None, cpu: bool, quiet: bool
) -> None:
    """Do all that RUN.yaml says, from images to projects that are proved.

    A supernet is trained (or taken as it is), searched for each frame rate, and each network that was picked
    is tuned, written as model.pt, turned into a project and proved by C-simulation on test images.

    A pipeline that was stopped, in whatever way, goes on with the same command. Steps that are done are kept;
    where a setting or a file has changed, that step is done again, and those that depend on what it makes.
    """
    from qvit_hls.cli.console import progress, results
    from qvit_hls.flow.pipeline import run_pipeline
    from qvit_hls.flow.pipeline_settings import read_pipeline
    from qvit_hls.report.pipeline import pipeline_table
    from qvit_hls.report.search_plots import search_plots
    from qvit_hls.verify.pipeline_proof import prove_project

    @contextmanager
    def watch(step: str, reason: str | None) -> Iterator[Callable[[str, int, int], None]]:
        if not quiet:
            click.echo(f"kept  {step}" if reason is None else f"run   {step}: {reason}", err=True)
        with progress(quiet) as update:
            yield update

    result = run_pipeline(
        read_pipeline(settings, cosim_images),
        out,
        watch=watch,
        draw=search_plots,
        prove=prove_project,
        workers=workers,
        cpu=cpu,
    )
    if not quiet:
        results().print(pipeline_table(result))
