"""``qvit-hls search``: the most accurate networks of a supernet that reach frame rates on a board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qvit_hls.cli.options import board_option, clock_option

if TYPE_CHECKING:
    from qvit_hls.search.settings import Method


@click.command(short_help="Search a supernet's networks under a board's limits.")
@click.argument("supernet", type=click.Path(path_type=Path), metavar="SUPERNET.pt")
@click.option("--data", required=True, metavar="DATA",
              help="Validation images: .npz file, folder with a folder per class, hf:NAME.")  # fmt: skip
@click.option("--images", type=click.IntRange(min=1), metavar="N", help="Take only the first N of them.")
@board_option
@clock_option
@click.option("--target-fps", "targets", type=float, multiple=True, required=True, metavar="FPS",
              help="Find the most accurate network that reaches this; repeatable.")  # fmt: skip
@click.option("--accelerator", metavar="BUILD|TILE",
              help="Search for this one: a folder that gen wrote, or T_n,T_m,T_k. "
                   "[default: chosen with each network]")  # fmt: skip
@click.option("--mac", type=click.Choice(["rtl"]), default="rtl", show_default=True,
              help="What the engine is made of; the cycle model is of the SystemVerilog one.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
              help="Folder of the search: study, accuracies, picks.json, trials.csv and plots.")  # fmt: skip
@click.option("--trials", type=int, default=1000, show_default=True, help="Networks to evaluate.")
@click.option("--workers", type=int, default=1, show_default=True, help="Processes on this machine.")
@click.option("--method", type=click.Choice(["coarse-to-fine", "one-stage", "random"]),
              default="coarse-to-fine", show_default=True, help="How to search.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all choices.")
@click.option("--minimise-resources", is_flag=True, help="The share of the board is an objective too.")
@click.option("--study", metavar="URL",
              help="Database for workers on several machines. [default: study.db in FOLDER]")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress and no table.")
def search(
    supernet: Path,
    data: str,
    images: int | None,
    board: str | None,
    clock_mhz: float | None,
    targets: tuple[float, ...],
    accelerator: str | None,
    mac: str,
    out: Path,
    trials: int,
    workers: int,
    method: Method,
    seed: int,
    minimise_resources: bool,
    study: str | None,
    quiet: bool,
) -> None:
    """Search the networks of SUPERNET.pt for the most accurate ones that reach frame rates on a board.

    A search that was stopped, in whatever way, goes on with the same command. More workers join with the
    same command too, on this machine with the same FOLDER, on others with --study.
    """
    from qvit_hls.cli.console import progress, results
    from qvit_hls.flow.output import write_file
    from qvit_hls.flow.search import search_networks
    from qvit_hls.flow.search_inputs import SearchRequest
    from qvit_hls.report.search import search_table
    from qvit_hls.report.search_plots import search_plots

    request = SearchRequest(
        supernet=supernet,
        data=data,
        out=out,
        targets=targets,
        board=board,
        clock_mhz=clock_mhz,
        accelerator=accelerator,
        trials=trials,
        method=method,
        seed=seed,
        images=images,
        study=study,
        minimise_resources=minimise_resources,
    )
    with progress(quiet) as update:
        found = search_networks(request, workers, update)
    for name, content in search_plots(found).items():
        write_file(out / name, content)
    if not quiet:
        results().print(search_table(found))
