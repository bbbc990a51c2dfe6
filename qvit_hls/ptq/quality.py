"""What quantization has cost: integer and float graph side by side, layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.integer_ops import SoftmaxExponents
from qvit_hls.ir.interpreter import steps as run_steps
from qvit_hls.ptq.calibration import Progress


@dataclass(frozen=True)
class LayerQuality:
    """How near a value of the integer graph is to the float graph's, over all images.

    Attributes:
        name: of the value.
        sqnr_db: power of the float value over that of the difference, in decibels; infinite where equal.
        cosine: similarity, -1 to 1; 1 where both are zero.
    """

    name: str
    sqnr_db: float
    cosine: float


@dataclass(frozen=True)
class Quality:
    """The result of a comparison.

    Attributes:
        layers: the worst first.
        images: how many were compared.
        agreement: share of the images for which both graphs predict the same class.
        float_top1, quantized_top1, integer_top1: shares of the labels that the float graph, the annotated
            graph and the integer graph hit; None without labels.
    """

    layers: tuple[LayerQuality, ...]
    images: int
    agreement: float
    float_top1: float | None = None
    quantized_top1: float | None = None
    integer_top1: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite ratio is null."""
        return {
            "images": self.images,
            "agreement": self.agreement,
            "top1": None
            if self.float_top1 is None
            else {
                "float": self.float_top1,
                "quantized": self.quantized_top1,
                "integer": self.integer_top1,
            },
            "layers": [
                {
                    "name": layer.name,
                    "sqnr_db": layer.sqnr_db if math.isfinite(layer.sqnr_db) else None,
                    "cosine": layer.cosine,
                }
                for layer in self.layers
            ],
        }


@torch.no_grad()
def compare(
    float_graph: Graph,
    annotated: Graph,
    integer: Graph,
    images: Tensor,
    labels: Tensor | None = None,
    batch_size: int = 4,
    progress: Progress = lambda stage, done, total: None,
) -> Quality:
    """Run all three graphs over the images.

    Args:
        float_graph: what was quantized.
        annotated: what quantization made of it.
        integer: ``annotated``, lowered, its rows in their order; values have the float graph's names.
        images: float ``[n, *shape of the input]``, at least one.
        labels: integers ``[n]``, or None.
        batch_size: images at a time; memory grows with it.
        progress: told after each batch.
    """
    needed = {*float_graph.outputs, *(node.name for node in integer if _compared(node))}
    sums: dict[str, Tensor] = {}
    predictions: list[Tensor] = []
    for batch in images.float().split(batch_size):
        values = {node.name: v for node, _, v in run_steps(float_graph, (batch,)) if node.name in needed}
        outputs = [values[float_graph.outputs[0]], _output(annotated, batch)]
        for node, _, value in run_steps(integer, (batch,)):
            if node.name == integer.outputs[0]:
                outputs.append(value)
            if node.quant is None or not _compared(node):
                continue
            wanted, got = values[node.name].double().flatten(), value.double().flatten() * node.quant.scale
            new = torch.stack([wanted @ wanted, got @ got, wanted @ got, (wanted - got).square().sum()])
            sums[node.name] = sums.get(node.name, torch.zeros(4, dtype=torch.float64)) + new
        predictions.append(torch.stack([output.flatten(1).argmax(1) for output in outputs]))
        progress("compare", sum(part.shape[1] for part in predictions), len(images))
    found = torch.cat(predictions, dim=1)
    layers = sorted((_layer(name, total) for name, total in sums.items()), key=lambda layer: layer.sqnr_db)
    top1 = [None] * 3 if labels is None else (found == labels).double().mean(1).tolist()
    return Quality(tuple(layers), len(images), float((found[0] == found[2]).double().mean()), *top1)


def _compared(node: Node) -> bool:
    """Whether a node of the integer graph has a value that the float graph has too."""
    return node.quant is not None and not isinstance(node.op, SoftmaxExponents)


def _output(graph: Graph, batch: Tensor) -> Tensor:
    for node, _, value in run_steps(graph, (batch,)):
        if node.name == graph.outputs[0]:
            return value
    raise AssertionError("a graph's outputs are among its nodes")


def _layer(name: str, total: Tensor) -> LayerQuality:
    power, other, product, error = total.tolist()
    ratio = math.inf if error == 0 else 10 * math.log10(power / error) if power else -math.inf
    norm = math.sqrt(power * other)
    cosine = product / norm if norm else float(power == other)
    return LayerQuality(name, ratio, cosine)
