"""Float models of timm and of Hugging Face transformers, with weights from a local safetensors file.

Nothing is downloaded and nothing is unpickled: timm and transformers give the architecture, the file the
tensors, and the two must agree in every name and shape.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from qvit_hls.errors import QvitError
from qvit_hls.nets.tensor_problems import tensor_problems

#: Problems with tensors that are spelt out; the others are counted.
_LISTED = 10
_FORMS = "timm:NAME, hf:NAME, or a folder with a config.json of transformers"


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A float model and what is needed to trace it.

    Attributes:
        module: in evaluation mode, float32, on the CPU.
        image_shape: ``[channels, height, width]`` of its input.
        classes: number of its outputs.
        name: short name for graphs and reports.
        mean, std: of each channel, that pixels from 0 to 1 are normalised with; None where nothing says so.
    """

    module: nn.Module
    image_shape: tuple[int, int, int]
    classes: int
    name: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def example(self) -> Tensor:
        """An input of zeros, ``[1, channels, height, width]``."""
        return torch.zeros(1, *self.image_shape)


def load_model(source: str, weights: Path | None = None, classes: int | None = None) -> LoadedModel:
    """The model that ``source`` names.

    Args:
        source: ``timm:NAME``; ``hf:NAME`` for a model in Hugging Face's local cache; or a folder (with or
            without ``hf:`` before it) with the ``config.json`` of an image classifier of transformers.
        weights: safetensors file with all of the model's tensors; of any floating-point type. May be left
            out where a ``model.safetensors`` lies beside the ``config.json``.
        classes: number of classes of a timm model, where it is not the one it was published with.

    Raises:
        QvitError: the library is not installed, the name is unknown, there are no weights, or they do not
            fit; every tensor that is missing, superfluous or of another shape, up to ten.
    """
    library, colon, name = source.partition(":")
    if Path(source).is_dir():
        return _of_transformers(Path(source), weights)
    if library == "timm" and name:
        return _of_timm(name, weights, classes)
    if library == "hf" and name:
        folder = Path(name)
        return _of_transformers(folder if folder.is_dir() else _cached(name), weights)
    if not colon:
        raise QvitError(f"There is no folder {source}; a model is {_FORMS}.")
    raise QvitError(f"The model {source} cannot be found; a model is {_FORMS}.")


# ---------------------------------------------------------------- timm


def _of_timm(name: str, weights: Path | None, classes: int | None) -> LoadedModel:
    try:
        import timm
    except ImportError:
        raise QvitError(_not_installed("timm", f"timm:{name}")) from None
    except RuntimeError as error:  # torchvision's, where its compiled part is of another build than torch
        raise QvitError(
            f"timm cannot be imported ({error}); torchvision has to be the build made for this torch."
        ) from error
    if not timm.is_model(name):
        names = timm.list_models()
        listed = f"; timm.list_models() gives the names of all {len(names):,}"
        raise QvitError(_unknown(f"timm has no model {name}", name, names, listed))
    if weights is None:
        raise QvitError(_no_weights(f"timm:{name}"))
    tensors = _read(weights)
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    model: nn.Module = timm.create_model(name, pretrained=False, **options)
    problems = tensor_problems(tensors, model.state_dict())
    _raise_if_any(list(problems), f"The weights {weights} do not fit timm:{name}.")
    model.load_state_dict(tensors)
    published: Any = getattr(model, "pretrained_cfg", {})
    channels, height, width = (int(size) for size in published["input_size"])
    count = int(getattr(model, "num_classes", 0))
    normalisation = (_of_channels(published.get(key), channels) for key in ("mean", "std"))
    shape = channels, height, width
    return LoadedModel(model.eval(), shape, count, name.partition(".")[0], *normalisation)


def _of_channels(values: Any, channels: int) -> tuple[float, ...] | None:
    """A number for each channel, if that is what it is."""
    if not isinstance(values, list | tuple) or len(values) != channels:
        return None
    return tuple(float(value) for value in values)


# ---------------------------------------------------------------- transformers


def _cached(name: str) -> Path:
    """The folder in Hugging Face's local cache that holds a model's ``config.json``."""
    try:
        from huggingface_hub import scan_cache_dir, try_to_load_from_cache
        from huggingface_hub.errors import CacheNotFound, HFValidationError
    except ImportError:
        raise QvitError(_not_installed("transformers", f"hf:{name}")) from None
    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        found = None
    if isinstance(found, str):
        return Path(found).parent
    try:
        known = [repository.repo_id for repository in scan_cache_dir().repos]
    except CacheNotFound:
        known = []
    message = (
        f"hf:{name} is neither a folder nor in Hugging Face's local cache, and nothing is downloaded; "
        "give a folder with its config.json"
    )
    raise QvitError(_unknown(message, name, known))


def _of_transformers(folder: Path, weights: Path | None) -> LoadedModel:
    try:
        import transformers
    except ImportError:
        raise QvitError(_not_installed("transformers", str(folder))) from None
    if not (folder / "config.json").is_file():
        raise QvitError(f"The folder {folder} has no config.json; a model is {_FORMS}.")
    beside = folder / "model.safetensors"
    if weights is None and beside.is_file():
        weights = beside
    if weights is None:
        raise QvitError(_no_weights(str(folder)))
    tensors = _read(weights)
    with _quiet(transformers):
        try:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            with torch.device("meta"):
                kind = type(transformers.AutoModelForImageClassification.from_config(config))
        except Exception as error:  # transformers has many ways to refuse a configuration
            reason = " ".join(str(error).split())
            raise QvitError(
                f"{folder / 'config.json'} does not describe an image classifier of transformers: {reason}"
            ) from error
        # It translates the names of older files, which loading a state dictionary would not.
        model, report = kind.from_pretrained(
            None,
            config=config,
            state_dict=dict(tensors),
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    _raise_if_any(list(_report_problems(report)), f"The weights {weights} do not fit {folder}.")
    size = config.image_size
    height, width = size if isinstance(size, list | tuple) else (size, size)
    shape = (int(config.num_channels), int(height), int(width))
    prepared = _preprocessor(folder / "preprocessor_config.json")
    normalisation = (_of_channels(prepared.get(key), shape[0]) for key in ("image_mean", "image_std"))
    return LoadedModel(model.eval(), shape, int(config.num_labels), folder.name, *normalisation)


def _preprocessor(path: Path) -> Mapping[str, Any]:
    """What transformers keeps beside a model about its images; empty where there is nothing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _report_problems(report: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(report["missing_keys"]):
        yield f"Tensor {name} is missing."
    for name, got, wanted in sorted(report["mismatched_keys"]):
        yield f"Tensor {name} has shape {list(got)}; it should be {list(wanted)}."
    for name in sorted(report["unexpected_keys"]):
        yield f"Tensor {name} does not belong to the model that the configuration describes."
    yield from report["error_msgs"]


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without transformers' progress bars and reports; problems are raised."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()


# ---------------------------------------------------------------- files and messages


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, floating-point ones as float32."""
    if not path.is_file():
        raise QvitError(f"There is no weights file {path}.")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise QvitError(
            f"{path} is not a safetensors file, or it is damaged ({error}); other formats may contain code "
            "and are not read."
        ) from None
    problems = [
        f"Tensor {name} has NaN or infinite values; all should be finite."
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    _raise_if_any(problems, f"The weights {path} cannot be used.")
    return {n: t.to(torch.float32) if t.is_floating_point() else t for n, t in tensors.items()}


def _raise_if_any(problems: list[str], heading: str) -> None:
    if not problems:
        return
    listed = problems[:_LISTED]
    if len(problems) > _LISTED:
        listed.append(f"And {len(problems) - _LISTED} more tensors are wrong.")
    raise QvitError([heading, *listed])


def _unknown(message: str, name: str, known: list[str], otherwise: str = "") -> str:
    """With the nearest of the names that are known; where none is near, with ``otherwise``."""
    near = difflib.get_close_matches(name, known, n=3)
    return f"{message}. Nearest names: {', '.join(near)}." if near else f"{message}{otherwise}."


def _no_weights(model: str) -> str:
    return (
        f"{model} has no weights, and nothing is downloaded; name a safetensors file with all of its tensors "
        "(--weights)."
    )


def _not_installed(package: str, model: str) -> str:
    return f"The model {model} needs the package {package}; install it with: pip install 'qvit-hls[models]'"
