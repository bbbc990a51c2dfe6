"""Exploring: models and a board in, the designs worth building and the one to build out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from qvit_hls.errors import QvitError
from qvit_hls.hw.accelerator import AcceleratorConfig, Mac
from qvit_hls.hw.board import Board
from qvit_hls.hw.cycles import most_cycles
from qvit_hls.hw.explore.configuration import complete, program_for
from qvit_hls.hw.explore.cost import RESOURCES, largest_share
from qvit_hls.hw.explore.limit import BindingConstraint, binding_constraint
from qvit_hls.hw.explore.refusal import impossible, nothing_fits
from qvit_hls.hw.explore.search import TOLERANCE, Found, search
from qvit_hls.hw.explore.space import Space, bytes_per_cycle
from qvit_hls.hw.explore.workload import Workload
from qvit_hls.hw.program import Program
from qvit_hls.ir.graph import Graph


@dataclass(frozen=True)
class Design:
    """One accelerator, and what it takes.

    Attributes:
        config: its memories are as the models need them.
        buffers: depth of the weight buffer, in multiples of the longest matrix product.
        cycles: per frame, of each model.
        lut, ff, dsp, bram36: resources.
        share: the largest share of the board's resources that it takes.
    """

    config: AcceleratorConfig
    buffers: int
    cycles: tuple[int, ...]
    lut: int
    ff: int
    dsp: int
    bram36: int
    share: float

    def frames_per_second(self, clock_mhz: float) -> tuple[float, ...]:
        """Of each model, at a clock."""
        return tuple(clock_mhz * 1e6 / cycles for cycles in self.cycles)


@dataclass(frozen=True, eq=False)
class Exploration:
    """What was found.

    Attributes:
        models: names.
        target_fps: frames per second that each model was to reach, if any.
        looked_at: how many candidates there are, those that do not fit included.
        designs: the Pareto set of cycles and resources, fastest first.
        chosen: the one to build; it is among ``designs``.
        programs: of each model on the chosen accelerator.
        binding: what stops the next faster design.
    """

    models: tuple[str, ...]
    board: Board
    clock_mhz: float
    mac: Mac
    activation_bits: int
    target_fps: float | None
    looked_at: int
    designs: tuple[Design, ...]
    chosen: Design
    programs: tuple[Program, ...]
    binding: BindingConstraint

    @property
    def config(self) -> AcceleratorConfig:
        """The chosen accelerator."""
        return self.programs[0].config


def explore(
    graphs: Sequence[Graph],
    board: Board,
    clock_mhz: float,
    mac: Mac,
    target_fps: float | None = None,
    fastest_only: bool = False,
) -> Exploration:
    """Search every accelerator that fits a board for one that runs all models.

    Without a target, the fastest is chosen, or the smallest of those that are at most 3 % slower; over
    several models, the geometric mean of their cycles counts. With a target, the smallest that reaches it
    with every model.

    Args:
        graphs: integer graphs, at least one.
        clock_mhz: of the accelerator.
        mac: what the engine is made of.
        target_fps: frames per second.
        fastest_only: find the fastest design without the Pareto set; then ``designs`` holds only those that
            are nearly as fast.

    Raises:
        QvitError: nothing fits, or nothing that fits reaches the target; it says what would be enough.
    """
    space = Space([Workload(graph, mac) for graph in graphs], board, bytes_per_cycle(board, clock_mhz))
    found = search(space, fastest_only and target_fps is None)
    if not len(found.index):
        raise QvitError(nothing_fits(space))
    designs = [_design(space, int(index), cycles) for index, cycles in _rows(found)]
    fastest = 0
    binding = binding_constraint(space, int(found.index[fastest]), found.cycles[fastest])
    if target_fps is None:
        near = [i for i in range(len(designs)) if found.objective[i] <= TOLERANCE * found.objective[fastest]]
    else:
        reaches = found.cycles.max(axis=1) <= most_cycles(clock_mhz, target_fps)
        near = np.flatnonzero(reaches).tolist()
        if not near:
            most_on = partial(_most_on, graphs, clock_mhz, mac)
            raise QvitError(impossible(space, found, target_fps, clock_mhz, binding, most_on))
        if int(reaches.sum()) != len(designs) or fastest not in near:
            binding = _target_binds(designs, near, target_fps, clock_mhz)
    chosen = designs[min(near, key=lambda i: (designs[i].share, designs[i].cycles, i))]
    return Exploration(
        models=tuple(graph.name for graph in graphs),
        board=board,
        clock_mhz=clock_mhz,
        mac=mac,
        activation_bits=space.activation_bits,
        target_fps=target_fps,
        looked_at=len(space.candidates),
        designs=tuple(designs),
        chosen=chosen,
        programs=_programs(space, graphs, chosen),
        binding=binding,
    )


def _rows(found: Found) -> list[tuple[int, np.ndarray]]:
    return list(zip(found.index.tolist(), found.cycles, strict=True))


def _design(space: Space, index: int, cycles: np.ndarray) -> Design:
    needs = space.needs[index]
    return Design(
        config=space.config(index),
        buffers=int(space.candidates.weight_depth[index]),
        cycles=tuple(cycles.tolist()),
        **dict(zip(RESOURCES, needs.tolist(), strict=True)),
        share=float(largest_share(needs, space.board)),
    )


def _programs(space: Space, graphs: Sequence[Graph], design: Design) -> tuple[Program, ...]:
    """The models on one accelerator whose memories suit them all."""
    sized = [complete(graph, design.config, design.buffers, space.activation_bits) for graph in graphs]
    if len(sized) == 1:
        return (sized[0],)
    each = [program.config.model_dump() for program in sized]
    merged = {
        name: value if isinstance(value, str) else max(fields[name] for fields in each)
        for name, value in each[0].items()
    }
    merged["image_pixels"] = min(fields["image_pixels"] for fields in each)
    config = AcceleratorConfig.model_validate(merged)
    return tuple(program_for(graph, config) for graph in graphs)


def _most_on(graphs: Sequence[Graph], clock_mhz: float, mac: Mac, board: Board) -> float:
    """Frames per second that a board reaches with every model; 0 where nothing fits."""
    try:
        chosen = explore(graphs, board, clock_mhz, mac, fastest_only=True).designs[0]
    except QvitError:
        return 0.0
    return min(chosen.frames_per_second(clock_mhz))


def _target_binds(
    designs: list[Design], near: list[int], target_fps: float, clock_mhz: float
) -> BindingConstraint:
    smaller = [d for i, d in enumerate(designs) if i not in near]
    most = max((min(d.frames_per_second(clock_mhz)) for d in smaller), default=0.0)
    return BindingConstraint(
        "target",
        f"the target of {target_fps:g} frames per second: designs that take less of the board reach at most "
        f"{most:,.1f}",
    )
