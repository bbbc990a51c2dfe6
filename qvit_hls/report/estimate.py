"""The result of ``qvit-hls estimate`` as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from qvit_hls.flow.estimate import ModelEstimate
from qvit_hls.report.causes import cause_table
from qvit_hls.report.layer_rows import group_layers


def estimate_table(result: ModelEstimate) -> RenderableType:
    """Cycles, their share of the frame, lane utilisation and weight traffic per layer, and the frame's."""
    frame = result.frame
    table = Table(box=None, pad_edge=False)
    table.add_column("Layer")
    table.add_column("Unit")
    for heading in ("M atom-MACs", "Cycles", "Share", "Lanes busy", "Stream kB"):
        table.add_column(heading, justify="right")
    table.add_column("Bound by")
    for title, layers in group_layers(frame.layers, lambda layer: layer.name):
        cycles = sum(layer.cycles for layer in layers)
        ideal = sum(layer.ideal_cycles for layer in layers)
        table.add_row(
            title,
            ", ".join(dict.fromkeys(layer.unit for layer in layers)),
            f"{sum(layer.atom_macs for layer in layers) / 1e6:.2f}" if ideal else "",
            f"{cycles:,}",
            f"{cycles / frame.compute_cycles:.1%}",
            f"{ideal / cycles:.0%}" if ideal else "",
            f"{sum(layer.stream_bytes for layer in layers) / 1e3:,.1f}",
            max(layers, key=lambda layer: layer.cycles).bottleneck,
        )
    config = result.config
    rate = f"{frame.frames_per_second:,.1f} frames per second at {frame.clock_mhz:g} MHz"
    limit = "the layers" if frame.compute_cycles >= frame.stream_cycles else "the weight stream"
    summary = (
        f"\naccelerator: {config.tile_tokens} tokens x {config.tile_rows} atom rows "
        f"x {config.tile_depth} deep, {frame.lanes} lanes\n"
        f"per frame: {frame.cycles:,} cycles, limited by {limit} (layers {frame.compute_cycles:,}, "
        f"weight stream {frame.stream_cycles:,} for {frame.stream_bytes / 1e6:.2f} MB)\n"
        f"{frame.atom_macs / 1e6:,.1f} M atom-MACs (an 8-bit weight is two), "
        f"{frame.share_of_ideal:.1%} of ideal\n"
        f"{rate} on {result.board.name}\n"
    )
    if frame.timing is None:
        note = "Counted from the layer descriptors; loop fill and memory latency are not in it."
        return Group(table, Text(summary + note))
    note = "Layers overlap, so their shares add up to more than the frame. Memory latency is not in it.\n"
    return Group(table, Text(summary + note), cause_table(frame.timing))


def estimate_json(result: ModelEstimate) -> dict[str, Any]:
    """The same as plain JSON values."""
    frame = result.frame
    return {
        "board": result.board.name,
        "clock_mhz": frame.clock_mhz,
        "accelerator": result.config.model_dump(),
        "lanes": frame.lanes,
        "cycles": frame.cycles,
        "compute_cycles": frame.compute_cycles,
        "stream_cycles": frame.stream_cycles,
        "stream_bytes": frame.stream_bytes,
        "atom_macs": frame.atom_macs,
        "frames_per_second": frame.frames_per_second,
        "share_of_ideal": frame.share_of_ideal,
        **({} if frame.timing is None else {"causes": {k: float(v) for k, v in frame.timing.causes.items()}}),
        "layers": [asdict(layer) for layer in frame.layers],
    }
