"""The verb ``train``: from a search space or a model, and images, to a trained supernet or model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from qvit_hls.errors import QvitError
from qvit_hls.flow.output import write_file, write_json
from qvit_hls.nets.checkpoint import load_model, save_model
from qvit_hls.nets.config import VitConfig
from qvit_hls.nets.space import SearchSpace, load_space, space_of
from qvit_hls.nets.supernet import Supernet
from qvit_hls.nets.supernet_file import save_supernet
from qvit_hls.nets.vit import QuantVisionTransformer
from qvit_hls.train.checkpoint import (
    Checkpoint,
    checkpoint_paths,
    load_checkpoint,
    newest_checkpoint,
    set_newer_aside,
)
from qvit_hls.train.loader import images_at_once
from qvit_hls.train.objective import NetworkObjective, Objective, SupernetObjective
from qvit_hls.train.pictures import Preparation
from qvit_hls.train.processes import Processes
from qvit_hls.train.progress import Update
from qvit_hls.train.randomness import generator
from qvit_hls.train.settings import TrainingConfig, parse_training, read_settings
from qvit_hls.train.sources import Source, open_source
from qvit_hls.train.teacher import PretrainedTeacher
from qvit_hls.train.trainer import CHECKPOINTS, RunFolder, Trainer

#: Precisions as accelerate's launcher calls them.
_LAUNCHED = {"bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class Trained:
    """What a run has made.

    Attributes:
        path: the supernet's or the model's file.
        steps: of the run.
        accuracies: top-1 on the validation images by network, 0 to 1; empty without such images.
    """

    path: Path
    steps: int
    accuracies: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"file": self.path.name, "steps": self.steps, "accuracies": self.accuracies}


@dataclass(frozen=True)
class Resume:
    """Where to go on.

    Attributes:
        checkpoint: a file; None for the newest checkpoint of the run.
    """

    checkpoint: Path | None = None


def train(
    what: str,
    data: str,
    out: Path,
    *,
    validation: str | None = None,
    settings: Path | None = None,
    changes: Mapping[str, object] | None = None,
    resume: Resume | None = None,
    cpu: bool = False,
    progress: Update = lambda phase, done, total, loss: None,
) -> Trained | None:
    """Train a supernet, or a model, and write it with its checkpoints and measurements into a folder.

    Args:
        what: a search space, by name or as a .yaml file; or a model file, whose rows and steps are kept and
            tuned, unless the settings begin in float.
        data: training images, as ``open_source`` takes them.
        out: the run's folder.
        validation: images to measure accuracies on.
        settings: YAML file of a TrainingConfig.
        changes: settings that replace the file's.
        resume: go on with the run in ``out``.
        cpu: compute on the CPU even where there is an accelerator.
        progress: called after steps.

    Returns:
        What was made; None in all but the main process.

    Raises:
        QvitError: everything that is wrong with settings, data or checkpoints; nothing has then been written.
        OSError: a file cannot be written.
    """
    model = load_model(what) if what.endswith(".pt") else None
    config = _config(settings, dict(changes or {}), fine_tuning=model is not None)
    processes = Processes(cpu)
    images_at_once(config, processes.part.count)
    network = load_space(what) if model is None else model.config
    source, validation_source, preparation = _data(network, config, data, validation)
    if isinstance(network, SearchSpace) and (config.mean or not isinstance(source.item(0)[0], np.ndarray)):
        network = _with_normalisation(network, preparation)
    objective = _objective(network, model, config, processes)
    structure = _structure(objective)
    checkpoint = _checkpoint(out, resume, config, structure, len(source), objective)
    # No process writes before all have looked.
    processes.wait()
    if processes.main:
        if checkpoint is not None:
            set_newer_aside(out / CHECKPOINTS, checkpoint.step)
        fields = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        write_file(out / "settings.yaml", fields.encode())
    trainer = Trainer(
        objective,
        config,
        source,
        preparation,
        processes,
        folder=RunFolder(out, structure),
        validation=validation_source,
        progress=progress if processes.main else lambda phase, done, total, loss: None,
    )
    trainer.train(checkpoint)
    found = {name: accuracy.share for name, accuracy in trainer.accuracies().items()}
    if not processes.main:
        return None
    trained = Trained(out / _save(objective, out), config.steps, found)
    write_json(out / "result.json", trained.to_json())
    return trained


def _config(settings: Path | None, changes: dict[str, object], *, fine_tuning: bool) -> TrainingConfig:
    fields = read_settings(settings) if settings is not None else {}
    if fine_tuning:
        fields = {"float_share": 0.0, **fields}
    config = parse_training({**fields, **changes}, "training")
    if not any(phase.quantized for phase in config.phases()):
        raise QvitError(
            f"training.float_share is {config.float_share:g}, which leaves no steps with quantization; "
            "it should be less."
        )
    launched = _LAUNCHED.get(os.environ.get("ACCELERATE_MIXED_PRECISION", "no"))
    if launched is not None and launched != config.precision:
        raise QvitError(
            f"The processes were launched for {launched}, and the settings say {config.precision}; "
            f"say precision: {launched} in the settings, or launch with --mixed_precision no."
        )
    return config


def _data(
    network: SearchSpace | VitConfig, config: TrainingConfig, data: str, validation: str | None
) -> tuple[Source, Source | None, Preparation]:
    """Images for training and validation, checked on the first of each."""
    shape = network.config(network.largest()) if isinstance(network, SearchSpace) else network
    problems = list(_normalisation_problems(shape, config, "training"))
    sources: list[Source | None] = [None, None]
    for i, name in enumerate((data, validation)):
        if name is not None:
            try:
                sources[i] = open_source(name, shape.classes)
            except QvitError as error:
                problems += error.problems
    source, validation_source = sources
    if problems or source is None:
        raise QvitError(problems)
    validations = [] if validation_source is None else [validation_source]
    return source, validation_source, checked_preparation(shape, config, source, validations)


def checked_preparation(
    shape: VitConfig,
    config: TrainingConfig,
    source: Source,
    validations: Sequence[Source] = (),
    origin: str = "training",
) -> Preparation:
    """How a run prepares its images; tried on the first one of each source.

    Args:
        shape: what the network takes.
        source: training images.
        validations: images that are not augmented.
        origin: what the settings belong to, for messages.

    Raises:
        QvitError: settings or images that the network cannot take; every problem found.
    """
    if problems := list(_normalisation_problems(shape, config, origin)):
        raise QvitError(problems)
    mean, std = _normalisation(shape, config)
    preparation = Preparation(shape.image_size, shape.channels, mean, std)
    for place, images in enumerate((source, *validations)):
        try:
            picture, _ = images.item(0)
            if place == 0:
                preparation.training([picture], config.augmentation, [generator(config.seed, "check")])
            else:
                preparation.validation(picture)
        except QvitError as error:
            problems += [f"{images.origin}: {problem}" for problem in error.problems]
    if problems:
        raise QvitError(problems)
    return preparation


def _normalisation(shape: VitConfig, config: TrainingConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of pixels: the settings', or the network's, or 0.5."""
    grey = (0.5,) * shape.channels
    return config.mean or shape.mean or grey, config.std or shape.std or grey


def _normalisation_problems(shape: VitConfig, config: TrainingConfig, origin: str) -> Iterator[str]:
    for name, values in zip(("mean", "std"), _normalisation(shape, config), strict=True):
        if len(values) != shape.channels:
            yield (
                f"{origin}.{name} has {len(values)} values; the network has {shape.channels} channels, and "
                "there should be one for each."
            )


def _objective(
    network: SearchSpace | VitConfig,
    model: QuantVisionTransformer | None,
    config: TrainingConfig,
    processes: Processes,
) -> Objective:
    shape = network.config(network.largest()) if isinstance(network, SearchSpace) else network
    teacher = None if config.teacher is None else PretrainedTeacher(config.teacher, shape, processes.device)
    if model is not None:
        return NetworkObjective(model, config, teacher, calibrated=True)
    assert isinstance(network, SearchSpace)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        supernet = Supernet(network)
    return SupernetObjective(supernet, config, teacher)


def _with_normalisation(space: SearchSpace, preparation: Preparation) -> SearchSpace:
    """The same space, whose networks say how their images were normalised."""
    fields = space.model_dump(mode="json")
    fields["network"] |= {"mean": list(preparation.mean), "std": list(preparation.std)}
    return space_of(fields, space.name)


def _structure(objective: Objective) -> dict[str, Any]:
    if isinstance(objective.model, Supernet):
        return {"space": objective.model.space.model_dump(mode="json")}
    return {"network": objective.input.model_dump(mode="json")}


def _checkpoint(
    out: Path,
    resume: Resume | None,
    config: TrainingConfig,
    structure: dict[str, Any],
    samples: int,
    objective: Objective,
) -> Checkpoint | None:
    """Where the run goes on, checked against it; None where it begins."""
    folder = out / CHECKPOINTS
    if resume is None:
        if paths := checkpoint_paths(folder):
            raise QvitError(
                f"{out} holds a run already, with the checkpoint {paths[-1].name}. Go on with it by "
                "--resume, or choose another folder with -o."
            )
        return None
    if resume.checkpoint is not None:
        found = resume.checkpoint, load_checkpoint(resume.checkpoint)
    else:
        newest = newest_checkpoint(folder)
        if newest is None:
            raise QvitError(f"There is no run in {out} to resume; begin one without --resume.")
        found = newest
    path, checkpoint = found
    checkpoint.check(path, config, structure, samples, objective.model)
    return checkpoint


def _save(objective: Objective, out: Path) -> str:
    if isinstance(objective.model, Supernet):
        save_supernet(objective.model, out / "supernet.pt")
        return "supernet.pt"
    assert isinstance(objective.model, QuantVisionTransformer)
    save_model(objective.model, out / "model.pt")
    return "model.pt"
