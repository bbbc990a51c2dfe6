"""What a search is asked for, and what the request names: board, accelerators, validation images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from qvit_hls.errors import QvitError
from qvit_hls.flow.generate import Target
from qvit_hls.flow.output import write_json
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.hw.accelerator import parse_accelerator
from qvit_hls.hw.board import Board
from qvit_hls.nets.space import SearchSpace
from qvit_hls.nets.supernet import Supernet
from qvit_hls.search.accelerators import (
    Accelerator,
    explored_accelerators,
    fixed_accelerator,
    tile_accelerator,
)
from qvit_hls.search.evolution import Evolution
from qvit_hls.search.genome import Genome
from qvit_hls.search.hardware import Hardware
from qvit_hls.search.settings import Method, digest
from qvit_hls.train.pictures import Preparation
from qvit_hls.train.sources import open_source

#: The accelerators of an exploration, in the search's folder.
ACCELERATORS = "accelerators.json"


@dataclass(frozen=True)
class SearchRequest:
    """What to search, as every worker has it.

    Attributes:
        supernet: its file.
        data: validation images: an .npz file, a folder, or ``hf:NAME``.
        images: take only so many of them.
        out: folder for what the search keeps and finds.
        targets: frames per second.
        board, clock_mhz: of the accelerators.
        accelerator: a folder that gen wrote, or a tile such as ``16,32,8``; None to choose accelerators
            together with the networks.
        trials: networks to evaluate, all workers together.
        study: URL of a database, for workers on several machines; None for a file in ``out``.
    """

    supernet: Path
    data: str
    out: Path
    targets: tuple[float, ...]
    board: str | None = None
    clock_mhz: float | None = None
    accelerator: str | None = None
    trials: int = 1000
    method: Method = "coarse-to-fine"
    seed: int = 0
    images: int | None = None
    study: str | None = None
    minimise_resources: bool = False


def target_of(request: SearchRequest) -> Target:
    """Board and clock; an accelerator that is there already brings its own.

    Raises:
        QvitError: the board or the project is not there or damaged, or both are named.
    """
    folder = _build(request)
    if folder is None:
        return Target.on_board(request.board, request.clock_mhz, mac="rtl")
    if request.board is not None or request.clock_mhz is not None:
        raise QvitError(
            f"Board and clock are those of the accelerator in {folder}; leave out --board and --clock."
        )
    return built_target(folder)


def built_target(folder: Path) -> Target:
    """The accelerator of a project, which is named where a tile could be, with its board and clock.

    Raises:
        QvitError: there is no such folder, or it is not a project, or a damaged one.
    """
    if not folder.exists():
        raise QvitError(
            f"There is no folder {folder}; the accelerator should be a tile such as 16,32,8, or a folder "
            "that qvit-hls gen wrote."
        )
    return Target.of_build(folder)


def _build(request: SearchRequest) -> Path | None:
    """The folder that ``accelerator`` names, if it is no tile."""
    text = request.accelerator
    return None if text is None or _tile(text) is not None else Path(text)


def _tile(text: str) -> tuple[int, int, int] | None:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        return None
    tokens, rows, depth = (int(part) for part in parts)
    return tokens, rows, depth


def check_targets(
    space: SearchSpace, target: Target, accelerator: str | None, targets: tuple[float, ...]
) -> None:
    """Whether networks of a space can reach frame rates, which does not depend on any weights.

    Args:
        target: board and clock, and the accelerator where one is built.
        accelerator: as of a SearchRequest.

    Raises:
        QvitError: there is no such accelerator for the space, or the targets that are out of reach.
    """
    accelerators = _accelerators(space, target, accelerator)
    Evolution(Hardware(Genome(space), accelerators, target.board, target.clock_mhz), targets)


@one_torch_thread()
def _accelerators(space: SearchSpace, target: Target, accelerator: str | None) -> tuple[Accelerator, ...]:
    """The one that is built, that of a tile, or those of an exploration."""
    if target.config is not None:
        return fixed_accelerator(space, target.config, target.board)
    tile = None if accelerator is None else _tile(accelerator)
    if tile is not None:
        return tile_accelerator(space, tile, target.board)
    return explored_accelerators(space, target.board, target.clock_mhz)


def accelerators_of(request: SearchRequest, space: SearchSpace, target: Target) -> tuple[Accelerator, ...]:
    """The accelerators that networks choose from; those of an exploration are kept for a search that goes on.

    Raises:
        QvitError: the accelerator does not fit the space, or the space no accelerator.
    """
    if request.accelerator is not None:
        return _accelerators(space, target, request.accelerator)
    kept = request.out / ACCELERATORS
    made_for = digest([space.model_dump(mode="json"), target.board.model_dump(), target.clock_mhz])
    if known := _kept(kept, made_for, target.board):
        return known
    found = _accelerators(space, target, None)
    write_json(kept, {"for": made_for, "accelerators": [accelerator.to_json() for accelerator in found]})
    return found


def _kept(path: Path, made_for: str, board: Board) -> tuple[Accelerator, ...]:
    """The accelerators of an earlier exploration for the same; none if there are none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["for"] != made_for:
            return ()
        configs = [json.dumps(entry["config"]) for entry in content["accelerators"]]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return tuple(Accelerator.on_board(parse_accelerator(text, str(path)), board) for text in configs)


def validation_images(request: SearchRequest, supernet: Supernet) -> tuple[Tensor, Tensor]:
    """Images as the networks take them, float32 ``[n, channels, height, width]``, and their classes.

    Raises:
        QvitError: they cannot be read, or are too few.
    """
    config = supernet.latent.config
    grey = (0.5,) * config.channels
    preparation = Preparation(config.image_size, config.channels, config.mean or grey, config.std or grey)
    source = open_source(request.data, config.classes)
    count = len(source) if request.images is None else request.images
    if not 1 <= count <= len(source):
        raise QvitError(f"{request.data} holds {len(source)} images, but {count} were asked for.")
    items = [source.item(index) for index in range(count)]
    images = torch.stack([preparation.validation(picture) for picture, _ in items])
    return images, torch.tensor([label for _, label in items])
