"""The verb ``estimate``: from a model file to the cycles of its layers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qvit_hls.flow.generate import Progress, Target, compile_model
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.board import Board
from qvit_hls.hw.cycles import Estimate, estimate, frame_timeline
from qvit_hls.hw.program import Program
from qvit_hls.hw.timing.timeline import Timeline


@dataclass(frozen=True, eq=False)
class ModelEstimate:
    """What a model takes.

    Attributes:
        board: the board.
        program: the scheduled layers and the accelerator that was chosen.
        frame: cycles and traffic of one frame, per layer and in all.
    """

    board: Board
    program: Program
    frame: Estimate

    @property
    def config(self) -> AcceleratorConfig:
        """The accelerator."""
        return self.program.config

    def timeline(self) -> Timeline:
        """When everything in a frame happens; for the RTL engine only."""
        return frame_timeline(self.program, self.board, self.frame.clock_mhz)


@one_torch_thread()
def estimate_model(
    model: Path, target: Target, progress: Progress = lambda stage, done, total: None
) -> ModelEstimate:
    """Cycles of a model file on the accelerator that gen would choose.

    Raises:
        QvitError: all problems of the stage that fails.
    """
    graph = compile_model(model, False, progress)
    progress("schedule", 0, 1)
    program = target.program(graph)
    progress("schedule", 1, 1)
    return ModelEstimate(target.board, program, estimate(program, target.board, target.clock_mhz))
