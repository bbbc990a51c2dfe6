"""``qvit-hls gen``: from a trained model to a Vitis HLS project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qvit_hls.cli.options import (
    board_option,
    clock_option,
    for_option,
    mac_option,
    model_argument,
    tile_option,
)

if TYPE_CHECKING:
    from qvit_hls.hw.accelerator import Mac


@click.command(short_help="Turn a trained model into a Vitis HLS project.")
@model_argument
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("build"), show_default=True,
              metavar="FOLDER", help="Folder to write.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FOLDER where it is an earlier build.")
@board_option
@clock_option
@tile_option
@mac_option
@for_option
@click.option("--max-cycles", type=click.IntRange(min=1), metavar="N",
              help="Choose the smallest accelerator on which a frame takes at most N cycles.")  # fmt: skip
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
    board: str | None,
    clock_mhz: float | None,
    tile: tuple[int, int, int] | None,
    mac: Mac | None,
    for_build: Path | None,
    max_cycles: int | None,
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
    from qvit_hls.flow.generate import Target, generate
    from qvit_hls.report.project import project_summary

    target = Target.of_options(board, clock_mhz, tile, mac, for_build, max_cycles)
    with progress(quiet) as update:
        result = generate(
            model,
            out,
            target,
            force=force,
            onnx=onnx,
            verify_passes=verify_passes,
            seed=seed,
            progress=update,
        )
    if not quiet:
        results().print(project_summary(result), soft_wrap=True)
