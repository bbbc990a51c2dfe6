"""The verbs ``gen`` and ``estimate``: from a model file to a project folder, or to its cycles."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from qvit_hls.codegen.plan import BuildPlan
from qvit_hls.codegen.project import Origin, build_plan
from qvit_hls.flow.build import read_build
from qvit_hls.flow.images import random_images
from qvit_hls.flow.output import check_target, write_plan
from qvit_hls.frontend.compile import integer_graph
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.board import Board, load_board
from qvit_hls.hw.choose import choose_accelerator
from qvit_hls.hw.cycles import Estimate, estimate
from qvit_hls.hw.fit import accelerator_from, check_fits
from qvit_hls.hw.program import Program
from qvit_hls.hw.schedule import schedule
from qvit_hls.ir.graph import Graph
from qvit_hls.nets.checkpoint import load_model

#: Random images in the project's vectors: enough for every path, small enough for DeiT in simulation.
VECTOR_IMAGES = 4

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Generated:
    """What gen wrote.

    Attributes:
        folder: the project.
        digest: SHA-256 over all its files; equal input gives an equal one.
        files: how many.
        program: the scheduled layers and the accelerator that they run on.
        estimate: cycles before synthesis.
    """

    folder: Path
    digest: str
    files: int
    board: Board
    clock_mhz: float
    program: Program
    estimate: Estimate


def generate(
    model: Path,
    out: Path,
    *,
    force: bool = False,
    board: str = "zcu102",
    clock_mhz: float | None = None,
    for_build: Path | None = None,
    onnx: bool = False,
    verify_passes: bool = False,
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> Generated:
    """Turn a model file into a project folder.

    Args:
        model: a ``model.pt``.
        out: folder to write.
        force: replace ``out`` where it is an earlier build.
        board: name of the board to choose the accelerator for.
        clock_mhz: its clock; default the board's.
        for_build: an earlier build whose accelerator must run the model, without a new synthesis.
        onnx: add ``graph.onnx``.
        verify_passes: check every pass by running the graph before and after it.
        seed: of the random images in ``vectors/``.
        progress: told how far each stage is.

    Raises:
        QvitError: all problems of the stage that fails; then nothing is written.
    """
    check_target(out, force)
    target = load_board(board)
    clock = target.clock_mhz if clock_mhz is None else clock_mhz
    config = None if for_build is None else accelerator_from(read_build(for_build).folder)
    graph = compile_model(model, verify_passes, progress)
    program = _program(graph, target, config, progress)

    progress("generate", 0, 1)
    origin = Origin(model_digest=hashlib.sha256(model.read_bytes()).hexdigest(), seed=seed)
    plan = build_plan(graph, program, target, clock, origin, random_images(graph, VECTOR_IMAGES, seed))
    if onnx:
        from qvit_hls.ir.onnx_export import onnx_model

        content = onnx_model(graph).SerializeToString(deterministic=True)
        plan = BuildPlan({**plan.files, "graph.onnx": content})
    write_plan(plan, out, force)
    progress("generate", 1, 1)
    return Generated(out, plan.digest(), len(plan.files), target, clock, program, estimate(program, clock))


def estimate_model(
    model: Path,
    *,
    board: str = "zcu102",
    clock_mhz: float | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> tuple[Program, Estimate]:
    """Cycles of a model on the accelerator that gen would choose for a board.

    Raises:
        QvitError: all problems of the stage that fails.
    """
    target = load_board(board)
    graph = compile_model(model, False, progress)
    program = _program(graph, target, None, progress)
    return program, estimate(program, target.clock_mhz if clock_mhz is None else clock_mhz)


def compile_model(model: Path, verify_passes: bool, progress: Progress) -> Graph:
    """The integer graph of a model file: load, export, passes, lowering.

    Raises:
        QvitError: the file is not a valid model, or the graph holds what the accelerator does not have.
    """
    progress("load model", 0, 1)
    network = load_model(model)
    progress("load model", 1, 1)
    config = network.config
    example = torch.zeros(1, config.channels, config.image_size, config.image_size)
    progress("compile", 0, 1)
    graph = integer_graph(network, example, model.stem, verify_passes)
    progress("compile", 1, 1)
    return graph


def _program(graph: Graph, board: Board, config: AcceleratorConfig | None, progress: Progress) -> Program:
    progress("schedule", 0, 1)
    if config is None:
        program = schedule(graph, choose_accelerator(graph, board))
    else:
        program = schedule(graph, config)
        check_fits(program, config)
    progress("schedule", 1, 1)
    return program
