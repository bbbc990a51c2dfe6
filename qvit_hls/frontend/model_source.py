"""Float models of timm and of Hugging Face transformers, with weights from a local safetensors file.

Nothing is downloaded and nothing is unpickled: timm and transformers give the architecture, the file the
tensors, and the two must agree in every name and shape.
"""

from __future__ import annotations

import json
from pathlib import Path

from qvit_hls.errors import QvitError
from qvit_hls.frontend.model_files import LoadedModel
from qvit_hls.frontend.timm_models import timm_folder, timm_model
from qvit_hls.frontend.transformers_models import cached_folder, transformers_model

_FORMS = "timm:NAME, hf:NAME, or a folder with a config.json of transformers or timm"


def load_model(source: str, weights: Path | None = None, classes: int | None = None) -> LoadedModel:
    """The model that ``source`` names.

    Args:
        source: ``timm:NAME``; ``hf:NAME`` for a model in Hugging Face's local cache; or a folder (with or
            without ``hf:`` before it) with the ``config.json`` of an image classifier of transformers or
            timm.
        weights: safetensors file with all of the model's tensors; of any floating-point type. May be left
            out where a ``model.safetensors`` lies beside the ``config.json``.
        classes: number of classes of a timm model, where it is not the one it was published with.

    Raises:
        QvitError: the library is not installed, the name is unknown, there are no weights, or they do not
            fit; every tensor that is missing, superfluous or of another shape, up to ten.
    """
    library, colon, name = source.partition(":")
    if Path(source).is_dir():
        return _of_folder(Path(source), weights, classes)
    if library == "timm" and name:
        return timm_model(name, weights, classes)
    if library == "hf" and name:
        folder = Path(name)
        return _of_folder(folder if folder.is_dir() else cached_folder(name), weights, classes)
    if not colon:
        raise QvitError(f"There is no folder {source}; a model is {_FORMS}.")
    raise QvitError(f"The model {source} cannot be found; a model is {_FORMS}.")


def _of_folder(folder: Path, weights: Path | None, classes: int | None) -> LoadedModel:
    """The model of a folder: a configuration of timm has an architecture, others are of transformers."""
    path = folder / "config.json"
    if not path.is_file():
        raise QvitError(f"The folder {folder} has no config.json; a model is {_FORMS}.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise QvitError(f"{path} cannot be read as JSON ({error}).") from None
    if isinstance(config, dict) and "architecture" in config:
        return timm_folder(folder, config, weights, classes)
    return transformers_model(folder, weights)
