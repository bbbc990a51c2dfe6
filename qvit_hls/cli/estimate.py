"""``qvit-hls estimate``: cycles and weight traffic before synthesis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qvit_hls.cli.options import board_option, clock_option, mac_option, model_argument, tile_option

if TYPE_CHECKING:
    from qvit_hls.hw.accelerator import Mac


@click.command(short_help="Estimate cycles, weight traffic and frames per second.")
@model_argument
@board_option
@clock_option
@tile_option
@mac_option
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Write the estimate there, in the files that FINN's tools write.")  # fmt: skip
@click.option("--timeline", type=click.Path(path_type=Path), metavar="FILE",
              help="Draw a frame of --mac rtl, as .png or .html: what each unit does, and when.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def estimate(
    model: Path,
    board: str | None,
    clock_mhz: float | None,
    tile: tuple[int, int, int] | None,
    mac: Mac | None,
    out: Path | None,
    timeline: Path | None,
    as_json: bool,
) -> None:
    """Estimate what MODEL.pt takes on a board: cycles and weight traffic per layer.

    The numbers come from the descriptors that gen would write, at the accelerator that it would choose.
    """
    import json

    from qvit_hls.cli.console import progress, results
    from qvit_hls.flow.estimate import estimate_model
    from qvit_hls.flow.generate import Target
    from qvit_hls.flow.output import write_file
    from qvit_hls.report.causes import cause_rows
    from qvit_hls.report.estimate import estimate_json, estimate_table
    from qvit_hls.report.estimate_files import estimate_files

    if timeline is not None:
        # matplotlib takes long to import.
        from qvit_hls.report.timeline import check_timeline, write_timeline

        check_timeline(timeline, mac or "hls")
    with progress(quiet=as_json) as update:
        result = estimate_model(model, Target.on_board(board, clock_mhz, tile, mac or "hls"), update)
    if out is not None:
        for name, content in estimate_files(result).items():
            write_file(out / name, content)
    if timeline is not None and result.frame.timing is not None:
        frame, names = result.timeline(), [layer.name for layer in result.program.layers]
        title = f"{model.stem}: one frame, {frame.cycles:,} cycles"
        write_timeline(frame, names, cause_rows(result.frame.timing), title, timeline)
    if as_json:
        click.echo(json.dumps(estimate_json(result), indent=2))
    else:
        results().print(estimate_table(result))
