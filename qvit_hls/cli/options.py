"""Arguments and options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

model_argument: Decorator = click.argument("model", type=click.Path(path_type=Path), metavar="MODEL.pt")
board_option: Decorator = click.option(
    "--board",
    metavar="NAME",
    help="Board to choose the accelerator for, by name or as a .yaml file. [default: zcu102]",
)
clock_option: Decorator = click.option(
    "--clock",
    "clock_mhz",
    type=float,
    metavar="MHZ",
    help="Clock of the accelerator, 1 to 2000. [default: the board's]",
)
mac_option: Decorator = click.option(
    "--mac",
    type=click.Choice(["hls", "rtl"]),
    help="What the engine is made of: C++ that Vitis HLS schedules, or SystemVerilog. [default: hls]",
)
tile_option: Decorator = click.option(
    "--tile",
    nargs=3,
    type=click.IntRange(min=1),
    metavar="TOKENS ROWS DEPTH",
    help="Tile of the engine (T_n, T_m, T_k). [default: chosen for model and board]",
)
for_option: Decorator = click.option(
    "--for",
    "for_build",
    type=click.Path(path_type=Path),
    metavar="BUILD",
    help="The accelerator of this earlier build: new weights and program only.",
)
