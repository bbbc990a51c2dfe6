"""Float graph with annotations to integer graph: every constant of the arithmetic contract is made here.

``ir/lowering_rules.py`` and ``ir/lowering_embed.py`` have one rule per operation. All constants are
computed in float64 and Python integers, once; nothing downstream recomputes them.
"""

from __future__ import annotations

from qvit_hls.errors import QvitError
from qvit_hls.ir.float_ops import Constant, Reshape
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.lowering_context import InputFailed, Lowering, Unlowerable
from qvit_hls.ir.lowering_embed import find_embeddings, lower_embedding
from qvit_hls.ir.lowering_rules import RULES
from qvit_hls.ir.lowering_structure import explained_by, structural_obstacle


def lower(graph: Graph) -> Graph:
    """The integer graph that computes what ``graph`` computes on its grids.

    Names of nodes survive. The output is ``[1, classes]``: a reshape to ``[classes]`` at the end of the
    float graph is dropped.

    Args:
        graph: float, after FLOAT_PASSES; every value that the accelerator stores is annotated.

    Raises:
        QvitError: values or weights that are not quantized, grids that the arithmetic contract rules out,
            and structure that has no integer operation; all are listed.
    """
    context = Lowering(graph)
    embeddings, absorbed = find_embeddings(graph)
    without_rule: list[Node] = []
    for node in graph:
        if isinstance(node.op, Constant) or node.name in absorbed:
            continue
        try:
            if node.name in embeddings:
                lower_embedding(context, node, embeddings[node.name])
            elif _is_final_reshape(graph, node):
                context.alias(node.name, node.inputs[0])
            elif obstacle := structural_obstacle(graph, node):
                raise Unlowerable(obstacle)
            elif type(node.op) in RULES:
                RULES[type(node.op)](context, node)
            else:
                without_rule.append(node)
        except InputFailed:
            continue
        except Unlowerable as reason:
            context.report(node, str(reason))
    reported = set(context.reported)
    for node in without_rule:
        if not explained_by(graph, node, reported):
            context.report(node, f"operation {node.op.kind} has no integer counterpart here")
    if context.problems:
        raise QvitError(context.problems)
    return Graph(graph.name, tuple(context.nodes), tuple(context.resolve(name) for name in graph.outputs))


def _is_final_reshape(graph: Graph, node: Node) -> bool:
    """Whether ``node`` is the ``[1, c] -> [c]`` reshape of the model's output."""
    final = isinstance(node.op, Reshape) and node.name in graph.outputs
    return final and graph[node.inputs[0]].shape == (1, *node.shape)
