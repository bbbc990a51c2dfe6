"""Quantization after training of a timm ViT on the glyphs: every method at several widths.

    python examples/glyphs/render.py -o build/glyphs
    python benchmarks/quantization_glyphs.py [--small] [--method mse] [--json FILE]

The network is ``examples/glyphs/timm_vit``, or with ``--small`` the ``timm_vit_small`` beside it; 64 training
images calibrate. For each cell: top-1 of the integer
graph (the golden reference) on the 4,020 test images, and of the annotated float graph, which is what fake
quantization computes; and the SQNR of the integer graph's logits. Cells that FILE holds are not measured
again, so a run that was stopped goes on.

"W4/8 free" has 8-bit rows as far as the frame takes no more cycles than with 4-bit rows alone, on the
accelerator that ``gen --mac rtl`` chooses for the 4-bit network on a ZCU102, or on one that is there already,
of row tiles that are not made for the network.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from qvit_hls.flow.cycle_target import CycleTarget
from qvit_hls.flow.generate import Target
from qvit_hls.flow.output import write_json
from qvit_hls.frontend.compile import float_graph
from qvit_hls.frontend.model_source import load_model
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.lowering import lower
from qvit_hls.ptq.cycle_budget import CycleBudget
from qvit_hls.ptq.methods import METHODS, method_named
from qvit_hls.ptq.placement import BitWidths
from qvit_hls.ptq.quantize import QuantizationSettings, quantize_graph
from qvit_hls.ptq.rows import AverageBits, EightBitShare, RowBudget

ROOT = Path(__file__).parents[1]
GLYPHS = ROOT / "examples" / "glyphs"
RESULTS = Path(__file__).parent / "results"
#: The accelerator that is there already.
TILE = (16, 64, 8)
CALIBRATION_IMAGES = 64
BATCH = 134


def _free_rows(tile: tuple[int, int, int] | None = None) -> CycleBudget:
    target = Target.of_options("zcu102", None, tile, "rtl", None)
    return CycleBudget(CycleTarget(target).row_cost)


#: By title, bits of the activations and 8-bit rows.
SETTINGS: dict[str, tuple[int, Callable[[], RowBudget | CycleBudget]]] = {
    "W8A8": (8, lambda: EightBitShare(1)),
    "W4A8": (8, lambda: EightBitShare(0)),
    "W4A7": (7, lambda: EightBitShare(0)),
    "W4/8 free A7": (7, _free_rows),
    "W4/8 free A7, T_m = 64": (7, lambda: _free_rows(TILE)),
    "W4.5A7": (7, lambda: AverageBits(4.5)),
    "W4A4": (4, lambda: EightBitShare(0)),
    "W4/8 free A4": (4, _free_rows),
    "W4/8 free A4, T_m = 64": (4, lambda: _free_rows(TILE)),
}


def split(folder: Path, name: str) -> tuple[Tensor, Tensor]:
    """Images as the network takes them, float ``[n, 1, 64, 64]``, and labels."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        return torch.from_numpy(file["images"])[:, None].float() / 127.5 - 1, torch.from_numpy(file["labels"])


def logits(graph: Graph, images: Tensor) -> Tensor:
    """Real logits ``[n, classes]`` in float64."""
    output = graph[graph.outputs[0]]
    step = output.quant.scale if output.quant is not None and output.op.kind.startswith("integer") else 1.0
    return torch.cat([graph(x).flatten(1) for x in images.split(BATCH)]).double() * step


def top1(found: Tensor, labels: Tensor) -> float:
    return float((found.argmax(1) == labels).double().mean())


def sqnr(expected: Tensor, found: Tensor) -> float:
    """Decibels."""
    return float(10 * torch.log10(expected.square().sum() / (expected - found).square().sum()))


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path),
              default=ROOT / "build" / "glyphs")  # fmt: skip
@click.option("--method", "methods", type=click.Choice(list(METHODS)), multiple=True, help="Only these.")
@click.option("--small", is_flag=True, help="The smaller network, of rows that row tiles do not divide.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="By default in benchmarks/results.")
def main(data: Path, methods: tuple[str, ...], small: bool, out: Path | None) -> None:
    torch.set_num_threads(1)
    out = out or RESULTS / ("quantization_glyphs_small.json" if small else "quantization_glyphs.json")
    model = GLYPHS / ("timm_vit_small" if small else "timm_vit")
    found = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"cells": {}}
    loaded = load_model(str(model))
    graph = float_graph(loaded.module, loaded.example, model.name)
    calibration = split(data, "train")[0][:CALIBRATION_IMAGES]
    images, labels = split(data, "test")
    expected = logits(graph, images)
    found["float"] = top1(expected, labels)
    for method in methods or METHODS:
        for title, (bits, budget) in SETTINGS.items():
            if title in found["cells"].get(method, {}):
                continue
            start = time.perf_counter()
            settings = QuantizationSettings(method_named(method), BitWidths(activation=bits), budget())
            quantized = quantize_graph(graph, calibration, settings)
            seconds = time.perf_counter() - start
            integer = logits(lower(quantized.graph), images)
            cell = {
                "integer": top1(integer, labels),
                "fake_quantized": top1(logits(quantized.graph, images), labels),
                "sqnr_db": sqnr(expected, integer),
                "average_bits": quantized.average_bits,
                "seconds": seconds,
            }
            click.echo(f"{method} {title}: {cell}", err=True)
            # Another process may have added cells meanwhile.
            kept = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else found
            kept["cells"].setdefault(method, {})[title] = cell
            found = kept
            write_json(out, found)
    show(found)


def show(found: dict) -> None:
    title = f"Top-1 of integers (of fake quantization), SQNR of the logits; float: {found['float']:.2%}"
    table = Table(title=title)
    table.add_column("method")
    for title in SETTINGS:
        table.add_column(title, justify="right")
    for method in METHODS:
        cells = found["cells"].get(method, {})
        texts = [
            "{integer:.2%} ({fake_quantized:.2%})\n{sqnr_db:.1f} dB".format(**cells[title])
            if title in cells
            else ""
            for title in SETTINGS
        ]
        table.add_row(method, *texts)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
