"""The accelerators that a search runs its networks on.

They are made for the space's largest network. Where blocks differ, tensors may lie in a memory less densely
than in the largest network, so a network of the space can need a little more of it: ``holding`` checks this
exactly for one network, and gives a new accelerator the memories that it needs. Cycles do not depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from qvit_hls.errors import QvitError
from qvit_hls.frontend.compile import integer_graph
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.board import Board
from qvit_hls.hw.explore.choose import choose_accelerator
from qvit_hls.hw.explore.configuration import complete, program_for
from qvit_hls.hw.explore.cost import RESOURCES, costs, largest_share
from qvit_hls.hw.explore.explore import Design, explore
from qvit_hls.hw.explore.workload import MEMORIES
from qvit_hls.ir.graph import Graph
from qvit_hls.nets.random import random_model
from qvit_hls.nets.space import SearchSpace
from qvit_hls.nets.subnet import Subnet

#: Accelerators that networks choose from when they are searched together.
MOST_ACCELERATORS = 6


@dataclass(frozen=True)
class Accelerator:
    """An accelerator and what it takes of its board.

    Attributes:
        share: the largest share of one of the board's resources.
        is_built: it is there already, and its memories are as they are.
    """

    config: AcceleratorConfig
    lut: int
    ff: int
    dsp: int
    bram36: int
    share: float
    is_built: bool = False

    @classmethod
    def on_board(cls, config: AcceleratorConfig, board: Board, is_built: bool = False) -> Accelerator:
        """What a configuration takes of a board."""
        needs = costs(config.model_dump())
        counts: dict[str, int] = dict(zip(RESOURCES, needs.tolist(), strict=True))
        return cls(config, **counts, share=float(largest_share(needs, board)), is_built=is_built)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        counts: dict[str, int] = {name: getattr(self, name) for name in RESOURCES}
        return {"config": self.config.model_dump(), **counts, "share": round(self.share, 6)}


def network_graph(space: SearchSpace, subnet: Subnet) -> Graph:
    """The integer graph of a network with random weights; hardware models do not look at weights."""
    config = space.config(subnet)
    example = torch.zeros(1, config.channels, config.image_size, config.image_size)
    return integer_graph(random_model(config, 1), example, space.name)


def fixed_accelerator(space: SearchSpace, config: AcceleratorConfig, board: Board) -> tuple[Accelerator, ...]:
    """A given accelerator.

    Raises:
        QvitError: the search cannot time it, or it does not hold the space's largest network; all that it
            lacks is named.
    """
    if config.mac != "rtl":
        raise QvitError(
            f"The accelerator is of the {config.mac} engine; the search times networks on the rtl engine."
        )
    try:
        program_for(network_graph(space, space.largest()), config)
    except QvitError as error:
        raise QvitError(
            f"The accelerator does not hold the largest network of the space {space.name}: {problem}"
            for problem in error.problems
        ) from None
    return (Accelerator.on_board(config, board, is_built=True),)


def tile_accelerator(space: SearchSpace, tile: tuple[int, int, int], board: Board) -> tuple[Accelerator, ...]:
    """The accelerator of a tile (T_n, T_m, T_k), with memories for the space's largest network.

    Raises:
        QvitError: it cannot be built, or does not fit the board.
    """
    graph = network_graph(space, space.largest())
    return (Accelerator.on_board(choose_accelerator(graph, board, tile, "rtl").config, board),)


def explored_accelerators(space: SearchSpace, board: Board, clock_mhz: float) -> tuple[Accelerator, ...]:
    """Some of the accelerators worth building for a board, from the fastest to the smallest.

    They are Pareto designs of cycles and the share of the board, for the space's largest and smallest
    network together, with memories for both.

    Raises:
        QvitError: no accelerator for the largest network fits the board.
    """
    graphs = [network_graph(space, subnet) for subnet in (space.largest(), space.smallest())]
    designs = explore(graphs, board, clock_mhz, "rtl").designs
    return tuple(Accelerator.on_board(design.config, board) for design in _spread(designs))


def holding(graph: Graph, accelerator: Accelerator, board: Board) -> Accelerator | None:
    """An accelerator that runs a network, by the network's schedule.

    Args:
        graph: of the network.

    Returns:
        The same one, where it holds the network. Else the same with larger memories; None if it is built
        already, or does not fit the board then.
    """
    config = accelerator.config
    try:
        program_for(graph, config)
    except QvitError:
        if accelerator.is_built:
            return None
        needs = complete(graph, config).config
        depths = {name: max(getattr(config, name), getattr(needs, name)) for name in MEMORIES}
        larger = Accelerator.on_board(config.model_copy(update=depths), board)
        program_for(graph, larger.config)
        return larger if larger.share <= board.usable else None
    return accelerator


def _spread(designs: tuple[Design, ...]) -> list[Design]:
    """At most ``MOST_ACCELERATORS`` designs, each smaller than all faster ones, evenly from first to last."""
    front: list[Design] = []
    for design in designs:
        if not front or design.share < front[-1].share:
            front.append(design)
    if len(front) <= MOST_ACCELERATORS:
        return front
    step = (len(front) - 1) / (MOST_ACCELERATORS - 1)
    return [front[round(index * step)] for index in range(MOST_ACCELERATORS)]
