from __future__ import annotations

import pytest
from plain_vit import plain_graph

from qvit_hls.ir.graph import Graph


@pytest.fixture(scope="session")
def graph() -> Graph:
    """The float graph of a plain ViT with a class token; tracing it takes a second."""
    return plain_graph()


@pytest.fixture(scope="session")
def mean_graph() -> Graph:
    """The same with the mean over tokens."""
    return plain_graph(seed=1, mean=True, blocks=1)
