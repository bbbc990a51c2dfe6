"""What a pipeline has made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qvit_hls import __version__
from qvit_hls.hw.accelerator import Mac
from qvit_hls.nets.subnet import Subnet
from qvit_hls.search.accelerators import Accelerator


@dataclass(frozen=True)
class Accuracies:
    """Top-1 on the test images, 0 to 1.

    Attributes:
        inherited: of the network as cut out of the supernet.
        tuned: after its own training.
        integer: of the tuned network's integer graph, which the accelerator implements.
    """

    images: int
    inherited: float
    tuned: float
    integer: float


@dataclass(frozen=True)
class Project:
    """A project for a target.

    Attributes:
        target_fps: frames per second that the network had to reach, on the RTL engine.
        cycles: per frame, by the cycle model of the project's engine.
        average_bits: of a weight.
        accelerator: with what it takes of the board.
        proof: what was compared, and found equal.
        model, folder: of the network and the project, relative to the pipeline's folder.
    """

    target_fps: float
    engine: Mac
    cycles: int
    frames_per_second: float
    average_bits: float
    accelerator: Accelerator
    accuracies: Accuracies
    subnet: Subnet
    proof: dict[str, Any]
    model: Path
    folder: Path

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "target_fps": self.target_fps,
            "engine": self.engine,
            "cycles": self.cycles,
            "frames_per_second": round(self.frames_per_second, 3),
            "average_bits": self.average_bits,
            "accelerator": self.accelerator.to_json(),
            "top1": asdict(self.accuracies),
            "subnet": self.subnet.to_json(),
            "proof": self.proof,
            "model": self.model.as_posix(),
            "project": self.folder.as_posix(),
        }


@dataclass(frozen=True)
class PipelineResult:
    """What a pipeline has made."""

    out: Path
    space: str
    board: str
    clock_mhz: float
    projects: tuple[Project, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data; the same settings and inputs give the same."""
        return {
            "qvit_hls": __version__,
            "space": self.space,
            "board": self.board,
            "clock_mhz": self.clock_mhz,
            "projects": [project.to_json() for project in self.projects],
        }
