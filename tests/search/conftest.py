"""What the tests of the search share: a small space on a fixed accelerator."""

from __future__ import annotations

import pytest
from search_spaces import small_space

from qvit_hls.hw.board import load_board
from qvit_hls.search.accelerators import tile_accelerator
from qvit_hls.search.genome import Genome
from qvit_hls.search.hardware import Hardware


@pytest.fixture(scope="session")
def hardware() -> Hardware:
    """One accelerator for all networks of the small space."""
    space, board = small_space(), load_board("zcu102")
    return Hardware(Genome(space), tile_accelerator(space, (4, 8, 4), board), board, 200)
