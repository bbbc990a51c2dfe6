"""The training engine: phases, steps, checkpoints and measurements, for whatever objective is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qvit_hls.errors import QvitError
from qvit_hls.train.averaging import ParameterAverage
from qvit_hls.train.checkpoint import Checkpoint, save_checkpoint
from qvit_hls.train.evaluation import Accuracy, accuracies
from qvit_hls.train.loader import Batch, calibration_batch, training_batches
from qvit_hls.train.metrics import Metrics
from qvit_hls.train.mixing import mix, soft_targets
from qvit_hls.train.objective import Objective
from qvit_hls.train.optimizer import ParameterGroup, adamw, learning_rate, parameter_groups, set_learning_rate
from qvit_hls.train.pictures import Preparation
from qvit_hls.train.processes import Processes
from qvit_hls.train.progress import Update
from qvit_hls.train.randomness import generator
from qvit_hls.train.settings import Phase, TrainingConfig
from qvit_hls.train.sources import Source

CHECKPOINTS = "checkpoints"
#: What to do where a run has diverged.
_ADVICE = "Begin again with a lower learning rate or a longer warm-up."


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its checkpoints and measurements.

    Attributes:
        path: the folder.
        structure: what is trained, as ``Checkpoint.structure``.
    """

    path: Path
    structure: dict[str, Any]


class Trainer:
    """One run.

    Args:
        objective: what is trained; its model is moved to the device, and changed in place.
        config: settings of the run.
        source: training images.
        preparation: from pictures to inputs.
        processes: this process and the others.
        folder: where to keep checkpoints and measurements; None keeps none.
        validation: images to measure accuracies on; None for none.
        progress: called after steps.
    """

    def __init__(
        self,
        objective: Objective,
        config: TrainingConfig,
        source: Source,
        preparation: Preparation,
        processes: Processes,
        *,
        folder: RunFolder | None = None,
        validation: Source | None = None,
        progress: Update = lambda phase, done, total, loss: None,
    ) -> None:
        self._objective = objective
        self._config = config
        self._source = source
        self._preparation = preparation
        self._processes = processes
        self._folder = folder
        self._validation = validation
        self._progress = progress
        self._device = processes.device
        self._model: nn.Module = objective.model.to(self._device)
        self._parameters = list(self._model.parameters())
        self._average = ParameterAverage(self._model, config.ema_decay) if config.ema_decay else None
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=config.precision == "float16")
        self._groups: list[ParameterGroup] = []
        self._optimizer: torch.optim.Optimizer | None = None
        self._metrics: Metrics | None = None

    def train(self, resumed: Checkpoint | None = None) -> None:
        """Train to the end of the run; then the model has its averaged parameters, if there is an average.

        Args:
            resumed: where to go on; it has been checked against this run.

        Raises:
            QvitError: an image cannot be read, the batch cannot be divided, or the run has diverged: the loss
                or a tensor of the model is not finite. No such model becomes a checkpoint.
        """
        step = 0 if resumed is None else resumed.step
        with ExitStack() as stack:
            if self._folder is not None and self._processes.main:
                self._metrics = stack.enter_context(Metrics(self._folder.path, step))
            if resumed is None:
                self._processes.share_state(self._model)
                self._save(0)
            else:
                self._restore(resumed)
            self._model.train()
            for phase in self._config.phases():
                if step >= phase.end:
                    # Of the last phase this holds only where a finished run is resumed.
                    self._objective.set_quantization(phase.quantized)
                    continue
                if step == phase.start:
                    self._begin(phase)
                else:
                    self._go_on(phase, resumed)
                self._run(phase, step)
                step = phase.end
        if self._average is not None:
            self._average.adopt()
            self._objective.constrain()
            self._average = None
        self._model.eval()

    # ------------------------------------------------------------ phases

    def _begin(self, phase: Phase) -> None:
        if self._average is not None and phase.start:
            self._average.adopt()  # the better network of the two
        if phase.quantized:
            images = calibration_batch(self._source, self._preparation, self._config).images
            self._objective.calibrate(images.to(self._device))
            self._processes.share_state(self._model)
        else:
            self._objective.set_quantization(False)
        self._check_finite(phase.start)
        if self._average is not None:
            self._average = ParameterAverage(self._model, self._config.ema_decay)
        self._groups = parameter_groups(self._model)
        self._optimizer = adamw(self._model, self._groups, self._config.weight_decay)

    def _go_on(self, phase: Phase, resumed: Checkpoint | None) -> None:
        assert resumed is not None
        self._objective.set_quantization(phase.quantized)
        self._groups = [ParameterGroup(**{**g, "names": tuple(g["names"])}) for g in resumed.groups]
        self._optimizer = adamw(self._model, self._groups, self._config.weight_decay)
        self._optimizer.load_state_dict(resumed.optimizer)

    def _run(self, phase: Phase, start: int) -> None:
        config = self._config
        name = "quantized" if phase.quantized else "float"
        batches = training_batches(
            self._source, self._preparation, config, range(start, phase.end), self._processes.part
        )
        logged, since = start, time.perf_counter()
        for step in range(start, phase.end):
            losses, norm = self._step(batches, phase, step)
            done = step + 1
            last = done == config.steps
            if phase.quantized:
                self._objective.constrain()
                if done % config.order_rows_every == 0:
                    self._objective.order_rows()
            if self._average is not None:
                self._average.update()
            if done % config.log_every == 0 or last:
                values = self._mean_losses(losses, done)
                elapsed = time.perf_counter() - since
                values |= {
                    "learning_rate": learning_rate(phase, step),
                    "gradient_norm": float(norm),
                    "images_per_second": (done - logged) * config.batch_size / elapsed,
                }
                self._record(done, values)
                self._progress(name, done, config.steps, values["loss"])
                logged, since = done, time.perf_counter()
            if last or (config.validate_every is not None and done % config.validate_every == 0):
                self._validate(done)
            if done % config.checkpoint_every == 0 or last:
                self._save(done)

    # ------------------------------------------------------------ one step

    def _step(self, batches: Iterator[Batch], phase: Phase, step: int) -> tuple[dict[str, Tensor], Tensor]:
        """One update; returns the losses of this process by name, and the norm of all gradients."""
        config = self._config
        optimizer = self._optimizer
        assert optimizer is not None
        optimizer.zero_grad()
        losses: dict[str, Tensor] = {}
        for _ in range(config.accumulation):
            batch = next(batches).to(self._device)
            targets = soft_targets(batch.labels, self._objective.input.classes, config.label_smoothing)
            images = batch.images
            if config.augmentation.mixing is not None:
                drawn = generator(config.seed, "mixing", step)
                images, targets = mix(images, targets, config.augmentation.mixing, drawn)
            for loss in self._objective.losses(images, targets, step, self._autocast):
                self._scaler.scale(loss.value * (loss.weight / config.accumulation)).backward()
                for name, share in ((loss.name, 1.0), ("loss", loss.weight)):
                    value = loss.value.detach() * (share / config.accumulation)
                    losses[name] = losses[name] + value if name in losses else value
        self._processes.average_gradients(self._parameters)
        self._scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, config.max_gradient_norm)
        set_learning_rate(optimizer, learning_rate(phase, step))
        self._scaler.step(optimizer)
        self._scaler.update()
        return losses, norm

    def _autocast(self) -> AbstractContextManager[object]:
        if self._config.precision == "float32":
            return nullcontext()
        return torch.autocast(self._device.type, getattr(torch, self._config.precision))

    # ------------------------------------------------------------ measurements

    def _mean_losses(self, losses: dict[str, Tensor], step: int) -> dict[str, float]:
        total = self._processes.total(torch.stack(list(losses.values()))) / self._processes.part.count
        values = dict(zip(losses, total.tolist(), strict=True))
        if not math.isfinite(values["loss"]):
            raise QvitError(
                f"The loss is {values['loss']} after {step} steps; it should be finite. {_ADVICE}"
            )
        return values

    def _check_finite(self, step: int) -> None:
        # Every process looks, and all see the same. Losses do not tell: not all are looked at, and the last
        # one may be finite where its update is not.
        tensors = self._model.state_dict()
        if bad := [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]:
            raise QvitError(
                f"{len(bad)} of {len(tensors)} tensors have NaN or infinite values after {step} steps, the "
                f"first is {bad[0]}; all should be finite. {_ADVICE}"
            )

    def _validate(self, step: int) -> None:
        found = self.accuracies()
        self._record(step, {f"accuracy_{name}": accuracy.share for name, accuracy in found.items()})

    def accuracies(self) -> dict[str, Accuracy]:
        """Accuracies on the validation images; of the averaged parameters, where there is an average. Empty
        without such images."""
        if self._validation is None:
            return {}
        averaged = nullcontext() if self._average is None else self._average.applied()
        was_training = self._model.training
        self._model.eval()
        with averaged:
            found = accuracies(
                self._objective.networks(),
                self._validation,
                self._preparation,
                self._processes,
                workers=self._config.loader_workers,
            )
        self._model.train(was_training)
        return found

    def _record(self, step: int, values: dict[str, float]) -> None:
        if self._metrics is not None and values:
            self._metrics.record(step, values)

    # ------------------------------------------------------------ checkpoints

    def _save(self, step: int) -> None:
        self._check_finite(step)
        if self._folder is None:
            return
        if self._processes.main:
            checkpoint = Checkpoint(
                config=self._config.model_dump(mode="json"),
                structure=self._folder.structure,
                samples=len(self._source),
                step=step,
                tensors=self._model.state_dict(),
                groups=[group.to_json() for group in self._groups],
                optimizer={} if self._optimizer is None else self._optimizer.state_dict(),
                average={} if self._average is None else self._average.values,
                average_updates=0 if self._average is None else self._average.updates,
                scaler=self._scaler.state_dict(),
            )
            save_checkpoint(checkpoint, self._folder.path / CHECKPOINTS, self._config.keep_checkpoints)
        self._processes.wait()

    def _restore(self, checkpoint: Checkpoint) -> None:
        self._model.load_state_dict(checkpoint.tensors)
        if self._average is not None:
            self._average.restore(checkpoint.average, checkpoint.average_updates)
        self._scaler.load_state_dict(checkpoint.scaler)
