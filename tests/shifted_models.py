"""Random models whose LayerNorms scale each channel by a power of two, as a model file holds them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from qvit_hls.flow.graph_model import save_graph_model
from qvit_hls.frontend.compile import float_graph
from qvit_hls.ir.float_ops import LayerNorm
from qvit_hls.ir.graph import Graph
from qvit_hls.nets.config import VitConfig
from qvit_hls.nets.random import random_model


def shifted_graph(config: VitConfig, seed: int) -> Graph:
    """An annotated graph; weights from 2**-3 to 1 in every LayerNorm but the last, which has none."""
    example = torch.zeros(1, config.channels, config.image_size, config.image_size)
    graph = float_graph(random_model(config, seed), example, "shifted")
    rng = np.random.default_rng(seed)
    *shifted, _ = [node for node in graph if isinstance(node.op, LayerNorm)]
    weights = {node.name: 2.0 ** -rng.integers(0, 4, node.shape[-1]) for node in shifted}
    return graph.with_nodes(
        [
            replace(node, op=replace(node.op, weight=weights[node.name].astype(np.float32)))
            if node.name in weights
            else node
            for node in graph
        ]
    )


def write_shifted_model(path: Path, config: VitConfig, seed: int) -> Path:
    """The graph as a model file; returns its path."""
    save_graph_model(shifted_graph(config, seed), path)
    return path
