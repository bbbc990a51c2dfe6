"""Pick a token before what treats every token alike, so that nothing is computed for the others.

Equal within float rounding (matrix products of other shapes may sum in another order).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qvit_hls.ir.float_ops import Elementwise, LayerNorm, Linear, Scale, TakeToken
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.rewrite import Structure, substitute

_PER_TOKEN = (LayerNorm, Linear, Elementwise, Scale)


def take_tokens_early(graph: Graph) -> Graph:
    """``take(f(x)) -> f(take(x))`` where only such nodes read ``f(x)``, as far up as that goes.

    timm and transformers normalise all tokens, then take one, or one for each classifier; the engine takes
    them from the residual stream.
    """
    while (found := _next(graph)) is not None:
        computed, takers = found
        before = graph[computed.inputs[0]]
        nodes: list[Node] = []
        aliases: dict[str, str] = {}
        for taken in takers:
            name = _name(computed, taken, takers)
            token = Node(
                f"{name}.token", taken.op, (before.name,), (1, before.shape[-1]), source=taken.source
            )
            moved = replace(
                computed,
                name=name,
                inputs=(token.name,),
                shape=(1, computed.shape[-1]),
                quant=computed.quant or taken.quant,
            )
            nodes += [token, moved]
            aliases[taken.name] = name
        graph = substitute(graph, {computed.name: nodes, **{name: [] for name in aliases}}, aliases)
    return graph


def _next(graph: Graph) -> tuple[Node, list[Node]] | None:
    """A node and the TakeTokens behind it that can go before it."""
    structure = Structure(graph)
    for computed in graph:
        takers = structure.users(computed)
        if not isinstance(computed.op, _PER_TOKEN) or not takers or computed.name in graph.outputs:
            continue
        only_taken = all(
            isinstance(taken.op, TakeToken) and (taken.quant is None or computed.quant in (None, taken.quant))
            for taken in takers
        )
        if not only_taken:
            continue
        names = {_name(computed, taken, takers) for taken in takers}
        new = {f"{name}.token" for name in names} | (names - {computed.name})
        if len(names) == len(takers) and not new.intersection(graph.index):
            return computed, takers
    return None


def _name(computed: Node, taken: Node, takers: Sequence[Node]) -> str:
    """What ``computed`` is called when it is computed for one token only."""
    assert isinstance(taken.op, TakeToken)
    return computed.name if len(takers) == 1 else f"{computed.name}.{taken.op.index}"
