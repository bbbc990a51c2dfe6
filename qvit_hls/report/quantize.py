"""The result of ``qvit-hls quantize`` as a table."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from qvit_hls.flow.quantize import QuantizationResult

#: Layers that are shown; all are in the JSON report.
SHOWN_LAYERS = 10


def quantization_table(result: QuantizationResult) -> RenderableType:
    """The worst layers, and what is left of the network's accuracy."""
    quality = result.quality
    table = Table(box=None, pad_edge=False)
    table.add_column("Worst layers")
    table.add_column("SQNR", justify="right")
    table.add_column("Cosine", justify="right")
    for layer in quality.layers[:SHOWN_LAYERS]:
        table.add_row(layer.name, f"{layer.sqnr_db:.1f} dB", f"{layer.cosine:.5f}")
    left = len(quality.layers) - SHOWN_LAYERS
    lines = Text("\n")
    if left > 0:
        lines.append(f"{left} better ones are not shown\n")
    lines.append(
        f"{result.request.method}, {result.calibration_images} calibration images; weights of "
        f"{result.quantized.average_bits:.2f} bits on average, activations of {result.request.bits} bits\n"
    )
    frame = result.frame
    if frame is not None:
        eight = sum(int((bits == 8).sum()) for bits in result.quantized.rows.values())
        rows = sum(len(bits) for bits in result.quantized.rows.values())
        lines.append(
            f"{eight:,} of {rows:,} rows have 8 bits: a frame takes {frame.cycles:,} cycles, "
            f"{frame.frames_per_second:,.1f} frames per second ({frame.where}); at most {frame.limit:,} were "
            f"allowed, 4-bit rows only would take {frame.four_bit_cycles:,}\n"
        )
    images = f"{quality.images} image{'s' * (quality.images != 1)} ({result.origin})"
    lines.append(f"same class as the float network: {quality.agreement:.2%} of {images}\n")
    if quality.float_top1 is not None:
        lines.append(
            f"top-1: {quality.float_top1:.2%} float, {quality.quantized_top1:.2%} quantized in PyTorch, "
            f"{quality.integer_top1:.2%} by the integer graph\n"
        )
    lines.append(f"wrote {result.request.out}")
    return Group(table, lines)
