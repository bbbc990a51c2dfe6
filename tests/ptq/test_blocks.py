"""Blocks are found in the graph's structure, whatever its nodes are called."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qvit_hls.ir.float_ops import Add, Constant, Elementwise, Input, LayerNorm, Linear
from qvit_hls.ir.graph import Graph, Node, Op
from qvit_hls.ptq.blocks import cut_blocks

WIDTH = 4


def linear(name: str, source: str) -> Node:
    return node(name, Linear(np.eye(WIDTH, dtype=np.float32)), source)


def node(name: str, op: Op, *inputs: str) -> Node:
    return Node(name, op, inputs, (2, WIDTH))


def renamed(graph: Graph) -> Graph:
    """The same structure with meaningless names."""
    names = {found.name: f"v{number}" for number, found in enumerate(graph)}
    nodes = [
        replace(found, name=names[found.name], inputs=tuple(names[name] for name in found.inputs))
        for found in graph
    ]
    return graph.with_nodes(nodes, tuple(names[name] for name in graph.outputs))


def test_a_transformer_has_embedding_blocks_and_head(graph: Graph) -> None:
    blocks = cut_blocks(graph)
    assert [(block.source, block.output) for block in blocks] == [
        ("images", "add"),
        ("add", "blocks.0.add_1"),
        ("blocks.0.add_1", "blocks.1.add_1"),
        ("blocks.1.add_1", "head.reshape"),
    ]
    layers = ["q", "k", "v", "proj", "fc1", "fc2"]
    assert [found.name for found in blocks[1].linears] == [f"blocks.0.{layer}" for layer in layers]


def test_names_do_not_matter(graph: Graph) -> None:
    positions = {found.name: number for number, found in enumerate(graph)}
    expected = [tuple(f"v{positions[found.name]}" for found in block.nodes) for block in cut_blocks(graph)]
    assert [tuple(found.name for found in block.nodes) for block in cut_blocks(renamed(graph))] == expected


def test_every_varying_node_is_in_one_block(mean_graph: Graph) -> None:
    nodes = [found.name for block in cut_blocks(mean_graph) for found in block.nodes]
    varying = [found.name for found in mean_graph if not isinstance(found.op, Input | Constant)]
    assert nodes == varying


def test_attention_and_mlp_in_parallel_are_one_block(graph: Graph) -> None:
    """Both read the same value, and nothing but the last sum separates."""
    nodes = []
    for found in graph:
        if found.name == "blocks.0.norm2":
            found = replace(found, inputs=("add",))
        nodes.append(found)
    blocks = cut_blocks(graph.with_nodes(nodes))
    assert [block.output for block in blocks] == ["add", "blocks.0.add_1", "blocks.1.add_1", "head.reshape"]


def test_without_branches_each_linear_layer_is_a_block() -> None:
    nodes = (
        node("x", Input((2, WIDTH))),
        linear("first", "x"),
        node("gelu", Elementwise("gelu"), "first"),
        linear("second", "gelu"),
    )
    blocks = cut_blocks(Graph("chain", nodes, ("second",)))
    assert [(block.source, block.output) for block in blocks] == [("x", "first"), ("gelu", "second")]


def test_without_separators_each_linear_layer_is_a_block() -> None:
    """The input is read to the end, so that nothing separates."""
    nodes = (
        node("x", Input((2, WIDTH))),
        linear("a", "x"),
        node("sum", Add(), "a", "x"),
        node("norm", LayerNorm(1e-6), "sum"),
        linear("b", "norm"),
        node("out", Add(), "b", "x"),
    )
    blocks = cut_blocks(Graph("dense", nodes, ("out",)))
    assert [(block.source, block.output) for block in blocks] == [("x", "a"), ("norm", "b")]
