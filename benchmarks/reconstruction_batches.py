"""How many images a gradient step of block reconstruction needs, where an image has many tokens.

    python benchmarks/reconstruction_batches.py [--json FILE]

One block of DeiT-Tiny (timm, random weights), 7-bit activations, a quarter of the rows with 8 bits, nearest
rounding as the start. Its error, as a share of the start's, on the 32 images that it learns from and on 16
others. Images are noise over something smooth, so that neighbouring tokens are alike.
"""

from __future__ import annotations

import platform
import time
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import interpolate

from qvit_hls.flow.output import write_json
from qvit_hls.frontend.compile import float_graph
from qvit_hls.frontend.torchvision_operators import declare_missing_operators
from qvit_hls.ir.float_ops import Linear
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.interpreter import steps as run_steps
from qvit_hls.ptq.annotate import WeightRows
from qvit_hls.ptq.block_learning import BlockReconstruction, BlockTask
from qvit_hls.ptq.block_run import QuantizedBlock
from qvit_hls.ptq.blocks import Block, cut_blocks
from qvit_hls.ptq.calibration import CalibrationSettings, observe
from qvit_hls.ptq.placement import BitWidths, place
from qvit_hls.ptq.rows import EightBitShare, choose_widths, search_rows
from qvit_hls.ptq.scales import LeastErrorRange, find_steps

RESULT = Path(__file__).parent / "results" / "reconstruction_batches.json"
MODEL = "deit_tiny_patch16_224"
LEARNED, HELD = 32, 16
#: Which of the blocks; 0 is the embedding.
BLOCK = 2


def pictures(count: int) -> Tensor:
    coarse = interpolate(torch.randn(count, 3, 14, 14), size=224, mode="bilinear")
    return coarse + 0.3 * torch.randn(count, 3, 224, 224)


def ends_of(graph: Graph, block: Block, images: Tensor) -> tuple[Tensor, Tensor]:
    """Input and output of ``block``, for all images."""
    found: dict[str, list[Tensor]] = {block.source: [], block.output: []}
    for batch in images.split(8):
        for node, _, value in run_steps(graph, (batch,)):
            if node.name in found:
                found[node.name].append(value)
    return torch.cat(found[block.source]), torch.cat(found[block.output])


@click.command(help=__doc__)
@click.option("--images", type=int, multiple=True, default=(2, 5, 8, 32), help="Of a gradient step.")
@click.option("--iterations", type=int, default=300, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), default=RESULT, show_default=True)
@torch.no_grad()
def main(images: tuple[int, ...], iterations: int, path: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    declare_missing_operators()
    import timm

    graph = float_graph(timm.create_model(MODEL, pretrained=False).eval(), torch.zeros(1, 3, 224, 224), MODEL)
    data, block = pictures(LEARNED + HELD), cut_blocks(graph)[BLOCK]
    placement = place(graph, BitWidths())
    seen = observe(graph, placement, data[:8], CalibrationSettings())
    steps = find_steps(graph, placement, seen, LeastErrorRange())
    searched = {
        node.name: search_rows(torch.from_numpy(node.op.weight).float())
        for node in graph
        if isinstance(node.op, Linear)
    }
    widths = choose_widths(searched, EightBitShare(0.25))
    rows = {name: WeightRows(widths[name], found.chosen(widths[name])) for name, found in searched.items()}
    x, wanted = ends_of(graph, block, data)
    importance = torch.ones_like(wanted[0])
    table = Table(box=None, pad_edge=False)
    for title in ("Images", "Tokens", "Seconds", "Error learned from", "Error of others"):
        table.add_column(title, justify="right")
    cells = []
    for count in images:
        settings = BlockReconstruction(iterations, batch_size=count, batch_tokens=2**30)
        learned, held = (
            BlockTask(x[part], x[part], wanted[part], importance, settings)
            for part in (slice(LEARNED), slice(LEARNED, None))
        )
        nearest = QuantizedBlock(graph, graph, block, placement, steps, rows, hold=1.0)
        found = QuantizedBlock(graph, graph, block, placement, steps, rows, settings.hold)
        before, before_held = learned.error(nearest), held.error(nearest)
        start = time.perf_counter()
        for _ in learned.learn(found, before):
            pass
        cell = {
            "images": count,
            "tokens": count * wanted.shape[1],
            "seconds": time.perf_counter() - start,
            "error_learned_from": learned.error(found) / before,
            "error_of_others": held.error(found) / before_held,
        }
        cells.append(cell)
        table.add_row(*[f"{v:.3f}" if k.startswith("error") else f"{v:.0f}" for k, v in cell.items()])
    write_json(path, {"cells": cells, "iterations": iterations, "machine": platform.machine()})
    Console().print(table)


if __name__ == "__main__":
    main()
