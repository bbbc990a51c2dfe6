"""``qvit-hls gen``: from a trained model to a Vitis HLS project."""

from __future__ import annotations

from pathlib import Path

import click

from qvit_hls.cli.options import board_option, clock_option, model_argument


@click.command(short_help="Turn a trained model into a Vitis HLS project.")
@model_argument
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("build"), show_default=True,
              metavar="FOLDER", help="Folder to write.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FOLDER where it is an earlier build.")
@board_option
@clock_option
@click.option("--for", "for_build", type=click.Path(path_type=Path), metavar="BUILD",
              help="Run on the accelerator of this earlier build: new weights and program only.")  # fmt: skip
@click.option("--onnx", is_flag=True, help="Add the integer graph as graph.onnx, for Netron.")
@click.option(
    "--verify-passes", is_flag=True, help="Check every compiler pass by running the graph around it."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the test images."
)
@click.option("--quiet", is_flag=True, help="No progress and no summary.")
def gen(
    model: Path,
    out: Path,
    force: bool,
    board: str,
    clock_mhz: float | None,
    for_build: Path | None,
    onnx: bool,
    verify_passes: bool,
    seed: int,
    quiet: bool,
) -> None:
    """Turn the trained model MODEL.pt into a Vitis HLS project.

    The folder holds the sources, the packed weights, the golden integer graph, test vectors and a
    manifest. The same input gives the same bytes. A folder that exists is refused without --force, and a
    gen that fails leaves nothing behind.
    """
    from qvit_hls.cli.console import progress, results
    from qvit_hls.flow.generate import generate
    from qvit_hls.report.project import project_summary

    with progress(quiet) as update:
        result = generate(
            model,
            out,
            force=force,
            board=board,
            clock_mhz=clock_mhz,
            for_build=for_build,
            onnx=onnx,
            verify_passes=verify_passes,
            seed=seed,
            progress=update,
        )
    if not quiet:
        results().print(project_summary(result), soft_wrap=True)
