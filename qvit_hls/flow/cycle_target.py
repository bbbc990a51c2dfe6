"""How many cycles a frame of a network that is to be quantized may take, and on which accelerator."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from qvit_hls.errors import QvitError
from qvit_hls.flow.generate import Progress, Target
from qvit_hls.hw.accelerator import Mac
from qvit_hls.hw.cycles import estimate, most_cycles
from qvit_hls.hw.requirements import check_fits
from qvit_hls.hw.row_cost import RowCost, with_all_row_tiles
from qvit_hls.hw.schedule import schedule
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.pipeline import INTEGER_PASSES, run_passes
from qvit_hls.ptq.cycle_budget import RowCost as AnyRowCost


@dataclass(frozen=True, eq=False)
class CycleTarget:
    """A limit of cycles per frame; without one, a frame may take as many as with 4-bit rows only.

    Attributes:
        target: board and accelerator; one that is not given is chosen for 4-bit rows, as ``gen`` does.
        max_cycles: per frame.
        target_fps: frames per second, instead.

    Raises:
        QvitError: the rate is no positive number.
    """

    target: Target
    max_cycles: int | None = None
    target_fps: float | None = None

    def __post_init__(self) -> None:
        if self.target_fps is not None and not 0 < self.target_fps < float("inf"):
            raise QvitError(
                f"The target is {self.target_fps} frames per second; it should be a number greater than 0."
            )

    @property
    def limit(self) -> int | None:
        """Cycles per frame; None: as many as with 4-bit rows only."""
        if self.target_fps is not None:
            return most_cycles(self.target.clock_mhz, self.target_fps)
        return self.max_cycles

    def row_cost(
        self,
        graph: Graph,
        before: AnyRowCost | None = None,
        progress: Progress = lambda stage, done, total: None,
    ) -> RowCost:
        """What 8-bit rows cost on the accelerator.

        Args:
            graph: integer graph with 4-bit rows only, as lowering leaves it.
            before: what this said of the network with other steps, whose accelerator is kept.
            progress: told how far it is.

        Raises:
            QvitError: no accelerator runs the network, or a frame takes too long even with 4-bit rows only.
        """
        progress("choose accelerator", 0, 1)
        grouped = run_passes(graph, INTEGER_PASSES)
        if isinstance(before, RowCost):
            program = schedule(grouped, before.config)
        else:
            program = self.target.program(grouped)
            if self.target.config is None:
                # The accelerator will be sized for the rows that are chosen.
                program = replace(program, config=with_all_row_tiles(grouped, program.config))
        cost = RowCost(grouped, program, self.target.board, self.target.clock_mhz, self.limit)
        if cost.four_bit_cycles > cost.limit:
            raise QvitError(self._missed(cost))
        progress("choose accelerator", 1, 1)
        return cost

    def _missed(self, cost: RowCost) -> str:
        wanted = f"{cost.limit:,} cycles"
        if self.target_fps is not None:
            wanted = f"{self.target_fps:,.10g} frames per second, {wanted}"
        took = FrameCycles.of(cost, cost.four_bit_cycles)
        return (
            f"Even with 4-bit rows only, a frame takes {took.cycles:,} cycles on {took.where} "
            f"({took.frames_per_second:,.1f} frames per second); the target is {wanted}. "
            "Take a lower target, a larger board, a higher clock or a smaller network."
        )


@dataclass(frozen=True)
class FrameCycles:
    """What a frame of the quantized network takes.

    Attributes:
        cycles: per frame.
        four_bit_cycles: with 4-bit rows only.
        limit: that were allowed.
        clock_mhz: of the accelerator.
        board: its name.
        mac: what the engine is made of.
        tile: T_n, T_m and T_k.
    """

    cycles: int
    four_bit_cycles: int
    limit: int
    clock_mhz: float
    board: str
    mac: Mac
    tile: tuple[int, int, int]

    @classmethod
    def of(cls, cost: RowCost, cycles: int) -> FrameCycles:
        """Of a frame of so many cycles on the accelerator of ``cost``."""
        config = cost.config
        return cls(
            cycles=cycles,
            four_bit_cycles=cost.four_bit_cycles,
            limit=cost.limit,
            clock_mhz=cost.clock_mhz,
            board=cost.board.name,
            mac=config.mac,
            tile=(config.tile_tokens, config.tile_rows, config.tile_depth),
        )

    @property
    def frames_per_second(self) -> float:
        """At the clock."""
        return self.clock_mhz * 1e6 / self.cycles

    @property
    def where(self) -> str:
        """Accelerator, board and clock, for messages."""
        tokens, rows, depth = self.tile
        return f"{self.board} at {self.clock_mhz:g} MHz, engine {self.mac}, tile {tokens} x {rows} x {depth}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "tile": list(self.tile), "frames_per_second": self.frames_per_second}


def frame_cycles(graph: Graph, cost: RowCost, exists: bool) -> FrameCycles:
    """What a quantized network takes, scheduled on the accelerator of ``cost``.

    Args:
        graph: its integer graph, as lowering leaves it.
        cost: by which its rows were chosen.
        exists: the accelerator is there already, so the network has to fit it.

    Raises:
        QvitError: the network does not fit the accelerator.
    """
    grouped = run_passes(graph, INTEGER_PASSES)
    program = schedule(grouped, cost.config)
    if exists:
        check_fits(grouped, program)
    return FrameCycles.of(cost, estimate(program, cost.board, cost.clock_mhz).cycles)
