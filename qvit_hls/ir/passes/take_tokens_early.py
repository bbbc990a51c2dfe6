"""Pick a token before what treats every token alike, so that nothing is computed for the others.

Equal within float rounding (matrix products of other shapes may sum in another order).
"""

from __future__ import annotations

from dataclasses import replace

from qvit_hls.ir.float_ops import Elementwise, LayerNorm, Linear, Scale, TakeToken
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.rewrite import Structure, substitute

_PER_TOKEN = (LayerNorm, Linear, Elementwise, Scale)


def take_tokens_early(graph: Graph) -> Graph:
    """``take(f(x)) -> f(take(x))`` where nothing else reads ``f(x)``, as far up as that goes.

    timm and transformers normalise all tokens, then take one; the engine takes it from the residual stream.
    """
    while (found := _next(graph)) is not None:
        computed, taken = found
        name = f"{computed.name}.token"
        before = graph[computed.inputs[0]]
        token = Node(name, taken.op, (before.name,), (1, before.shape[-1]), source=taken.source)
        moved = replace(
            computed, inputs=(name,), shape=(1, computed.shape[-1]), quant=computed.quant or taken.quant
        )
        graph = substitute(
            graph, {computed.name: [token, moved], taken.name: []}, {taken.name: computed.name}
        )
    return graph


def _next(graph: Graph) -> tuple[Node, Node] | None:
    """A node and the TakeToken behind it that can go before it."""
    structure = Structure(graph)
    for taken in graph:
        if not isinstance(taken.op, TakeToken):
            continue
        computed = structure.producer(taken)
        alone = structure.sole_user(computed) is taken and f"{computed.name}.token" not in graph.index
        one_grid = taken.quant is None or computed.quant in (None, taken.quant)
        if isinstance(computed.op, _PER_TOKEN) and alone and one_grid:
            return computed, taken
    return None
