"""Filling in templates."""

from __future__ import annotations

from importlib import resources
from typing import Any

import jinja2


class Renderer:
    """Templates of ``templates/``, filled in with one context; a name that the context lacks is an error."""

    def __init__(self, context: dict[str, Any]) -> None:
        folder = resources.files("qvit_hls") / "templates"
        self._context = context
        self._environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            autoescape=False,
        )

    def __call__(self, template: str, **extra: Any) -> bytes:
        """The text of one template, with names beside those of the context."""
        return self._environment.get_template(template).render(**self._context, **extra).encode()
