"""Checkpoints of a run: written in one step, read without running anything in them, checked completely."""

from __future__ import annotations

import os
import re
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qvit_hls.errors import QvitError
from qvit_hls.nets.tensor_problems import tensor_problems
from qvit_hls.train.settings import TrainingConfig, changed_settings, parse_training

FORMAT = "qvit-hls training"
VERSION = 1

_NAME = re.compile(r"step_(\d{8,})\.pt")
#: Where a checkpoint is written before it gets its name; what a killed run leaves is overwritten.
_UNFINISHED = ".unfinished.pt"


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on as if it had never stopped.

    Attributes:
        config: settings of the run.
        structure: what is trained: ``{"space": ...}`` of a supernet or ``{"network": ...}`` of a network.
        samples: images of the training data.
        step: steps done.
        tensors: the model's state.
        groups: of the optimizer, as ``ParameterGroup.to_json`` has them.
        optimizer: its state.
        average: moving average of the parameters by name; empty without one.
        average_updates: how often it was updated.
        scaler: state of the gradient scaler; empty unless in float16.
    """

    config: dict[str, Any]
    structure: dict[str, Any]
    samples: int
    step: int
    tensors: dict[str, Tensor]
    groups: list[dict[str, Any]]
    optimizer: dict[str, Any]
    average: dict[str, Tensor]
    average_updates: int
    scaler: dict[str, Any]

    def check(
        self, path: Path, config: TrainingConfig, structure: dict[str, Any], samples: int, model: nn.Module
    ) -> None:
        """Whether a run can go on from here.

        Args:
            path: the checkpoint's file, for messages.
            config, structure, samples: of the run.
            model: of the run.

        Raises:
            QvitError: everything in which the run differs from the checkpoint's.
        """
        problems = changed_settings(parse_training(self.config, f"{path}: config"), config)
        if self.structure != structure:
            problems.append("what is trained has changed: the search space or the network is another one.")
        elif self.samples != samples:
            problems.append(f"the training data had {self.samples} images and has {samples}.")
        problems = [f"{path}: {problem}" for problem in problems]
        if self.structure == structure:
            problems += [
                f"{path}: {problem}" for problem in tensor_problems(self.tensors, model.state_dict())
            ]
            if self.average:
                parameters = dict(model.named_parameters())
                problems += [f"{path}: average: {p}" for p in tensor_problems(self.average, parameters)]
        if problems:
            raise QvitError(problems)


# ---------------------------------------------------------------- the folder


def checkpoint_paths(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the oldest first; none where there is no such folder."""
    if not folder.is_dir():
        return []
    found = {int(match[1]): path for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))}
    return [found[step] for step in sorted(found)]


def save_checkpoint(checkpoint: Checkpoint, folder: Path, keep: int) -> Path:
    """Write a checkpoint into ``folder``, and delete all but the newest ``keep``.

    Raises:
        OSError: it cannot be written; those before it are still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / _UNFINISHED
    path = folder / f"step_{checkpoint.step:08d}.pt"
    content = {field.name: getattr(checkpoint, field.name) for field in fields(Checkpoint)}
    with unfinished.open("wb") as file:
        torch.save({"format": FORMAT, "version": VERSION, **content}, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    for old in checkpoint_paths(folder)[:-keep]:
        old.unlink()
    return path


def set_newer_aside(folder: Path, step: int) -> None:
    """Rename the checkpoints of more than ``step`` steps, so that a run goes on from that step for good.

    Raises:
        OSError: one cannot be renamed.
    """
    for path in checkpoint_paths(folder):
        if int(path.stem.removeprefix("step_")) > step:
            path.replace(path.with_name(f"{path.name}.aside"))


def newest_checkpoint(folder: Path) -> tuple[Path, Checkpoint] | None:
    """The newest checkpoint in ``folder``, or None where there is none.

    Raises:
        QvitError: it cannot be read. An older one is not taken instead, since the run would silently lose
            steps; the message names the newest that can be read.
    """
    paths = checkpoint_paths(folder)
    if not paths:
        return None
    try:
        return paths[-1], load_checkpoint(paths[-1])
    except QvitError as error:
        advice = f"No other checkpoint in {folder} can be read."
        for path in reversed(paths[:-1]):
            try:
                load_checkpoint(path)
            except QvitError:
                continue
            advice = f"The newest good checkpoint is {path}; continue from it with --resume-from {path}"
            break
        raise QvitError([*error.problems, advice]) from None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; its tensors are on the CPU.

    Raises:
        QvitError: there is no such file, it is damaged, or it is no checkpoint of a run.
    """
    damaged = f"{path} is not a checkpoint of a training run, or it is truncated or damaged."
    try:
        # torch does not look at checksums.
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise QvitError(damaged)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise QvitError(f"There is no checkpoint {path}.") from None
    except QvitError:
        raise
    except Exception:  # whatever a damaged archive or pickle makes the readers stumble over
        raise QvitError(damaged) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise QvitError(f"{path} is a torch file but not a checkpoint of a training run.")
    if content.get("version") != VERSION:
        raise QvitError(
            f"{path} has checkpoint version {content.get('version')!r:.40}; this program reads {VERSION}."
        )
    del content["format"], content["version"]
    kinds = {"samples": int, "step": int, "average_updates": int, "groups": list}
    problems = []
    for field in fields(Checkpoint):
        kind = kinds.get(field.name, dict)
        if not isinstance(content.get(field.name), kind):
            problems.append(f"{path}: entry {field.name} is missing or is no {kind.__name__}.")
    names = {field.name for field in fields(Checkpoint)}
    problems += [f"{path}: entry {name!s:.60} is not known." for name in content if name not in names]
    if problems:
        raise QvitError(problems)
    return Checkpoint(**content)
