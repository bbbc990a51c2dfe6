"""Image classifiers of Hugging Face transformers, from a folder or from its local cache."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

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


def cached_folder(name: str) -> Path:
    """The folder in Hugging Face's local cache that holds a model's ``config.json``."""
    try:
        from huggingface_hub import scan_cache_dir, try_to_load_from_cache
        from huggingface_hub.errors import CacheNotFound, HFValidationError
    except ImportError:
        raise QvitError(not_installed("transformers", f"hf:{name}")) from None
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
    raise QvitError(unknown_name(message, name, known))


def transformers_model(folder: Path, weights: Path | None) -> LoadedModel:
    """The model that a folder's ``config.json`` describes.

    Raises:
        QvitError: as ``model_source.load_model``.
    """
    declare_missing_operators()
    try:
        import transformers
    except ImportError:
        raise QvitError(not_installed("transformers", str(folder))) from None
    beside = folder / "model.safetensors"
    if weights is None and beside.is_file():
        weights = beside
    if weights is None:
        raise QvitError(no_weights(str(folder)))
    tensors = read_weights(weights)
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
    raise_if_any(list(_report_problems(report)), f"The weights {weights} do not fit {folder}.")
    size = config.image_size
    height, width = size if isinstance(size, list | tuple) else (size, size)
    shape = (int(config.num_channels), int(height), int(width))
    prepared = _preprocessor(folder / "preprocessor_config.json")
    normalisation = (of_channels(prepared.get(key), shape[0]) for key in ("image_mean", "image_std"))
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
