"""Order the nodes so that the residual stream is read before something is added to it. Bit-equal.

The engine adds in place. ``x + attention(norm1(x)) + mlp(norm2(x))`` computes the second LayerNorm behind the
first sum; here it comes before.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping

from qvit_hls.ir.float_ops import Add, Linear, Slice, TakeToken
from qvit_hls.ir.graph import Graph, Node


def read_before_adding(graph: Graph) -> Graph:
    """Whatever reads x, as far as it can, before the linear layer of ``x + linear(y)``; else as it was."""
    users = graph.users()
    before: dict[str, set[str]] = {node.name: set(node.inputs) for node in graph}
    for node in graph:
        if not isinstance(node.op, Add):
            continue
        for added, kept in (node.inputs, node.inputs[::-1]):
            layer = graph[added]
            if not isinstance(layer.op, Linear) or len(users[added]) > 1 or added == kept:
                continue
            behind = _behind(users, added)
            before[added] |= {name for name in _readers(users, kept) if name not in behind}
    order = _sorted(graph, before)
    return graph if order is None else graph.with_nodes([graph[name] for name in order])


def _readers(users: Mapping[str, list[Node]], value: str) -> Iterator[str]:
    """What reads the memory of a value, also as a part of it."""
    for user in users[value]:
        yield user.name
        if isinstance(user.op, TakeToken | Slice):
            yield from _readers(users, user.name)


def _behind(users: Mapping[str, list[Node]], name: str) -> set[str]:
    """The node, and all that depends on it."""
    found, waiting = {name}, [name]
    while waiting:
        for user in users[waiting.pop()]:
            if user.name not in found:
                found.add(user.name)
                waiting.append(user.name)
    return found


def _sorted(graph: Graph, before: Mapping[str, set[str]]) -> list[str] | None:
    """All names, each behind those that it needs, else as in the graph; None if that is circular."""
    place = {node.name: index for index, node in enumerate(graph)}
    missing = {name: len(needed) for name, needed in before.items()}
    readers: dict[str, list[str]] = {name: [] for name in before}
    for name, needed in before.items():
        for other in needed:
            readers[other].append(name)
    ready = [(place[name], name) for name, count in missing.items() if not count]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        _, name = heapq.heappop(ready)
        order.append(name)
        for reader in readers[name]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, (place[reader], reader))
    return order if len(order) == len(place) else None
