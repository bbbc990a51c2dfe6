"""Settings of all tests."""

from __future__ import annotations

import pytest
import torch

from qvit_hls.frontend.torchvision_operators import declare_missing_operators

# Tests run in several processes; threads of each would wait for one another's cores.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def importable_timm() -> None:
    """timm and transformers, also where torchvision's compiled part is of another build than torch."""
    declare_missing_operators()
