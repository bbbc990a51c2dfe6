"""What a pipeline's settings name, looked at before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from qvit_hls.errors import QvitError
from qvit_hls.flow.generate import Target
from qvit_hls.flow.pipeline_settings import PipelineSettings, SearchOptions
from qvit_hls.flow.pipeline_steps import digest_file, digest_of
from qvit_hls.flow.search_inputs import built_target
from qvit_hls.flow.train import checked_preparation
from qvit_hls.nets.space import SearchSpace, load_space
from qvit_hls.nets.supernet_file import load_supernet
from qvit_hls.train.loader import images_at_once
from qvit_hls.train.settings import TrainingConfig
from qvit_hls.train.sources import Source, open_source

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Checked:
    """What was looked at before anything is done.

    Attributes:
        space: of the supernet.
        data: digests of the images, by the names of DataSettings.
    """

    space: SearchSpace
    target: Target
    data: dict[str, str]


def check(settings: PipelineSettings) -> Checked:
    """Look at everything that the settings name, before any work.

    Raises:
        QvitError: every problem of the space or supernet, the board or accelerator, and the images.
    """
    problems: list[str] = []

    def tried(make: Callable[[], T]) -> T | None:
        try:
            return make()
        except QvitError as error:
            problems.extend(error.problems)
            return None

    space = tried(partial(_space, settings))
    target = tried(partial(_target, settings.search))
    data = settings.data
    least = {
        "validation": settings.search.images or 1,
        "test": max(settings.proof.images, settings.proof.cosim_images, data.test_images or 1),
    }
    digests = {}
    sources: dict[str, Source] = {}
    shape = None if space is None else space.config(space.largest())
    for name in ("train", "validation", "test"):
        origin = getattr(data, name)
        source = None if shape is None else tried(partial(open_source, origin, shape.classes))
        if source is not None and len(source) < least.get(name, 1):
            problems.append(f"{origin} holds {len(source)} images, but {least[name]} are asked for.")
        if source is not None:
            digests[name] = _data_digest(origin)
            sources[name] = source
    if shape is not None and len(sources) == 3:
        others = (sources["validation"], sources["test"])
        for part, config in (("supernet.training", settings.supernet.training), ("tune", settings.tune)):
            if config is not None:
                tried(partial(_check_batch, config, part))
                tried(partial(checked_preparation, shape, config, sources["train"], others, part))
    if problems or space is None or target is None:
        raise QvitError(dict.fromkeys(problems))
    return Checked(space, target, digests)


def _check_batch(config: TrainingConfig, part: str) -> None:
    try:
        images_at_once(config, 1)
    except QvitError as error:
        raise QvitError(f"{part}: {problem}" for problem in error.problems) from None


def _space(settings: PipelineSettings) -> SearchSpace:
    supernet = settings.supernet
    if supernet.file is not None:
        return load_supernet(supernet.file).space
    assert supernet.space is not None
    return load_space(supernet.space)


def _target(search: SearchOptions) -> Target:
    if search.build is not None:
        return built_target(search.build)
    return Target.on_board(search.board, search.clock_mhz, mac="rtl")


def _data_digest(name: str) -> str:
    """Of a file's content, of the names and sizes of a folder's files, or of a name."""
    path = Path(name)
    if name.startswith("hf:"):
        return name
    if path.is_file():
        return digest_file(path)
    files = (file for file in path.rglob("*") if file.is_file())
    return digest_of(sorted((file.relative_to(path).as_posix(), file.stat().st_size) for file in files))
