"""A teacher of another library: what it says is taken, and what does not fit is refused."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from small_runs import NETWORK
from torch import nn

from qvit_hls.errors import QvitError
from qvit_hls.train.teacher import PretrainedTeacher


def classifier(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, classes), nn.Dropout(0.5))


class Wrapped(nn.Module):
    """Returns its logits as transformers' models do."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.model(images))


def install(monkeypatch: pytest.MonkeyPatch, model: nn.Module) -> None:
    def create_model(name: str, pretrained: bool) -> nn.Module:
        assert pretrained
        if name == "unknown":
            raise RuntimeError("Unknown model (unknown)")
        return model

    loader = SimpleNamespace(from_pretrained=lambda name: Wrapped(create_model(name, True)))
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(AutoModelForImageClassification=loader))


@pytest.mark.parametrize("name", ["timm:some", "hf:some"])
def test_a_teachers_logits_are_those_of_its_model_in_evaluation(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = classifier(2)
    install(monkeypatch, model)
    teacher = PretrainedTeacher(name, NETWORK, torch.device("cpu"))
    images = torch.randn(3, 1, 4, 4)
    logits = teacher(images)
    assert torch.equal(logits, model[1](images.flatten(1)))
    assert not logits.requires_grad


@pytest.mark.parametrize(
    ("name", "model", "problem"),
    [
        ("timm:unknown", classifier(2), "The teacher timm:unknown cannot be loaded: Unknown model (unknown)"),
        ("timm:some", classifier(5),
         "The teacher timm:some has outputs of shape [5]; the network has 2 classes, and both should be the "
         "same."),
        ("hf:some", nn.Linear(3, 2), "The teacher hf:some does not take images of shape [1, 4, 4]: "),
    ],
)  # fmt: skip
def test_a_teacher_that_does_not_fit_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, model: nn.Module, problem: str
) -> None:
    install(monkeypatch, model)
    with pytest.raises(QvitError) as error:
        PretrainedTeacher(name, NETWORK, torch.device("cpu"))
    assert str(error.value).startswith(problem)
