"""Why there is no design, and what would be enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from qvit_hls.hw.board import Board, known_boards
from qvit_hls.hw.explore.cost import RESOURCE_WORDS, RESOURCES, limits
from qvit_hls.hw.explore.limit import BindingConstraint
from qvit_hls.hw.explore.search import Found
from qvit_hls.hw.explore.space import Space, bytes_per_cycle

#: The highest clock that a target may ask for, MHz.
_MOST_MHZ = 2000
#: Clocks that are tried: where the memory is nearly the limit, each brings the next one a little closer.
_TRIALS = 40


def nothing_fits(space: Space) -> str:
    """What the smallest design lacks, and which boards have it."""
    names = " and ".join(workload.name for workload in space.workloads)
    assert space.closest is not None
    needs, board = space.closest, space.board
    short = [i for i in range(len(RESOURCES)) if needs[i] > space.limits[i]]
    lacks = " and ".join(f"{needs[i]:,} {RESOURCE_WORDS[RESOURCES[i]]} of {space.limits[i]:,}" for i in short)
    whole = " and ".join(
        f"{int(np.ceil(needs[i] / board.usable)):,} {RESOURCE_WORDS[RESOURCES[i]]}" for i in short
    )
    large = [other.name for other in known_boards() if (needs <= limits(other)).all()]
    return (
        f"no accelerator for {names} fits {board.name}: the one that comes closest takes {lacks} that a "
        f"design may use ({board.usable:.0%} of the board); enough would be a board with {whole}"
        + (f", such as {' or '.join(large)}" if large else "")
    )


def impossible(
    space: Space,
    found: Found,
    target_fps: float,
    clock_mhz: float,
    binding: BindingConstraint,
    most_on: Callable[[Board], float],
) -> str:
    """The most that can be had, and which clock or board would be enough.

    Args:
        found: designs that fit.
        most_on: the frames per second that another board reaches at the same clock, with every model.
    """
    worst = found.cycles.max(axis=1)
    best = int(worst.argmin())
    most = clock_mhz * 1e6 / worst[best]
    clock = _clock_that_is_enough(space, int(found.index[best]), target_fps, clock_mhz)
    boards = [(other, most_on(other)) for other in _larger(space.board, known_boards())]
    ways = [] if clock is None else [f"a clock of {clock:,} MHz"]
    ways += [f"{other.name} ({rate:,.1f})" for other, rate in boards if rate >= target_fps]
    enough = f"Enough would be {' or '.join(ways)}." if ways else _nothing_is_enough(boards)
    return (
        f"{target_fps:,.10g} frames per second are impossible on {space.board.name}: at most {most:,.1f} at "
        f"{clock_mhz:g} MHz, {worst[best]:,} cycles per frame. {enough} "
        f"What stops faster designs: {binding.sentence}."
    )


def _nothing_is_enough(boards: list[tuple[Board, float]]) -> str:
    without = f"No clock up to {_MOST_MHZ:,} MHz is enough"
    if not boards:
        return f"{without}."
    board, rate = max(boards, key=lambda item: item[1])
    return f"{without}, nor is any known board: {board.name} reaches {rate:,.1f}."


def _larger(board: Board, others: Iterable[Board]) -> list[Board]:
    """Boards that have more of something that designs use."""
    return [
        other
        for other in others
        if (limits(other) > limits(board)).any()
        or other.weight_ports > board.weight_ports
        or other.ddr_gbytes_per_s > board.ddr_gbytes_per_s
    ]


def _clock_that_is_enough(space: Space, index: int, target_fps: float, clock_mhz: float) -> int | None:
    """Whole MHz at which a design reaches the target; None if no clock is enough.

    At a higher clock the memory delivers less per cycle, so that a frame may take more of them.
    """
    clock = clock_mhz
    for _ in range(_TRIALS):
        cycles = space.cycles_at(index, bytes_per_cycle(space.board, clock)).max()
        needed = float(np.ceil(target_fps * cycles / 1e6))
        if needed > _MOST_MHZ:
            return None
        if needed <= clock:
            return int(clock)
        clock = needed
    return None
