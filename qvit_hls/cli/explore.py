"""``qvit-hls explore``: the accelerators worth building for a model and a board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qvit_hls.cli.options import board_option, clock_option, mac_option

if TYPE_CHECKING:
    from qvit_hls.hw.accelerator import Mac


@click.command(short_help="Search the accelerators of a board for the best one.")
@click.argument("models", type=click.Path(path_type=Path), metavar="[MODEL.pt]...", nargs=-1)
@click.option("--shape", "shapes", multiple=True, metavar="NAME",
              help="A published model instead of a file, such as deit_tiny; repeatable.")  # fmt: skip
@click.option("--activation-bits", type=click.IntRange(4, 8), default=7, show_default=True,
              help="Activation bits of the shapes; a file has its own.")  # fmt: skip
@click.option("--eight-bit-share", type=click.FloatRange(0, 1), default=0.25, show_default=True,
              metavar="SHARE", help="Share of the shapes' weight rows that have 8 bits.")  # fmt: skip
@board_option
@clock_option
@mac_option
@click.option("--target-fps", type=float, metavar="FPS",
              help="Find the smallest accelerator that reaches this with every model.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Write pareto.json and explore.png there.")  # fmt: skip
@click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the Pareto set as JSON.")  # fmt: skip
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE",
              help="Write a plot, .png or .html.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress and no table.")
def explore(
    models: tuple[Path, ...],
    shapes: tuple[str, ...],
    activation_bits: int,
    eight_bit_share: float,
    board: str | None,
    clock_mhz: float | None,
    mac: Mac | None,
    target_fps: float | None,
    out: Path | None,
    json_path: Path | None,
    plot: Path | None,
    quiet: bool,
) -> None:
    """Search every accelerator that fits a board for one that runs all MODELs.

    Prints the Pareto set of cycles and resources, marks the accelerator that gen would build, and says what
    stops the next faster one. Where models share the accelerator, the geometric mean of their cycles counts.
    """
    import json

    from qvit_hls.cli.console import progress, results
    from qvit_hls.flow.explore import explore_models
    from qvit_hls.flow.generate import Target
    from qvit_hls.flow.output import write_file
    from qvit_hls.report.explore import explore_json, explore_table
    from qvit_hls.report.explore_plot import check_plot_path, explore_plot

    if plot is not None:
        check_plot_path(plot)
    target = Target.on_board(board, clock_mhz, mac=mac or "hls")
    with progress(quiet) as update:
        result = explore_models(
            models,
            shapes,
            target,
            activation_bits=activation_bits,
            eight_bit_share=eight_bit_share,
            target_fps=target_fps,
            progress=update,
        )
    # All contents before the first file: a failure writes nothing.
    jsons = [path for path in (json_path, out and out / "pareto.json") if path is not None]
    plots = [path for path in (plot, out and out / "explore.png") if path is not None]
    contents = {path: (json.dumps(explore_json(result), indent=2) + "\n").encode() for path in jsons}
    contents |= {path: explore_plot(result, path.suffix) for path in plots}
    for path, content in contents.items():
        write_file(path, content)
    if not quiet:
        results().print(explore_table(result))
