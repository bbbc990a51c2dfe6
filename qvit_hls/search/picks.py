"""The networks that a search ends with: for each target, the most accurate one that reaches it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qvit_hls.hw.cycles import estimate
from qvit_hls.hw.explore.configuration import program_for
from qvit_hls.ir.graph import Graph
from qvit_hls.nets.subnet import Subnet
from qvit_hls.search.accelerators import Accelerator, holding
from qvit_hls.search.hardware import Hardware
from qvit_hls.search.study import Record

#: Networks that are tried for a target, should an accelerator that is built already not hold the best ones,
#: or their schedules take a little more than the search's cycle model says.
_TRIED = 20


@dataclass(frozen=True)
class Pick:
    """A network for a target.

    Attributes:
        target_fps: frames per second that it had to reach.
        accelerator: the smallest of the search's on which it reaches them, with the memories that it needs.
        cycles: per frame, on this accelerator, by the network's own schedule.
        stream_bytes: weights and row parameters that a frame reads.
        average_bits: of a weight.
    """

    target_fps: float
    subnet: Subnet
    trial: int
    accuracy: float
    accelerator: Accelerator
    cycles: int
    frames_per_second: float
    stream_bytes: int
    average_bits: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "target_fps": self.target_fps,
            "frames_per_second": round(self.frames_per_second, 3),
            "cycles": self.cycles,
            "accuracy": self.accuracy,
            "average_bits": round(self.average_bits, 4),
            "stream_bytes": self.stream_bytes,
            "trial": self.trial,
            "subnet": self.subnet.to_json(),
            "accelerator": self.accelerator.to_json(),
        }


def picks(
    records: Sequence[Record],
    hardware: Hardware,
    targets: Sequence[float],
    graph_of: Callable[[Subnet], Graph],
) -> list[Pick | None]:
    """For each target in ascending order, the most accurate network that reaches it; None where none does.

    Of equally accurate ones, the fastest.

    Args:
        graph_of: the integer graph of a network. Its rows are in the order that its weights give them, which
            the search does not know: the cycles of the schedule can differ a little.
    """
    ranked = sorted(records, key=lambda record: (-record.accuracy, record.cycles, record.key))
    return [_pick(ranked, hardware, fps, graph_of) for fps in sorted(targets)]


def _pick(
    ranked: Sequence[Record], hardware: Hardware, fps: float, graph_of: Callable[[Subnet], Graph]
) -> Pick | None:
    limit, genome = hardware.most_cycles(fps), hardware.genome
    for record in [r for r in ranked if r.cycles <= limit][:_TRIED]:
        subnet = Subnet.of_key(record.key)
        graph = graph_of(subnet)
        costs = hardware.costs(genome.rows([subnet]))
        shares = [accelerator.share for accelerator in hardware.accelerators]
        for index in np.argsort(shares, kind="stable").tolist():
            if int(costs.all_cycles[0, index]) > limit:
                continue
            held = holding(graph, hardware.accelerators[index], hardware.board)
            if held is None:
                continue
            program = program_for(graph, held.config)
            cycles = estimate(program, hardware.board, hardware.clock_mhz).cycles
            if cycles <= limit:
                return Pick(
                    target_fps=fps,
                    subnet=subnet,
                    trial=record.number,
                    accuracy=record.accuracy,
                    accelerator=held,
                    cycles=cycles,
                    frames_per_second=hardware.clock_mhz * 1e6 / cycles,
                    stream_bytes=int(costs.stream_bytes[0]),
                    average_bits=float(costs.average_bits[0]),
                )
    return None
