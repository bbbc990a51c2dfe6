"""How much each element of a layer's output matters for the network's outputs."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from qvit_hls.ir.float_ops import AttentionScores
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.interpreter import steps as run_steps
from qvit_hls.ptq.calibration import Progress, output_gradients
from qvit_hls.ptq.token_sample import sampled_queries, sampled_tokens


def element_importance(
    graph: Graph,
    images: Tensor,
    names: Collection[str],
    tokens: int,
    seed: int = 0,
    batch_size: int = 4,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Tensor]:
    """Squared derivative of the network's outputs by elements of some values, at the sampled tokens.

    The outputs are projected on a random direction for each image; the square's expectation is the sum over
    the outputs of the squared derivatives, the diagonal of the Gauss-Newton matrix. It stands for the
    Hessian, as in PTQ4ViT (arXiv 2111.12293, section 3.3); it needs no labels.

    Args:
        graph: float.
        images: float32 ``[n, *shape of the input]``.
        names: of the values.
        tokens: over all images, see ``sampled_tokens``.
        seed: of the directions.
        batch_size: images at a time.
        progress: told after each batch.

    Returns:
        By name ``[n, t, R]``; of attention scores ``[n, heads, t, T']``.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    done = 0
    for batch in images.float().split(batch_size):
        values: dict[str, Tensor] = {}
        outputs: dict[str, Tensor] = {}
        batch = batch.clone().requires_grad_()
        with torch.enable_grad():
            for node, _, value in run_steps(graph, (batch,)):
                if node.name in parts:
                    values[node.name] = value
                if node.name in graph.outputs:
                    outputs[node.name] = value
            gradients = output_gradients(values, outputs, done, seed)
        for name, gradient in gradients.items():
            sample = sampled_queries if isinstance(graph[name].op, AttentionScores) else sampled_tokens
            parts[name].append(sample(gradient, done, len(images), tokens).square())
        done += len(batch)
        progress("differentiate", done, len(images))
    return {name: torch.cat(found) for name, found in parts.items()}
