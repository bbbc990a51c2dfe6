"""Settings of all tests."""

from __future__ import annotations

import pytest
import torch

# Tests run in several processes; threads of each would wait for one another's cores.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def importable_timm() -> object:
    """timm, also where torchvision's compiled part is of another build than torch.

    torchvision then misses two operators of its own, of which timm needs none.
    """
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401

        return library  # which must live as long as its operators are used
    return None
