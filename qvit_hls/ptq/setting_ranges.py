"""Settings of methods are checked when they are made; all that are out of range are named at once."""

from __future__ import annotations

from collections.abc import Iterable

from qvit_hls.errors import QvitError


def check_ranges(owner: str, settings: object, rules: Iterable[tuple[str, bool, str]]) -> None:
    """Raise what is out of range.

    Args:
        owner: whose settings they are, for the message.
        settings: has the attributes.
        rules: name of an attribute, whether it fits, and what it should be.

    Raises:
        QvitError: some do not fit.
    """
    problems = [
        f"{owner}'s {name} is {_text(getattr(settings, name))}; it should be {wanted}."
        for name, fits, wanted in rules
        if not fits
    ]
    if problems:
        raise QvitError(problems)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
