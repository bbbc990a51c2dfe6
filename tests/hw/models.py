"""Small compiled networks, and graphs made from them by changing single nodes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch

from qvit_hls.frontend.compile import integer_graph
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model

CONFIG = VitConfig(
    image_size=12,
    channels=1,
    patch_size=4,
    classes=3,
    embed_dim=12,
    blocks=(BlockConfig(heads=2, head_dim=5, mlp_hidden=18),),
)


def compiled(config: VitConfig = CONFIG, seed: int = 1) -> Graph:
    """The integer graph of a random network."""
    return _compiled(config.model_dump_json(), seed)


@cache
def _compiled(text: str, seed: int) -> Graph:
    config = VitConfig.model_validate_json(text)
    example = torch.zeros(1, config.channels, config.image_size, config.image_size)
    return integer_graph(random_model(config, seed), example, "small")


def network(**changes: object) -> Graph:
    """The small network with another configuration."""
    return compiled(VitConfig.model_validate({**CONFIG.model_dump(), **changes}))


def changed(graph: Graph, name: str, **changes: object) -> Graph:
    """The graph with fields of one node replaced."""
    return graph.with_nodes([replace(n, **changes) if n.name == name else n for n in graph])


def inserted(graph: Graph, after: str, *nodes: Node) -> Graph:
    """The graph with nodes added behind another one."""
    result: list[Node] = []
    for node in graph:
        result.append(node)
        if node.name == after:
            result += nodes
    return graph.with_nodes(result)
