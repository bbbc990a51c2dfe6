"""Everything that says what a pipeline does: one YAML file, validated completely."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from qvit_hls.errors import QvitError
from qvit_hls.hw.accelerator import Mac
from qvit_hls.nets.setting_errors import sentences
from qvit_hls.search.settings import Method
from qvit_hls.train.settings import TrainingConfig

Count = Annotated[int, Field(strict=True, ge=1)]
CountOrNone = Annotated[int, Field(strict=True, ge=0)]
Rate = Annotated[float, Field(gt=0)]
T = TypeVar("T")


def _not_empty(values: tuple[T, ...]) -> tuple[T, ...]:
    # Pydantic's own limit would count an item that is wrong as missing, too.
    if not values:
        raise ValueError("the list is empty; it should have at least one item.")
    return values


_TILE = re.compile(r"\s*\d+\s*,\s*\d+\s*,\s*\d+\s*")
_YAML = (".yaml", ".yml")


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Settings):
    """Images: .npz files, folders with a folder per class, or ``hf:NAME``."""

    train: str
    #: That the search measures networks on.
    validation: str
    #: That nothing is chosen on: for the accuracies at the end, and for the proof.
    test: str
    #: Take only the first ones of the test images.
    test_images: Count | None = None


class SupernetSettings(_Settings):
    """A supernet that is there, or what to train one with."""

    file: str | None = None
    #: A search space, by name or as a .yaml file.
    space: str | None = None
    training: TrainingConfig | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> SupernetSettings:
        given = {"space": self.space, "training": self.training}
        if self.file is not None:
            problems = [
                f"{name} is given beside file; leave out one of both." for name in given if given[name]
            ]
        else:
            problems = [
                f"{name} is missing; give space and training, or the file of a supernet."
                for name in given
                if given[name] is None
            ]
        if problems:
            raise ValueError("\n".join(problems))
        return self


class SearchOptions(_Settings):
    """What is asked of the search; as the options of ``qvit-hls search``."""

    target_fps: Annotated[tuple[Rate, ...], AfterValidator(_not_empty)]
    #: By name or as a .yaml file; None for the default one, or that of the accelerator.
    board: str | None = None
    clock_mhz: Rate | None = None
    #: A folder that gen wrote, or a tile such as ``16,32,8``; None to choose accelerators with the networks.
    accelerator: str | None = None
    trials: Count = 1000
    method: Method = "coarse-to-fine"
    seed: CountOrNone = 0
    #: Take only the first ones of the validation images.
    images: Count | None = None
    minimise_resources: bool = False

    @model_validator(mode="after")
    def _board_is_given_once(self) -> SearchOptions:
        if self.build is not None and (self.board is not None or self.clock_mhz is not None):
            raise ValueError(
                f"board and clock_mhz are those of the accelerator in {self.build}; leave them out."
            )
        return self

    @property
    def build(self) -> Path | None:
        """The folder that ``accelerator`` names, if it is no tile."""
        if self.accelerator is None or _TILE.fullmatch(self.accelerator):
            return None
        return Path(self.accelerator)


class ProofSettings(_Settings):
    """How the projects are proved."""

    #: Test images in the C-simulation.
    images: Count = 20
    #: Simulate the DSP and LUT arithmetic instead of native integers.
    packed: bool = False
    #: Test images in the RTL simulation; 0 for none.
    cosim_images: CountOrNone = 0


class PipelineSettings(_Settings):
    """A pipeline from images to proved projects."""

    data: DataSettings
    supernet: SupernetSettings
    search: SearchOptions
    #: Training of each network that was picked.
    tune: TrainingConfig
    #: What the engines of the projects are made of; a project for each.
    engines: Annotated[tuple[Mac, ...], AfterValidator(_not_empty)] = ("rtl",)
    proof: ProofSettings = ProofSettings()

    @field_validator("tune", mode="before")
    @classmethod
    def _keeps_rows_and_steps(cls, value: object) -> object:
        return {"float_share": 0.0, **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _consistent(self) -> PipelineSettings:
        if problems := list(self._problems()):
            raise ValueError("\n".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        for name, config in (("supernet.training", self.supernet.training), ("tune", self.tune)):
            if config is not None and not any(phase.quantized for phase in config.phases()):
                yield (
                    f"{name}.float_share is {config.float_share:g}, which leaves no steps with quantization; "
                    "it should be less."
                )
        if len(set(self.engines)) < len(self.engines):
            yield f"engines is {list(self.engines)}; each should be named once."
        if self.proof.cosim_images and "rtl" not in self.engines:
            yield (
                f"proof.cosim_images is {self.proof.cosim_images}, and engines has no rtl; "
                "only its projects can be simulated so."
            )
        most = self.data.test_images
        for name in ("images", "cosim_images"):
            if most is not None and (count := getattr(self.proof, name)) > most:
                yield f"proof.{name} is {count}; it should be at most data.test_images, {most}."

    @property
    def targets(self) -> tuple[float, ...]:
        """Frames per second, each once, ascending."""
        return tuple(sorted(set(self.search.target_fps)))


def read_pipeline(path: Path, cosim_images: int | None = None) -> PipelineSettings:
    """The settings in a YAML file; paths in it become relative to the file's folder.

    Args:
        cosim_images: replaces the file's ``proof.cosim_images``.

    Raises:
        QvitError: there is no such file, or every problem in it.
    """
    try:
        fields = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        raise QvitError(f"There is no file {path}; it should be a YAML file of a pipeline.") from None
    except IsADirectoryError:
        raise QvitError(f"{path} is a folder; it should be a YAML file of a pipeline.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise QvitError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise QvitError(f"{path} should be a mapping with data, supernet, search and tune.")
    proof = fields.get("proof") or {}
    if cosim_images is not None and isinstance(proof, dict):
        fields["proof"] = {**proof, "cosim_images": cosim_images}
    try:
        settings = PipelineSettings.model_validate(fields)
    except ValidationError as error:
        raise QvitError(
            line for details in error.errors() for line in sentences(details, "pipeline")
        ) from None
    return _with_paths(settings, path.parent)


def _with_paths(settings: PipelineSettings, folder: Path) -> PipelineSettings:
    def file(name: str) -> str:
        return name if name.startswith("hf:") else str(folder / name)

    def named(name: str | None) -> str | None:
        return file(name) if name is not None and name.endswith(_YAML) else name

    data, supernet, search = settings.data, settings.supernet, settings.search
    build = search.build
    changes: dict[str, Any] = {
        "data": data.model_copy(
            update={name: file(getattr(data, name)) for name in ("train", "validation", "test")}
        ),
        "supernet": supernet.model_copy(
            update={
                "file": None if supernet.file is None else file(supernet.file),
                "space": named(supernet.space),
            }
        ),
        "search": search.model_copy(
            update={
                "board": named(search.board),
                "accelerator": search.accelerator if build is None else str(folder / build),
            }
        ),
    }
    return settings.model_copy(update=changes)
