"""The result of ``qvit-hls explore`` as a table and as JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from qvit_hls.hw.explore.explore import Design, Exploration

#: Designs that the table shows, spread over the Pareto set; all are in the JSON.
_MOST_ROWS = 24


def explore_table(result: Exploration) -> RenderableType:
    """The Pareto set with the chosen design marked, and what binds it."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for heading in ("T_n x T_m x T_k", "DSP rows", "Ports", "Rows/cycle"):
        table.add_column(heading, justify="right")
    for model in result.models:
        table.add_column(f"Cycles {model}" if len(result.models) > 1 else "Cycles", justify="right")
        table.add_column("FPS", justify="right")
    for heading in ("LUT", "FF", "DSP", "BRAM36", "Board"):
        table.add_column(heading, justify="right")
    for design in _shown(result):
        config = design.config
        cells = [f"{config.tile_tokens} x {config.tile_rows} x {config.tile_depth}"]
        cells += [str(config.dsp_rows), str(config.weight_ports), str(config.drain_rows)]
        for cycles, fps in zip(design.cycles, design.frames_per_second(result.clock_mhz), strict=True):
            cells += [f"{cycles:,}", f"{fps:,.1f}"]
        cells += [f"{design.lut:,}", f"{design.ff:,}", f"{design.dsp:,}", f"{design.bram36:,}"]
        chosen = design is result.chosen
        table.add_row("*" if chosen else "", *cells, f"{design.share:.0%}", style="bold" if chosen else "")
    return Group(table, Text(_summary(result)))


def explore_json(result: Exploration) -> dict[str, Any]:
    """Everything as plain JSON values; deterministic."""
    return {
        "models": list(result.models),
        "board": result.board.model_dump(),
        "clock_mhz": result.clock_mhz,
        "mac": result.mac,
        "activation_bits": result.activation_bits,
        "target_fps": result.target_fps,
        "candidates": result.looked_at,
        "binding_constraint": {"kind": result.binding.kind, "sentence": result.binding.sentence},
        "chosen": design_json(result.chosen, result.clock_mhz) | {"accelerator": result.config.model_dump()},
        "pareto": [design_json(design, result.clock_mhz) for design in result.designs],
    }


def design_json(design: Design, clock_mhz: float) -> dict[str, Any]:
    """One design as plain JSON values."""
    config = design.config
    fields = ("tile_tokens", "tile_rows", "tile_depth", "dsp_rows", "weight_ports", "drain_rows")
    return {
        **{name: getattr(config, name) for name in fields},
        "weight_depth": config.weight_depth,
        "image_ahead": config.image_ahead,
        "lanes": config.lanes,
        "cycles": list(design.cycles),
        "frames_per_second": [round(fps, 3) for fps in design.frames_per_second(clock_mhz)],
        "lut": design.lut,
        "ff": design.ff,
        "dsp": design.dsp,
        "bram36": design.bram36,
        "largest_share": round(design.share, 4),
    }


def _shown(result: Exploration) -> list[Design]:
    """At most ``_MOST_ROWS`` designs: the fastest at each step of speed, and the chosen one."""
    designs = list(result.designs)
    if len(designs) <= _MOST_ROWS:
        return designs
    # By speed and share of the board only: the other costs would fill the table with near equals.
    front, least = [], float("inf")
    for design in designs:
        if design.share < least:
            front.append(design)
            least = design.share
    step = max(1, -(-len(front) // _MOST_ROWS))
    shown = front[::step]
    if result.chosen not in shown:
        shown.append(result.chosen)
    return sorted(shown, key=lambda design: design.cycles)


def _summary(result: Exploration) -> str:
    chosen, board = result.chosen, result.board
    rates = ", ".join(
        f"{model} {fps:,.1f}"
        for model, fps in zip(result.models, chosen.frames_per_second(result.clock_mhz), strict=True)
    )
    uses = ", ".join(
        f"{name} {getattr(chosen, key) / getattr(board, key):.0%}"
        for name, key in (("LUT", "lut"), ("FF", "ff"), ("DSP", "dsp"), ("BRAM", "bram36"))
    )
    return (
        f"\n* chosen for {board.name} at {result.clock_mhz:g} MHz, engine {result.mac}, "
        f"A = {result.activation_bits}: frames per second: {rates}; {uses}\n"
        f"{len(result.designs)} designs on the Pareto set of {result.looked_at:,} candidates\n"
        f"what binds: {result.binding.sentence}"
    )
