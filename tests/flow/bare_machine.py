"""What the fixture ``bare_machine`` gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

#: Puts a pretended program on PATH: (name, what it prints, folder where it really lies) -> its path.
Install = Callable[..., Path]
