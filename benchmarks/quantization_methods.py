"""Quantization after training on the digits: every method at several widths.

    python benchmarks/quantization_methods.py [MODEL.pt]

Prints a row per method: top-1 of the integer graph on the 360 test images, and the SQNR of the logits.
Without MODEL.pt, a float network of the example's shape is trained first.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np
import torch

from qvit_hls.frontend.compile import float_graph
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.lowering import lower
from qvit_hls.nets.checkpoint import load_model
from qvit_hls.nets.vit import QuantVisionTransformer
from qvit_hls.ptq.methods import METHODS, method_named
from qvit_hls.ptq.placement import BitWidths
from qvit_hls.ptq.quality import compare
from qvit_hls.ptq.quantize import QuantizationSettings, quantize_graph
from qvit_hls.ptq.rows import AverageBits, EightBitShare, RowBudget

DIGITS = Path(__file__).parents[1] / "examples" / "digits"
CALIBRATION_IMAGES = 64
TRAINING_EPOCHS = 100

#: By title, bits of the activations and 8-bit rows.
SETTINGS: dict[str, tuple[int, RowBudget]] = {
    "W8A8": (8, EightBitShare(1)),
    "W4A8": (8, EightBitShare(0)),
    "W4A7": (7, EightBitShare(0)),
    "W4.5A7": (7, AverageBits(4.5)),
    "W5A7": (7, EightBitShare(0.25)),
    "W4A4": (4, EightBitShare(0)),
}


def float_network() -> QuantVisionTransformer:
    """The example's network, trained in float only; always the same."""
    sys.path.insert(0, str(DIGITS))
    import train as example

    torch.manual_seed(0)
    model = QuantVisionTransformer(example.CONFIG)
    images, _ = example.load_split()
    example.fit(model, images, quantized=False, epochs=TRAINING_EPOCHS, seed=0, rate=2e-3)
    return model.eval()


def arrays(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(DIGITS / name, allow_pickle=False) as file:
        return torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])


def result(graph: Graph, method: str, bits: int, budget: RowBudget) -> tuple[float, float]:
    """Top-1 of the integer graph, and the logits' SQNR in decibels."""
    calibration, _ = arrays("train.npz")
    images, labels = arrays("test.npz")
    settings = QuantizationSettings(method_named(method), BitWidths(activation=bits), budget)
    quantized = quantize_graph(graph, calibration[:CALIBRATION_IMAGES], settings)
    integer = lower(quantized.graph)
    found = compare(quantized.reference, quantized.graph, integer, images, labels, batch_size=64)
    assert found.integer_top1 is not None
    (ratio,) = [layer.sqnr_db for layer in found.layers if layer.name == integer.outputs[0]]
    return found.integer_top1, ratio


@click.command(help=__doc__)
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option("--method", "methods", type=click.Choice(list(METHODS)), multiple=True, help="Only these.")
def main(model: Path | None, methods: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    network = float_network() if model is None else load_model(model)
    network.set_quantization(False)
    images, labels = arrays("test.npz")
    with torch.no_grad():
        top1 = float((network(images).argmax(1) == labels).double().mean())
    graph = float_graph(network, images[:1], "digits")
    click.echo(f"float: {top1:.2%}\n")
    click.echo(f"| method | {' | '.join(SETTINGS)} |")
    click.echo(f"|{' --- |' * (len(SETTINGS) + 1)}")
    for method in methods or METHODS:
        cells = [result(graph, method, *setting) for setting in SETTINGS.values()]
        texts = (f"{accuracy:.2%}, {ratio:.1f} dB" for accuracy, ratio in cells)
        click.echo(f"| `{method}` | {' | '.join(texts)} |")


if __name__ == "__main__":
    main()
