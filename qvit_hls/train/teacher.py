"""A network from elsewhere to learn from: of timm or of Hugging Face transformers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qvit_hls.errors import QvitError
from qvit_hls.nets.config import VitConfig


class PretrainedTeacher:
    """A trained classifier as a function.

    It sees the same images as the network that learns from it, normalised as that one's are.

    Args:
        name: ``timm:NAME`` or ``hf:NAME``, as the library calls it.
        config: of the network that learns; classes, image size and channels must agree.
        device: where to compute.

    Raises:
        QvitError: the library is not installed, the model cannot be loaded, or does not fit the network.
    """

    def __init__(self, name: str, config: VitConfig, device: torch.device) -> None:
        library, _, model = name.partition(":")
        try:
            self._model = (_of_timm if library == "timm" else _of_transformers)(model)
        except ImportError:
            package = {"timm": "timm", "hf": "transformers"}[library]
            raise QvitError(
                f"The teacher {name} needs the package {package}; install it with: pip install {package}"
            ) from None
        except Exception as error:  # each library has ways of its own to fail
            raise QvitError(f"The teacher {name} cannot be loaded: {' '.join(str(error).split())}") from error
        self._model.to(device).eval().requires_grad_(False)
        example = torch.zeros(1, config.channels, config.image_size, config.image_size, device=device)
        try:
            shape = list(self(example).shape)
        except Exception as error:
            raise QvitError(
                f"The teacher {name} does not take images of shape {list(example.shape[1:])}: "
                f"{' '.join(str(error).split())}"
            ) from error
        if shape != [1, config.classes]:
            raise QvitError(
                f"The teacher {name} has outputs of shape {shape[1:]}; the network has "
                f"{config.classes} classes, and both should be the same."
            )

    def __call__(self, images: Tensor) -> Tensor:
        """Logits ``[batch, classes]`` of images ``[batch, channels, image_size, image_size]``."""
        output = self._model(images)
        return output if isinstance(output, Tensor) else output.logits


def _of_timm(name: str) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(name, pretrained=True)
    return model


def _of_transformers(name: str) -> nn.Module:
    from transformers import AutoModelForImageClassification

    model: nn.Module = AutoModelForImageClassification.from_pretrained(name)
    return model
