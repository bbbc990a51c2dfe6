"""Modules that are quantized in memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from qvit_hls.errors import QvitError
from qvit_hls.flow.quantize import quantize_module


class OfEveryPatch(nn.Module):
    """A classifier of each patch."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Conv2d(1, 8, 4, stride=4), nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.embed(images).flatten(2).transpose(1, 2))


def test_what_the_engine_cannot_schedule_is_said_before_calibration() -> None:
    torch.manual_seed(0)
    stages: list[str] = []
    with pytest.raises(QvitError) as error:
        quantize_module(
            OfEveryPatch().eval(),
            torch.randn(8, 1, 8, 8),
            progress=lambda stage, done, total: stages.append(stage),
        )
    assert error.value.problems == ("head: the result has 4 tokens; the engine writes one",)
    assert set(stages) == {"export"}
