"""torchvision without its compiled part, which may be of another build than torch.

timm and transformers import torchvision. Beside a torch that it was not compiled for, say one without CUDA,
it stops at the first of its own operators that is missing; ViTs need none of them.
"""

from __future__ import annotations

import torch

#: Operators that torchvision describes to torch when it is imported.
_DESCRIBED = ("nms", "qnms")
#: They live as long as this does.
_declared: list[torch.library.Library] = []


def declare_missing_operators() -> None:
    """Declare torchvision's operators where its compiled part has not, so that it can be imported.

    They have no implementation: calling one raises torch's NotImplementedError.
    """
    try:
        import torchvision  # noqa: F401  (whether it can be imported is the question)
    except ImportError:
        return  # who needs it will say so
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in _DESCRIBED:
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
