"""The table of operator handlers, and what handlers check alike.

A handler gets the builder, the fx node, and the node's arguments with values in place of fx nodes.
Operators whose arguments are all constant never get to one: the importer computes them.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import fx

from qvit_hls.frontend.builder import Result, Symbol, Unsupported

Handler = Callable[..., Result]
HANDLERS: dict[str, Handler] = {}
#: Operators whose handlers keep track of a batch dimension that is not in front.
KEEP_TRACK_OF_BATCH: set[str] = set()
#: Those among them that also know a batch dimension that is merged with others.
KEEP_TRACK_OF_MERGED_BATCH: set[str] = set()


def handles(
    *operators: str, any_batch_axis: bool = False, merged_batch: bool = False
) -> Callable[[Handler], Handler]:
    """Register the decorated function as handler of ``operators``, named with their overloads.

    Args:
        operators: names as ``aten.permute.default``.
        any_batch_axis: the handler works with a ``Symbol.batch_axis`` other than 0; the importer
            refuses those for all other handlers.
        merged_batch: it also works with a ``Symbol.merged``.
    """

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(operators, handler))
        if merged_batch:
            KEEP_TRACK_OF_MERGED_BATCH.update(operators)
        if any_batch_axis or merged_batch:
            KEEP_TRACK_OF_BATCH.update(operators)
        return handler

    return register


def supported_operators() -> list[str]:
    """Names of the operators that have a handler, without overloads and internal ones."""
    names = {operator.split(".")[1] for operator in HANDLERS}
    return sorted(name for name in names if not name.startswith("_"))


def traced_shape(node: fx.Node) -> tuple[int, ...]:
    """Shape of the node's value as traced, with the batch."""
    return tuple(int(n) for n in node.meta["val"].shape)


def axis_without_batch(axis: int, x: Symbol) -> int:
    """A dimension of ``x`` as traced, negative from the end, among those without the batch."""
    axis = axis % len(x.axes)
    if axis == x.batch_dimension:
        raise Unsupported("over the batch dimension")
    (dimension,) = x.axes[axis]
    return dimension - (dimension > x.batch_axis)


def require(condition: bool, what: str) -> None:
    """Raise Unsupported with ``what``, unless the condition holds."""
    if not condition:
        raise Unsupported(what)
