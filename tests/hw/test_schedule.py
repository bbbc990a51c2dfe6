"""What the scheduler makes of a graph, and which graphs it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from models import changed, compiled, inserted, network
from targets import configuration

from qvit_hls.errors import QvitError
from qvit_hls.hw.descriptor import Unit
from qvit_hls.hw.program import StreamedTable
from qvit_hls.hw.schedule import schedule
from qvit_hls.ir import float_ops, integer_ops
from qvit_hls.ir.graph import Graph, Node

CONFIG = configuration((8, 12, 8))


def refusal(graph: Graph) -> tuple[str, ...]:
    with pytest.raises(QvitError) as refused:
        schedule(graph, CONFIG)
    return refused.value.problems


def test_layers_are_in_the_order_of_the_graph_a_heads_context_behind_the_next_heads_scores() -> None:
    block = {"heads": 3, "head_dim": 5, "mlp_hidden": 18}
    order = ("scores[0]", "softmax[0]", "scores[1]", "softmax[1]", "context[0]")
    order += ("scores[2]", "softmax[2]", "context[1]", "context[2]")
    attention = [f"blocks.0.attn.{part}" for part in order]
    assert [layer.name for layer in schedule(network(blocks=[block]), CONFIG).layers] == [
        "patch_embed.patches",
        "add.constant",
        "patch_embed",
        "blocks.0.norm1",
        "blocks.0.attn.q",
        "blocks.0.attn.k",
        "blocks.0.attn.v[0]",
        "blocks.0.attn.v[1]",
        "blocks.0.attn.v[2]",
        *attention,
        "blocks.0.attn.proj",
        "blocks.0.norm2",
        "blocks.0.mlp.fc1",
        "blocks.0.mlp.fc2",
        "norm",
        "head",
        "result",
    ]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_macs_are_those_of_the_graph(pooling: str) -> None:
    graph = network(pooling=pooling)
    macs = atom_macs = 0
    for node in graph:
        if isinstance(node.op, integer_ops.IntegerLinear):
            tokens, k = node.shape[0], node.op.weight.shape[1]
            macs += tokens * node.op.weight.size
            atom_macs += tokens * k * int((node.op.row_bits // 4).sum())
        elif isinstance(node.op, integer_ops.IntegerScores | integer_ops.IntegerContext):
            width = graph[node.inputs[1]].shape[1]
            tokens = graph[node.inputs[1]].shape[0]
            macs += tokens * tokens * width
            atom_macs += 2 * tokens * tokens * width
    program = schedule(graph, CONFIG)
    assert sum(layer.macs for layer in program.layers) == macs
    assert sum(layer.atom_macs for layer in program.layers) == atom_macs


def test_an_exponent_table_is_streamed_once_where_heads_and_blocks_share_it() -> None:
    block = {"heads": 2, "head_dim": 5, "mlp_hidden": 18}
    program = schedule(network(blocks=[block, block]), CONFIG)
    descriptors = [layer.descriptor for layer in program.layers]
    entries = [d.table_entries for d in descriptors if d.unit == Unit.SOFTMAX]
    assert entries == [256, 0, 0, 0]


def test_every_layer_norm_with_shifts_brings_its_table() -> None:
    graph = compiled()
    tables = {"blocks.0.norm1": np.arange(12) % 8, "norm": np.full(12, 7)}
    for name, shifts in tables.items():
        op = graph[name].op
        assert isinstance(op, integer_ops.IntegerLayerNorm)
        graph = changed(graph, name, op=replace(op, shifts=shifts.astype(np.uint8)))
    norms = [layer for layer in schedule(graph, CONFIG).layers if layer.descriptor.unit == Unit.LAYER_NORM]
    assert [layer.descriptor.table_entries for layer in norms] == [12, 0, 12]
    found = {layer.name: layer.stream for layer in norms if layer.stream}
    assert found.keys() == tables.keys()
    for name, (item,) in found.items():
        assert isinstance(item, StreamedTable)
        assert item.entries.tolist() == tables[name].tolist()


def test_a_value_read_after_the_residual_add_overwrites_it_is_refused() -> None:
    graph = changed(compiled(), "blocks.0.norm2", inputs=("add",))
    assert refusal(graph) == (
        "blocks.0.add: add is read after the residual add overwrites it: blocks.0.norm2",
    )


def test_a_value_read_between_the_linear_layer_that_adds_and_the_add_is_refused() -> None:
    graph = compiled()
    early = graph["blocks.0.norm1"]
    between = Node("between", early.op, ("add",), early.shape, early.quant)
    graph = inserted(graph, "blocks.0.attn.proj", between)
    fc1 = graph["blocks.0.mlp.fc1"]
    graph = changed(graph, fc1.name, inputs=("between",))
    assert refusal(graph) == ("blocks.0.add: add is read after the residual add overwrites it: between",)


def test_a_token_taken_before_the_residual_add_and_read_after_it_is_refused() -> None:
    graph = compiled()
    taken = replace(graph["token"], name="early", inputs=("blocks.0.add",))
    graph = inserted(graph, "blocks.0.add", taken)
    graph = changed(graph, "norm", inputs=("early",))
    assert refusal(graph) == (
        "blocks.0.add_1: blocks.0.add is read after the residual add overwrites it: norm",
    )


def test_an_output_that_a_residual_add_overwrites_is_refused() -> None:
    graph = compiled()
    assert refusal(replace(graph, outputs=("blocks.0.add",))) == (
        "blocks.0.add_1: blocks.0.add is read after the residual add overwrites it: the graph's output",
    )


def test_the_first_token_stays_where_it_is_and_another_one_is_copied() -> None:
    def copies(index: int) -> list[str]:
        graph = changed(compiled(), "token", op=integer_ops.TakeToken(index))
        layers = schedule(graph, CONFIG).layers
        return [layer.name for layer in layers if layer.descriptor.unit == Unit.MEAN_TOKENS]

    assert copies(0) == []
    assert copies(1) == ["token"]


def test_only_tokens_of_the_residual_stream_are_joined() -> None:
    graph = compiled()
    norm = graph["norm"]
    joined = Node("joined", integer_ops.ConcatTokens(), ("norm", "norm"), (2, norm.shape[1]), norm.quant)
    graph = changed(inserted(graph, "norm", joined), "head", inputs=("joined",), shape=(2, 3))
    assert refusal(graph) == ("joined: concat_tokens reads the residual stream, not norm",)


def test_float_operations_are_refused() -> None:
    graph = changed(compiled(), "token", op=float_ops.FakeQuantize(1.0, 63), shape=(10, 12))
    assert refusal(graph) == ("token: fake_quantize is not an operation of the engine",)


def test_several_outputs_are_refused() -> None:
    graph = compiled()
    assert refusal(replace(graph, outputs=("head", "norm"))) == (
        "the graph has 2 outputs; the engine writes one result",
    )


def test_an_output_that_is_not_in_the_wide_memory_is_refused() -> None:
    graph = compiled()
    graph = Graph("short", graph.nodes[:-1], ("norm",))
    assert refusal(graph) == (
        "norm: the engine's result is a linear layer or the residual stream, not integer_layer_norm",
    )


def test_an_output_of_many_tokens_is_refused() -> None:
    graph = compiled()
    assert refusal(Graph("short", graph.nodes[:4], ("add",))) == (
        "add: the result has 10 tokens; the engine writes one",
    )


def test_a_linear_layer_that_reads_the_residual_stream_is_refused() -> None:
    graph = changed(compiled(), "head", inputs=("token",))
    assert refusal(graph) == (
        "head: it reads token from the residual stream; matrix products read what a LayerNorm, a table or "
        "another product has made",
    )


def test_keys_that_come_from_no_linear_layer_are_refused() -> None:
    graph = changed(network(blocks=[{"heads": 1, "head_dim": 12, "mlp_hidden": 18}]), "blocks.0.attn.scores",
                    inputs=("blocks.0.attn.q", "blocks.0.norm1"))  # fmt: skip
    assert refusal(graph)[:2] == (
        "blocks.0.attn.k: the engine cannot hand this layer's result to nothing",
        "blocks.0.attn.context: queries, keys and values must come from linear layers",
    )


def test_queries_that_are_the_keys_are_refused() -> None:
    graph = changed(compiled(), "blocks.0.attn.scores", inputs=("blocks.0.attn.q", "blocks.0.attn.q"))
    assert refusal(graph)[0] == "blocks.0.attn.scores: queries and keys are the same value"


def test_scores_that_are_read_twice_are_refused() -> None:
    graph = compiled()
    again = replace(graph["blocks.0.attn.softmax"], name="again")
    graph = inserted(graph, "blocks.0.attn.softmax", again)
    assert refusal(graph) == (
        "blocks.0.attn.scores: attention scores must go into one softmax and nowhere else",
    )


def test_values_whose_rows_are_not_grouped_by_precision_are_refused() -> None:
    graph = compiled()
    op = graph["blocks.0.attn.v"].op
    assert isinstance(op, integer_ops.IntegerLinear)
    bits = np.array([4, 8] * 5, np.uint8)
    graph = changed(graph, "blocks.0.attn.v", op=replace(op, row_bits=bits))
    assert (
        refusal(graph)[0] == "blocks.0.attn.v: rows of head 0 are not grouped by precision, 8-bit rows first"
    )


def test_a_branch_with_another_limit_than_the_residual_stream_is_refused() -> None:
    graph = compiled()
    op = graph["blocks.0.attn.proj"].op
    assert isinstance(op, integer_ops.IntegerLinear)
    graph = changed(graph, "blocks.0.attn.proj", op=replace(op, qmax=2047))
    assert refusal(graph) == (
        "blocks.0.attn.proj: its result is clamped to 2047, the residual stream to 32767",
    )


def test_patches_that_two_layers_read_are_refused() -> None:
    graph = compiled()
    again = replace(graph["patch_embed"], name="again")
    problems = refusal(inserted(graph, "patch_embed.patches", again))
    assert problems[0] == "patch_embed.patches: patches must go into one linear layer"


def test_a_residual_add_of_two_linear_layers_is_refused() -> None:
    graph = changed(compiled(), "blocks.0.add", inputs=("blocks.0.attn.proj", "blocks.0.attn.proj"))
    assert refusal(graph)[0] == (
        "blocks.0.add: one side of a residual add must already be the residual stream"
    )
