"""The verb ``estimate``: from a model file to the cycles of its layers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qvit_hls.flow.generate import Progress, Target, compile_model
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.cycles import Estimate, estimate
from qvit_hls.hw.program import Program


@dataclass(frozen=True, eq=False)
class ModelEstimate:
    """What a model takes.

    Attributes:
        board: name of the board.
        program: the scheduled layers and the accelerator that was chosen.
        frame: cycles and traffic of one frame, per layer and in all.
    """

    board: str
    program: Program
    frame: Estimate

    @property
    def config(self) -> AcceleratorConfig:
        """The accelerator."""
        return self.program.config


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
    return ModelEstimate(target.board.name, program, estimate(program, target.board, target.clock_mhz))
