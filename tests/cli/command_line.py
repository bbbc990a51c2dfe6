"""What the fixture ``qvit_hls`` gives."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import Result

Run = Callable[..., Result]
