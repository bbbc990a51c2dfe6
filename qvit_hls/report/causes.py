"""What a frame's cycles on the RTL engine are spent on, as the MAC tile sees it: a table."""

from __future__ import annotations

from rich.table import Table

from qvit_hls.hw.timing.analytic import FrameTiming

#: Name, cycles, share of the frame.
CauseRow = tuple[str, float, float]
_CAUSE_NAMES = {
    "array": "products",
    "padding": "padding of tiles",
    "drain": "waiting for the drain",
    "operands": "waiting for operands",
    "weights": "waiting for weights",
    "change": "between layers",
    "ends": "after the last step",
}


def cause_rows(timing: FrameTiming) -> list[CauseRow]:
    """What the MAC tile's cycles of one frame are spent on: name, cycles, share of the frame."""
    total = float(timing.cycles)
    return [(_CAUSE_NAMES[name], float(value), float(value) / total) for name, value in timing.causes.items()]


def cause_table(timing: FrameTiming) -> Table:
    """The same as a table."""
    table = Table(title="Where the cycles go", box=None, pad_edge=False)
    table.add_column("MAC tile")
    table.add_column("Cycles", justify="right")
    table.add_column("Share", justify="right")
    for name, cycles, share in cause_rows(timing):
        table.add_row(name, f"{cycles:,.0f}", f"{share:.1%}")
    table.add_row("frame", f"{float(timing.cycles):,.0f}", "100.0%", end_section=True)
    return table
