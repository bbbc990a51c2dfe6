"""The result of ``qvit-hls search`` as a table."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from qvit_hls.flow.search import Found
from qvit_hls.search.picks import Pick


def search_table(found: Found) -> RenderableType:
    """The picks, and how many networks were evaluated for them."""
    table = Table(box=None, pad_edge=False)
    headings = ("Target", "FPS", "Top-1", "Bits", "Cycles", "Depth", "Embed", "T_n x T_m x T_k", "Board")
    for heading in headings:
        table.add_column(heading, justify="right")
    for fps, pick in zip(found.settings.targets, found.picks, strict=True):
        table.add_row(f"{fps:g}", *(["-"] * (len(headings) - 1) if pick is None else _cells(pick)))
    hardware = found.hardware
    summary = (
        f"\n{len(found.records)} networks of the space {hardware.genome.space.name} "
        f"({hardware.genome.space.size:.3g} networks), {found.settings.method}; {hardware.board.name} at "
        f"{hardware.clock_mhz:g} MHz; in {found.request.out}"
    )
    return Group(table, Text(summary))


def _cells(pick: Pick) -> list[str]:
    config = pick.accelerator.config
    return [
        f"{pick.frames_per_second:,.1f}",
        f"{100 * pick.accuracy:.2f} %",
        f"{pick.average_bits:.2f}",
        f"{pick.cycles:,}",
        str(pick.subnet.depth),
        str(pick.subnet.embed_dim),
        f"{config.tile_tokens} x {config.tile_rows} x {config.tile_depth}",
        f"{pick.accelerator.share:.0%}",
    ]
