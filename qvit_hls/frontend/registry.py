"""The table of operator handlers, and what handlers check alike.

A handler gets the builder, the fx node, and the node's arguments with values in place of fx nodes.
Operators whose arguments are all constant never get to one: the importer computes them.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import fx

from qvit_hls.frontend.builder import GraphBuilder, Unsupported, Value

Handler = Callable[..., Value]
HANDLERS: dict[str, Handler] = {}


def handles(*operators: str) -> Callable[[Handler], Handler]:
    """Register the decorated function as handler of ``operators``, named with their overloads."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(operators, handler))
        return handler

    return register


def supported_operators() -> list[str]:
    """Names of the operators that have a handler, without overloads and internal ones."""
    names = {operator.split(".")[1] for operator in HANDLERS}
    return sorted(name for name in names if not name.startswith("_"))


def output_shape(builder: GraphBuilder, node: fx.Node) -> tuple[int, ...]:
    """Shape of the node's value without the batch."""
    shape = tuple(int(n) for n in node.meta["val"].shape)
    if not shape or shape[0] != builder.batch:
        raise Unsupported("where it moves or merges the batch dimension")
    return shape[1:]


def axis_without_batch(axis: int, rank: int) -> int:
    """A dimension counted from 0 without the batch; ``rank`` includes the batch."""
    axis = axis % rank
    if axis == 0:
        raise Unsupported("over the batch dimension")
    return axis - 1


def require(condition: bool, what: str) -> None:
    """Raise Unsupported with ``what``, unless the condition holds."""
    if not condition:
        raise Unsupported(what)
