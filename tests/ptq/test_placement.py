"""Every value that lowering needs on a grid gets one, of the kind that its readers ask for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qvit_hls.errors import QvitError
from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Graph, Node, Quantization
from qvit_hls.ptq.placement import BitWidths, GridKind, place


def kinds(graph: Graph, widths: BitWidths) -> dict[str, tuple[GridKind, int]]:
    return {name: (grid.kind, grid.qmax) for name, grid in place(graph, widths).by_value().items()}


def test_readers_decide_the_kind_of_a_grid(graph: Graph) -> None:
    found = kinds(graph, BitWidths(activation=8, table=10))
    users = graph.users()
    for name, (kind, qmax) in found.items():
        readers = {type(user.op) for user in users[name]}
        if kind is GridKind.KEY:
            assert readers == {f.AttentionScores} and qmax == 119
        elif kind is GridKind.TABLE:
            assert readers == {f.Elementwise} and qmax == 511
        elif kind is GridKind.SCORE:
            assert readers == {f.Softmax} and qmax == 2047
        elif kind is GridKind.OPERAND:
            assert readers <= {f.Linear, f.AttentionScores, f.AttentionContext, f.Patches} and qmax == 127
        else:
            assert qmax == 32767
    assert {kind for kind, _ in found.values()} == set(GridKind)


@pytest.mark.parametrize("name", ["graph", "mean_graph"])
def test_the_residual_stream_is_one_grid(name: str, request: pytest.FixtureRequest) -> None:
    graph: Graph = request.getfixturevalue(name)
    (stream,) = [grid for grid in place(graph, BitWidths()).grids if grid.kind is GridKind.RESIDUAL]
    users = graph.users()
    sums = {node.name for node in graph if isinstance(node.op, f.Add | f.MeanTokens)}
    terms = {
        node.name
        for node in graph
        if isinstance(node.op, f.Linear) and {type(u.op) for u in users[node.name]} & {f.Add, f.ConcatTokens}
    }
    assert terms and set(stream.values) == sums | terms


def test_what_is_never_stored_has_no_grid(graph: Graph) -> None:
    without = {node.name for node in graph} - set(place(graph, BitWidths()).by_value())
    unstored = f.Constant | f.Softmax | f.Patches | f.TakeToken | f.Reshape | f.ConcatTokens
    assert without == {node.name for node in graph if isinstance(node.op, unstored)}


def test_a_value_with_two_uses_gets_the_stricter_grid() -> None:
    """A Linear reads the residual stream itself, without a LayerNorm between."""
    weight = np.eye(4, dtype=np.float32)
    graph = Graph(
        "direct",
        (
            Node("x", f.Input((3, 4)), (), (3, 4)),
            Node("a", f.Linear(weight), ("x",), (3, 4)),
            Node("b", f.Linear(weight), ("x",), (3, 4)),
            Node("sum", f.Add(), ("a", "b"), (3, 4)),
            Node("head", f.Linear(weight), ("sum",), (3, 4)),
        ),
        ("head",),
    )
    grids = place(graph, BitWidths(activation=6)).by_value()
    assert grids["a"] == grids["b"] == grids["sum"]
    assert (grids["sum"].kind, grids["sum"].qmax) == (GridKind.OPERAND, 31)


def test_all_that_cannot_be_placed_is_said_at_once(graph: Graph) -> None:
    nodes = list(graph.nodes)
    linear = next(i for i, node in enumerate(nodes) if isinstance(node.op, f.Linear))
    norm = next(i for i, node in enumerate(nodes) if isinstance(node.op, f.LayerNorm))
    op = nodes[linear].op
    assert isinstance(op, f.Linear)
    rows = len(op.weight)
    nodes[linear] = replace(
        nodes[linear], op=replace(op, row_scale=np.ones(rows), row_bits=np.full(rows, 4, np.uint8))
    )
    nodes[norm] = replace(nodes[norm], quant=Quantization(0.1, 63))
    nodes.insert(norm + 1, Node("odd", f.Scale(np.float32(2)), (nodes[norm].name,), nodes[norm].shape))
    with pytest.raises(QvitError) as error:
        place(graph.with_nodes(nodes), BitWidths())
    assert error.value.problems == (
        f"{nodes[linear].name}: its weights are quantized already; post-training quantization starts from a "
        "float network.",
        f"{nodes[norm].name}: its value has a grid already; post-training quantization starts from a float "
        "network.",
        "odd: the factor does not follow a linear layer or attention scores directly.",
    )


def test_widths_out_of_range_are_all_named() -> None:
    with pytest.raises(QvitError) as error:
        BitWidths(activation=3, table=11)
    assert error.value.problems == (
        "The activation grid is to have 3 bits; it should have 4 to 8.",
        "The table grid is to have 11 bits; it should have 4 to 10.",
    )
