"""The one exception that carries problems to the user: every problem found, each a full sentence."""

from __future__ import annotations

from collections.abc import Iterable


class QvitError(Exception):
    """One or more problems with what the user handed in.

    Args:
        problems: one message, or all messages found in one pass; each names the bad thing and what
            would be right. ``str(error)`` has one line per problem.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))
