"""What the verb ``quantize`` is asked for, and the settings that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qvit_hls.errors import QvitError
from qvit_hls.flow.cycle_target import CycleTarget
from qvit_hls.flow.generate import Target
from qvit_hls.hw.accelerator import Mac
from qvit_hls.ptq.calibration import Progress
from qvit_hls.ptq.cycle_budget import CycleBudget
from qvit_hls.ptq.method_settings import with_settings
from qvit_hls.ptq.methods import method_named
from qvit_hls.ptq.placement import BitWidths
from qvit_hls.ptq.quantize import QuantizationSettings
from qvit_hls.ptq.rows import AverageBits, EightBitShare, RowBudget

DEFAULT_SHARE = 0.25


@dataclass(frozen=True)
class QuantizationRequest:
    """What the command asks for.

    Attributes:
        model: file of the float network; or ``timm:NAME``, ``hf:NAME``, or a folder with a config.json.
        weights: safetensors file, for those that are no file.
        classes: of a timm model, where it has another number than published.
        calibration: .npz file with ``images``, or folder of image files.
        out: the model file to write.
        images: of ``calibration``, only the first so many; None: all.
        method: name of the method.
        method_settings: ``NAME=VALUE`` each.
        bits: A, of operands of matrix products.
        eight_bit_share: of the rows of each layer; None: 0.25, or what another budget allows.
        average_bits: of a weight over the whole network, instead of ``eight_bit_share``.
        max_cycles: per frame, instead.
        target_fps: frames per second, instead.
        free_rows: instead, 8-bit rows may take no more cycles than 4-bit rows only.
        board, clock_mhz, tile, mac, for_build: the accelerator on which cycles count, as ``gen`` takes it.
        data: .npz file with images, and perhaps labels, to compare on; None: the calibration images.
        report: JSON file to write; None: none.
        cache: folder of the calibration cache; None: none.
    """

    model: str
    calibration: Path
    out: Path
    weights: Path | None = None
    classes: int | None = None
    images: int | None = None
    method: str = "auto"
    method_settings: tuple[str, ...] = ()
    bits: int = 7
    eight_bit_share: float | None = None
    average_bits: float | None = None
    max_cycles: int | None = None
    target_fps: float | None = None
    free_rows: bool = False
    board: str | None = None
    clock_mhz: float | None = None
    tile: tuple[int, int, int] | None = None
    mac: Mac | None = None
    for_build: Path | None = None
    data: Path | None = None
    report: Path | None = None
    cache: Path | None = None

    def settings(self, progress: Progress = lambda stage, done, total: None) -> QuantizationSettings:
        """What to quantize to, and how.

        Args:
            progress: told how far the choice of an accelerator is, where there is one.

        Raises:
            QvitError: a setting is out of range, two exclude each other, or a file to write is a folder; all
                are listed.
        """
        problems = [
            f"{path} is a folder; it should be the name of a file to write."
            for path in (self.out, self.report)
            if path is not None and path.is_dir()
        ]
        method, widths, budget = None, None, None
        try:
            method = with_settings(method_named(self.method), self.method_settings)
        except QvitError as error:
            problems += error.problems
        try:
            widths = BitWidths(activation=self.bits)
        except QvitError as error:
            problems += error.problems
        try:
            budget = self._budget(progress)
        except QvitError as error:
            problems += error.problems
        if problems or method is None or widths is None or budget is None:
            raise QvitError(problems)
        return QuantizationSettings(method, widths, budget)

    def _budget(self, progress: Progress) -> RowBudget | CycleBudget:
        budgets = {
            "--eight-bit-share": self.eight_bit_share is not None,
            "--avg-bits": self.average_bits is not None,
            "--max-cycles": self.max_cycles is not None,
            "--target-fps": self.target_fps is not None,
            "--free-rows": self.free_rows,
        }
        accelerator = {
            "--board": self.board,
            "--clock": self.clock_mhz,
            "--tile": self.tile,
            "--mac": self.mac,
            "--for": self.for_build,
        }
        given = [name for name, there in budgets.items() if there]
        idle = [name for name, value in accelerator.items() if value is not None]
        problems = []
        if len(given) > 1:
            problems.append(f"{_and(given)} exclude each other; give one of them.")
        in_cycles = self.max_cycles is not None or self.target_fps is not None or self.free_rows
        if idle and not in_cycles:
            problems.append(
                f"{_and(idle)} {'say' if len(idle) > 1 else 'says'} where cycles count; give --max-cycles, "
                "--target-fps or --free-rows too."
            )
        if problems:
            raise QvitError(problems)
        if in_cycles:
            target = Target.of_options(self.board, self.clock_mhz, self.tile, self.mac, self.for_build)
            cycles = CycleTarget(target, self.max_cycles, self.target_fps)
            return CycleBudget(partial(cycles.row_cost, progress=progress))
        if self.average_bits is not None:
            return AverageBits(self.average_bits)
        return EightBitShare(DEFAULT_SHARE if self.eight_bit_share is None else self.eight_bit_share)


def _and(names: Sequence[str]) -> str:
    """The names as a list in a sentence."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
