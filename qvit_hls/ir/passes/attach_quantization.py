"""Turn FakeQuantize nodes into ``quant`` annotations of the values that they round. Bit-equal."""

from __future__ import annotations

from qvit_hls.ir.float_ops import FakeQuantize
from qvit_hls.ir.graph import Graph, Node, Quantization, with_quant
from qvit_hls.ir.passes.rewrite import LAYOUT_OPS, Structure, substitute


def attach_quantization(graph: Graph) -> Graph:
    """Annotate producers; a FakeQuantize stays where its producer also has unrounded readers.

    Rounding commutes with reshapes and permutations, so the annotation moves up to the operation that
    computes. Rounding twice to one grid is rounding once; to another grid it is not, and stays.
    """
    structure = Structure(graph)
    annotated: dict[str, Node] = {}
    aliases: dict[str, str] = {}
    for node in graph:
        if not isinstance(node.op, FakeQuantize):
            continue
        quant = Quantization(node.op.scale, node.op.qmax)
        source = node.inputs[0]
        while source in aliases:
            source = aliases[source]
        target = annotated.get(source, graph[source])
        while isinstance(target.op, LAYOUT_OPS) and structure.private(target):
            below = structure.producer(target)
            target = annotated.get(below.name, below)
        if target.quant is None and _only_rounded(structure, target, node):
            annotated[target.name] = with_quant(target, quant)
        elif target.quant != quant:
            continue
        aliases[node.name] = source
    removed: dict[str, list[Node]] = {name: [] for name in aliases}
    return substitute(graph, {**{name: [node] for name, node in annotated.items()}, **removed}, aliases)


def _only_rounded(structure: Structure, target: Node, quantizer: Node) -> bool:
    """Whether everything that reads ``target`` reads it rounded as ``quantizer`` does."""
    if structure.sole_user(target) is not None:
        return True
    wanted = quantizer.op
    return target.name not in structure.graph.outputs and all(
        isinstance(user.op, FakeQuantize)
        and isinstance(wanted, FakeQuantize)
        and (user.op.scale, user.op.qmax) == (wanted.scale, wanted.qmax)
        for user in structure.users(target)
    )
