"""Models of timm, by name or from a folder as timm writes it for the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from qvit_hls.errors import QvitError
from qvit_hls.frontend.model_files import (
    LoadedModel,
    no_weights,
    not_installed,
    of_channels,
    raise_if_any,
    read_weights,
    unknown_name,
)
from qvit_hls.frontend.torchvision_operators import declare_missing_operators
from qvit_hls.nets.tensor_problems import tensor_problems

#: Arguments that would make timm read or fetch other files than the one with the weights.
_NOT_ARGUMENTS = ("pretrained", "checkpoint_path", "cache_dir", "scriptable", "exportable", "no_jit")


def timm_model(name: str, weights: Path | None, classes: int | None) -> LoadedModel:
    """The model of this name.

    Raises:
        QvitError: as ``model_source.load_model``.
    """
    timm = _timm(f"timm:{name}")
    if not timm.is_model(name):
        names = timm.list_models()
        listed = f"; timm.list_models() gives the names of all {len(names):,}"
        raise QvitError(unknown_name(f"timm has no model {name}", name, names, listed))
    if weights is None:
        raise QvitError(no_weights(f"timm:{name}"))
    tensors = read_weights(weights)
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    model: nn.Module = timm.create_model(name, pretrained=False, **options)
    return _loaded(model, tensors, weights, f"timm:{name}", name.partition(".")[0], {})


def timm_folder(
    folder: Path, config: Mapping[str, Any], weights: Path | None, classes: int | None
) -> LoadedModel:
    """The model that a folder's ``config.json`` describes as timm does: ``architecture`` and ``model_args``.

    Raises:
        QvitError: as ``model_source.load_model``; the configuration is none.
    """
    timm = _timm(str(folder))
    path, name = folder / "config.json", config["architecture"]
    if not isinstance(name, str) or not timm.is_model(name):
        raise QvitError(unknown_name(f"{path}: timm has no model {name}", str(name), timm.list_models()))
    arguments = config.get("model_args", {})
    if not isinstance(arguments, dict):
        raise QvitError(f"{path}: model_args should be arguments by name.")
    refused = [key for key in arguments if key in _NOT_ARGUMENTS or key.startswith("pretrained")]
    if refused:
        raise QvitError(f"{path}: model_args has {key}, which is no argument of a model." for key in refused)
    beside = folder / "model.safetensors"
    weights = beside if weights is None and beside.is_file() else weights
    if weights is None:
        raise QvitError(no_weights(str(folder)))
    tensors = read_weights(weights)
    options = {key: config[key] for key in ("num_classes", "global_pool") if key in config} | arguments
    if classes is not None:
        options["num_classes"] = classes
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **options)
    except Exception as error:  # models refuse arguments in many ways
        reason = " ".join(str(error).split())
        raise QvitError(f"{path} does not describe a model of timm: {reason}") from error
    published = {**config.get("pretrained_cfg", {})}
    if "img_size" in arguments or "in_chans" in arguments:
        published["input_size"] = _input_size(model, arguments)
    return _loaded(model, tensors, weights, str(folder), folder.name, published)


def _input_size(model: nn.Module, arguments: Mapping[str, Any]) -> tuple[int, int, int]:
    """Channels, height and width of the images that a model with these arguments takes."""
    default: Any = getattr(model, "pretrained_cfg", {})
    channels, height, width = default["input_size"]
    size = arguments.get("img_size", (height, width))
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(arguments.get("in_chans", channels)), int(height), int(width)


def _loaded(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    weights: Path,
    source: str,
    name: str,
    published: Mapping[str, Any],
) -> LoadedModel:
    """``model`` with its weights; what is published about its images, by a folder or by timm."""
    problems = list(tensor_problems(tensors, model.state_dict()))
    raise_if_any(problems, f"The weights {weights} do not fit {source}.")
    model.load_state_dict(tensors)
    known: dict[str, Any] = {**getattr(model, "pretrained_cfg", {}), **published}
    channels, height, width = (int(size) for size in known["input_size"])
    normalisation = (of_channels(known.get(key), channels) for key in ("mean", "std"))
    count = int(getattr(model, "num_classes", 0))
    if count == 0:
        raise QvitError(
            f"{source} has no classifier; say how many classes its weights are for (--classes), or name a "
            "model with one."
        )
    return LoadedModel(model.eval(), (channels, height, width), count, name, *normalisation)


def _timm(model: str) -> ModuleType:
    """The library."""
    declare_missing_operators()
    try:
        import timm
    except ImportError:
        raise QvitError(not_installed("timm", model)) from None
    except RuntimeError as error:  # torchvision's, where its compiled part is of another build than torch
        raise QvitError(
            f"timm cannot be imported ({error}); torchvision has to be the build made for this torch."
        ) from error
    library: ModuleType = timm
    return library
