"""Everything that says what a training run does: YAML, validated completely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from qvit_hls.errors import QvitError
from qvit_hls.nets.setting_errors import sentences

Count = Annotated[int, Field(strict=True, ge=1)]
CountOrNone = Annotated[int, Field(strict=True, ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
#: Larger ones overflow in the optimizer.
LearningRate = Annotated[float, Field(gt=0, le=1e6)]
#: What PyTorch's generator takes.
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**64)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Crop(_Settings):
    """A random part of the image, resized to the network's input."""

    #: Area, as a share of the image's.
    area: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.08, 1.0)
    #: Width by height.
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)

    @model_validator(mode="after")
    def _ascending(self) -> Crop:
        wrong = [name for name in ("area", "ratio") if getattr(self, name)[0] > getattr(self, name)[1]]
        if wrong:
            raise ValueError(
                "\n".join(f"{name} should be a range, the smaller limit first." for name in wrong)
            )
        return self


class RandAugment(_Settings):
    """Random operations on pixels, each in a random strength (arXiv 1909.13719; timm's variant)."""

    operations: Count = 2
    #: Mean strength, 0 to 10.
    magnitude: Annotated[float, Field(ge=0, le=10)] = 9.0
    #: Standard deviation of the strength.
    spread: Amount = 0.5
    #: With which each of the operations takes place.
    probability: Share = 0.5


class Affine(_Settings):
    """Small rotations, zooms and shifts of normalised images; for data too small or grey for RandAugment."""

    degrees: Annotated[float, Field(ge=0, le=180)] = 10.0
    #: In pixels.
    shift: Amount = 1.0
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.1


class Mixing(_Settings):
    """Mixup and cutmix. Both parameters are alpha of a beta distribution; 0 switches one off."""

    mixup: Amount = 0.8
    cutmix: Amount = 1.0
    #: Of mixing a batch at all.
    probability: Share = 1.0
    #: Of cutmix, where both are on.
    switch_probability: Share = 0.5

    @model_validator(mode="after")
    def _something(self) -> Mixing:
        if not self.mixup and not self.cutmix:
            raise ValueError("mixup and cutmix are both 0; leave mixing out instead.")
        return self


class Augmentation(_Settings):
    """What happens to training images; what is left out does not happen."""

    crop: Crop | None = None
    flip: bool = False
    rand_augment: RandAugment | None = None
    affine: Affine | None = None
    #: Probability of random erasing.
    erasing: Share = 0.0
    mixing: Mixing | None = None


#: Augmentations by name.
AUGMENTATIONS = {
    "none": Augmentation(),
    "affine": Augmentation(affine=Affine()),
    # DeiT (arXiv 2012.12877), table 9, which AutoFormer trains with as well.
    "deit": Augmentation(crop=Crop(), flip=True, rand_augment=RandAugment(), erasing=0.25, mixing=Mixing()),
}


class Phase(_Settings):
    """Steps ``start`` to ``end`` of a run, with a schedule of the learning rate of its own."""

    start: int
    end: int
    quantized: bool
    learning_rate: float
    warmup_steps: int


class TrainingConfig(_Settings):
    """A training run: first in float, then with quantization.

    A run that is resumed has the same settings; only those of ``OPERATIONAL`` may change.
    """

    seed: Seed = 0
    #: Optimizer's steps, both phases together.
    steps: Count
    #: Share of the steps in float; 0 quantizes from the first step.
    float_share: Share = 0.5
    #: Images per step, over all processes.
    batch_size: Count = 64
    #: Parts that each process cuts its share of a batch into, one after the other.
    accumulation: Count = 1
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    learning_rate: LearningRate = 1e-3
    #: Of the quantized phase; None for that of the float phase.
    quantized_learning_rate: LearningRate | None = None
    #: Of each phase.
    warmup_steps: CountOrNone = 0
    weight_decay: Amount = 0.05
    #: Gradients are scaled down to at most this norm.
    max_gradient_norm: Positive = 1.0
    #: Of the moving average of the parameters, which is what the run hands on; 0 for none.
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0

    augmentation: Augmentation = Field(default=AUGMENTATIONS["none"])
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    #: Normalisation of pixels, which are 0 to 1 before it; None for the network's, else 0.5.
    mean: tuple[float, ...] | None = None
    std: tuple[Positive, ...] | None = None
    calibration_images: Count = 256

    #: Train the largest and the smallest network of a supernet in every step.
    sandwich: bool = True
    #: Random networks of a supernet in every step.
    random_subnets: CountOrNone = 2
    #: Share of the largest network's output in what the others learn from; the rest are labels.
    distillation: Share = 1.0
    #: Steps after which a supernet finds its 8-bit rows anew.
    order_rows_every: Count = 100
    #: Another network to learn from: ``timm:NAME`` or ``hf:NAME``.
    teacher: str | None = None
    teacher_share: Share = 0.5
    teacher_temperature: Positive = 1.0

    checkpoint_every: Count = 1000
    #: Checkpoints that are kept, the newest.
    keep_checkpoints: Count = 3
    log_every: Count = 10
    #: None: only at the end.
    validate_every: Count | None = None
    #: Processes that load and augment images, for each training process; 0 loads in between.
    loader_workers: CountOrNone = 0

    @field_validator("augmentation", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value not in AUGMENTATIONS:
            raise ValueError(f"there is no {value!r:.40}; names are {', '.join(AUGMENTATIONS)}.")
        return AUGMENTATIONS[value]

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        if problems := list(self._problems()):
            raise ValueError("\n".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        for phase in self.phases():
            if phase.warmup_steps >= (length := phase.end - phase.start):
                name = "quantized" if phase.quantized else "float"
                yield (
                    f"warmup_steps is {self.warmup_steps} and the {name} phase has {length} steps; "
                    "it should have more than the warm-up."
                )
        if not self.sandwich and not self.random_subnets:
            yield "sandwich is off and random_subnets is 0; at least one network should be trained."
        if self.teacher is not None and not self.teacher.startswith(("timm:", "hf:")):
            yield f"teacher is {self.teacher!r:.60}; it should be timm:NAME or hf:NAME."
        if (self.mean is None) != (self.std is None):
            yield "mean and std belong together; give both or none."

    def phases(self) -> tuple[Phase, ...]:
        """The phases that have steps, in order."""
        turn = round(self.steps * self.float_share)
        quantized_rate = self.quantized_learning_rate or self.learning_rate
        phases = (
            Phase(start=0, end=turn, quantized=False, learning_rate=self.learning_rate,
                  warmup_steps=self.warmup_steps),
            Phase(start=turn, end=self.steps, quantized=True, learning_rate=quantized_rate,
                  warmup_steps=self.warmup_steps),
        )  # fmt: skip
        return tuple(phase for phase in phases if phase.end > phase.start)


#: Settings that change how a run is carried out and watched, not what it computes.
OPERATIONAL = frozenset(
    {"checkpoint_every", "keep_checkpoints", "log_every", "validate_every", "loader_workers"}
)


def parse_training(fields: object, origin: str) -> TrainingConfig:
    """Training settings from plain data.

    Raises:
        QvitError: every problem, its sentence beginning with ``origin``.
    """
    try:
        return TrainingConfig.model_validate(fields)
    except ValidationError as error:
        lines = [line for details in error.errors() for line in sentences(details, origin)]
        missing = f"{origin}.steps is missing"
        lines = [
            f"{missing}; say how many, such as --steps 5000." if line == f"{missing}." else line
            for line in lines
        ]
        raise QvitError(lines) from None


def read_settings(path: Path) -> dict[str, Any]:
    """Training settings as a YAML file has them, not yet checked.

    Raises:
        QvitError: there is no such file, or it is no YAML mapping.
    """
    try:
        fields = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        raise QvitError(f"There is no file {path}; it should be a YAML file of training settings.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise QvitError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise QvitError(f"{path} should be a mapping of training settings, such as 'steps: 10000'.")
    return fields


def changed_settings(before: TrainingConfig, now: TrainingConfig) -> list[str]:
    """A sentence for each setting that a resumed run has and must not have changed."""
    old, new = before.model_dump(mode="json"), now.model_dump(mode="json")
    return [
        f"{name} was {old[name]!r:.120} and is {new[name]!r:.120}; a resumed run keeps it."
        for name in old
        if name not in OPERATIONAL and old[name] != new[name]
    ]


def parse_changes(changes: Sequence[str]) -> dict[str, object]:
    """Settings from texts like ``ema_decay=0.999``, values as in YAML.

    Raises:
        QvitError: every text that is not of that form.
    """
    fields: dict[str, object] = {}
    problems = []
    for change in changes:
        name, equals, value = change.partition("=")
        try:
            fields[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):
            equals = ""
        if not (name and equals):
            problems.append(f"--set {change} should be NAME=VALUE, such as ema_decay=0.9999.")
    if problems:
        raise QvitError(problems)
    return fields
