"""The verb ``gen``: from a model file to a project folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from qvit_hls.codegen.plan import BuildPlan
from qvit_hls.codegen.project import Origin, Vectors, build_plan
from qvit_hls.errors import QvitError
from qvit_hls.flow.build import read_build
from qvit_hls.flow.graph_model import load_any_model
from qvit_hls.flow.images import input_node, random_images
from qvit_hls.flow.output import check_target, write_plan
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.frontend.compile import integer_graph
from qvit_hls.hw.accelerator import AcceleratorConfig, Mac, parse_accelerator
from qvit_hls.hw.board import Board, load_board, parse_board
from qvit_hls.hw.explore.choose import choose_accelerator
from qvit_hls.hw.explore.configuration import program_for
from qvit_hls.hw.program import Program
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.lowering import lower
from qvit_hls.ir.pipeline import INTEGER_PASSES, run_passes

DEFAULT_BOARD = "zcu102"
#: Random images in a project's vectors: two, so that what one frame leaves behind shows in the next.
VECTOR_IMAGES = 2
#: Clocks that tools take; a typing error is far outside.
_CLOCK_RANGE_MHZ = (1, 2000)

#: Called with a stage's name, and how many of how many steps are done in it.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Target:
    """What a project is made for.

    Attributes:
        board: the part and its resources.
        clock_mhz: clock of the accelerator.
        config: the accelerator, where it is given; else one is chosen for the board.
        tile: T_n, T_m and T_k, where they are given and the rest is to be chosen.
        mac: what the engine is made of, where the accelerator is to be chosen.
        max_cycles: per frame, where the smallest accelerator that needs no more is to be chosen.
    """

    board: Board
    clock_mhz: float
    config: AcceleratorConfig | None = None
    tile: tuple[int, int, int] | None = None
    mac: Mac = "hls"
    max_cycles: int | None = None

    def __post_init__(self) -> None:
        """Check the clock.

        Raises:
            QvitError: it is outside what tools take, or no number.
        """
        low, high = _CLOCK_RANGE_MHZ
        if not low <= self.clock_mhz <= high:
            raise QvitError(
                f"The clock is {self.clock_mhz} MHz; it should be from {low} to {high} MHz, "
                f"such as the {self.board.clock_mhz:g} MHz of {self.board.name}."
            )

    @classmethod
    def of_options(
        cls,
        board: str | None = None,
        clock_mhz: float | None = None,
        tile: tuple[int, int, int] | None = None,
        mac: Mac | None = None,
        for_build: Path | None = None,
        max_cycles: int | None = None,
    ) -> Target:
        """A new accelerator on a board, or that of an earlier build, as options of a command say.

        Raises:
            QvitError: options that exclude each other, or what ``on_board`` and ``of_build`` say.
        """
        if tile is not None and max_cycles is not None:
            raise QvitError(
                "--tile and --max-cycles exclude each other: one names the accelerator, the other finds it."
            )
        if for_build is None:
            found = cls.on_board(board, clock_mhz, tile, mac or "hls")
            return replace(found, max_cycles=max_cycles)
        if board or clock_mhz or tile or mac or max_cycles:
            raise QvitError(
                f"--for takes board, clock, tile and engine from {for_build}: "
                f"leave out --board, --clock, --tile{', --max-cycles' if max_cycles else ''} and --mac."
            )
        return cls.of_build(for_build)

    @classmethod
    def on_board(
        cls,
        board: str | None = None,
        clock_mhz: float | None = None,
        tile: tuple[int, int, int] | None = None,
        mac: Mac = "hls",
    ) -> Target:
        """A new accelerator on a board, at the board's clock where none is given.

        Raises:
            QvitError: there is no such board, or the clock is out of range.
        """
        found = load_board(board or DEFAULT_BOARD)
        return cls(found, found.clock_mhz if clock_mhz is None else clock_mhz, tile=tile, mac=mac)

    @classmethod
    def of_build(cls, folder: Path) -> Target:
        """The accelerator of an earlier build, with its board and clock.

        Raises:
            QvitError: the folder is not a project, or a damaged one.
        """
        clock = read_build(folder).manifest.get("clock_mhz")
        if not isinstance(clock, int | float) or isinstance(clock, bool):
            raise QvitError(
                f"{folder / 'manifest.json'} does not name clock_mhz. "
                "Make the project again with qvit-hls gen."
            )
        accelerator, board = folder / "accelerator.json", folder / "board.json"
        lacks = [str(path) for path in (accelerator, board) if not path.is_file()]
        if lacks:
            raise QvitError(f"The project lacks {path}. Make it again with qvit-hls gen." for path in lacks)
        text = accelerator.read_text(encoding="utf-8", errors="replace")
        return cls(
            parse_board(board.read_bytes(), str(board)), clock, parse_accelerator(text, str(accelerator))
        )

    def program(self, graph: Graph) -> Program:
        """Schedule a graph on this accelerator, or on the one that is best for it.

        Raises:
            QvitError: the model does not fit.
        """
        if self.config is not None:
            return program_for(graph, self.config)
        return choose_accelerator(graph, self.board, self.tile, self.mac, self.clock_mhz, self.max_cycles)


@dataclass(frozen=True, eq=False)
class Generated:
    """What gen wrote.

    Attributes:
        folder: the project.
        plan: its files.
        target: what it is made for.
        program: the scheduled layers and the accelerator that they run on.
    """

    folder: Path
    plan: BuildPlan
    target: Target
    program: Program


@one_torch_thread()
def generate(
    model: Path,
    out: Path,
    target: Target,
    *,
    force: bool = False,
    onnx: bool = False,
    verify_passes: bool = False,
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> Generated:
    """Turn a model file into a project folder.

    Args:
        model: a ``model.pt``.
        out: folder to write.
        target: board and accelerator.
        force: replace ``out`` where it is an earlier build.
        onnx: add ``graph.onnx``.
        verify_passes: check every pass by running the graph before and after it.
        seed: of the random images in ``vectors/``.
        progress: told how far each stage is.

    Raises:
        QvitError: all problems of the stage that fails; then nothing is written.
    """
    check_target(out, force)
    graph = compile_model(model, verify_passes, progress)
    progress("schedule", 0, 1)
    program = target.program(graph)
    progress("schedule", 1, 1)
    progress("generate", 0, 1)
    origin = Origin(model_digest=hashlib.sha256(model.read_bytes()).hexdigest(), seed=seed)
    vectors = golden_vectors(graph, seed)
    plan = build_plan(graph, program, target.board, target.clock_mhz, vectors, origin)
    if onnx:
        from qvit_hls.ir.onnx_export import onnx_model

        content = onnx_model(graph).SerializeToString(deterministic=True)
        plan = BuildPlan({**plan.files, "graph.onnx": content})
    write_plan(plan, out, force)
    progress("generate", 1, 1)
    return Generated(out, plan, target, program)


def golden_vectors(graph: Graph, seed: int) -> Vectors:
    """Random images with their codes, and the logits that the golden graph gives."""
    images = random_images(graph, VECTOR_IMAGES, seed)
    values = graph.run(torch.from_numpy(images))
    return Vectors(
        images=images,
        codes=values[input_node(graph).name].numpy().astype(np.int8),
        logits=values[graph.outputs[0]].numpy().astype(np.int16).reshape(len(images), -1),
    )


def compile_model(model: Path, verify_passes: bool, progress: Progress) -> Graph:
    """The integer graph of a model file of either kind: load, export, passes, lowering.

    Raises:
        QvitError: the file is not a valid model, or the graph holds what the accelerator does not have.
    """
    progress("load model", 0, 1)
    network = load_any_model(model)
    progress("load model", 1, 1)
    progress("export and lower", 0, 1)
    # A file name may be bytes that are no text, which no JSON file can hold.
    name = os.fsencode(model.stem).decode(errors="replace")
    if isinstance(network, Graph):
        quantized = Graph(name, network.nodes, network.outputs)
        graph = run_passes(lower(quantized), INTEGER_PASSES, verify_passes)
    else:
        config = network.config
        example = torch.zeros(1, config.channels, config.image_size, config.image_size)
        graph = integer_graph(network, example, name, verify_passes)
    progress("export and lower", 1, 1)
    return graph
