"""Settings of a method by name and text, as a command line has them: ``reconstruction.iterations=1000``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from qvit_hls.errors import QvitError
from qvit_hls.ptq.channel_shifts import EqualRanges, LeastChannelError, LeastOutputError
from qvit_hls.ptq.methods import Method
from qvit_hls.ptq.metrics import CosineSimilarity, HessianGuided
from qvit_hls.ptq.ridge import RidgeCorrection

#: The parts that a setting can be exchanged for, by its name.
_PARTS: Mapping[str, tuple[type, ...]] = {
    "correction": (RidgeCorrection,),
    "metric": (CosineSimilarity, HessianGuided),
    "shifts": (EqualRanges, LeastChannelError, LeastOutputError),
}


def settings_of(part: Any, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Name and value of each setting; those of a part follow it, with its name and a point before theirs.

    A part is named by its class; its value is that name.
    """
    for item in fields(part):
        value = getattr(part, item.name)
        if not is_dataclass(value):
            yield prefix + item.name, value
            continue
        if item.name in _PARTS:
            yield prefix + item.name, type(value).__name__
        yield from settings_of(value, f"{prefix}{item.name}.")


def with_settings(method: Method, assignments: Iterable[str]) -> Method:
    """``method`` with other settings.

    Args:
        method: a frozen dataclass.
        assignments: ``NAME=VALUE`` each; the last one of a name counts. A part that is exchanged has its
            defaults, but for what is assigned.

    Raises:
        QvitError: a name that the method has not, a value that does not fit; all are listed.
    """
    problems, texts = list[str](), dict[str, str]()
    for assignment in assignments:
        name, equals, text = (part.strip() for part in assignment.partition("="))
        if equals:
            texts[name] = text
        else:
            problems.append(f"The setting {assignment!r} has no value; it should be NAME=VALUE.")
    change = _Change(texts)
    changed: Method = change.of(method)
    known = ", ".join(name for name, _ in settings_of(method))
    has = f"its settings are {known}" if known else "it has none"
    problems += [
        f"Method {method.name} has no setting {name}; {has}." for name in texts if name not in change.used
    ]
    problems += change.problems
    if problems:
        raise QvitError(problems)
    return changed


class _Change:
    """Settings that are texts put in their places.

    Args:
        texts: by name.

    Attributes:
        used: names that have a place.
        problems: with values.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self.used: set[str] = set()
        self.problems: list[str] = []

    def of(self, part: Any, prefix: str = "") -> Any:
        """``part`` with its settings changed, all at once: some are others' limits.

        Args:
            prefix: of the names of its settings.
        """
        values = {}
        hints = get_type_hints(type(part))
        for item in fields(part):
            name, value = prefix + item.name, getattr(part, item.name)
            if name in self._texts and (item.name in _PARTS or not is_dataclass(value)):
                self.used.add(name)
                value = self._parsed(name, item.name, hints[item.name], value)
            values[item.name] = self.of(value, f"{name}.") if is_dataclass(value) else value
        try:
            return replace(part, **values)
        except QvitError as error:
            self.problems += error.problems
            return part

    def _parsed(self, name: str, field: str, hint: Any, present: object) -> object:
        text = self._texts[name]
        if field in _PARTS:
            choices: dict[str, Any] = {part.__name__: part for part in _PARTS[field]}
            if NoneType in get_args(hint):
                choices["none"] = NoneType
            if text in choices:
                return choices[text]()
            self.problems.append(f"The setting {name} is {text!r}; it should be {' or '.join(choices)}.")
            return present
        is_list = get_origin(hint) is tuple
        try:
            # A list is numbers with commas between them.
            return TypeAdapter(hint).validate_python(text.split(",") if is_list else text)
        except ValidationError as error:
            wanted = error.errors()[0]["msg"].removeprefix("Input ").split(", unable")[0]
            self.problems.append(f"The setting {name} is {text!r}; it {wanted}.")
            return present
