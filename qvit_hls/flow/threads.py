"""How many threads PyTorch uses for graphs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let PyTorch compute in one thread inside this context.

    A graph is many small operations. A second thread saves little on them, and where another process has
    that core, each operation waits for it: a DeiT-Tiny image takes the integer graph 0.2 s in one thread,
    and took 16 s in two on two busy cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
