"""The cocotb side of ``bench/frame_bench.sv.j2``: sets the bench up and watches it. Runs in the simulation.

The bench moves all words itself, so Python is awake a few times per second only. Reads ``plan.json`` in the
working folder and writes ``outcome.json``; ``progress`` holds the number of layers done.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer

_PERIOD_NS = 10
_WAKE_SECONDS = 0.25
_STATE = ("hung", "busy_after_last", "frame", "cycle", "layers_begun", "layers_completed", "offered")
_COUNTS = ("packed_passed", "result_broken", "trace_broken")


@cocotb.test()
async def run_frames(bench: Any) -> None:
    """Run the frames of the plan until the bench has finished or the time is over."""
    plan = json.loads(Path("plan.json").read_text())
    for name, value in plan["inputs"].items():
        getattr(bench, name).value = value
    bench.rst.value = 1
    Clock(bench.clk, _PERIOD_NS, "ns").start()
    await ClockCycles(bench.clk, 4)
    bench.rst.value = 0
    finished = RisingEdge(bench.finished)
    cycles, started = 256, time.monotonic()
    woken, late = started, False
    while not late:
        timer = Timer(cycles * _PERIOD_NS, "ns")
        if await First(finished, timer) is not timer:
            break
        now = time.monotonic()
        # Neither often enough to cost time nor so seldom that nobody sees it move.
        cycles = cycles * 2 if now - woken < _WAKE_SECONDS else max(64, cycles // 2)
        woken, late = now, now - started > plan["seconds"]
        completed = int(bench.layers_completed.value)  # of both kinds
        done = int(bench.frame.value) * plan["layers"] + (completed & 0xFFFF) + (completed >> 16)
        Path("progress").write_text(str(done))
    state: dict[str, int | float] = {name: int(getattr(bench, name).value) for name in (*_STATE, *_COUNTS)}
    state |= {"late": late, "seconds": time.monotonic() - started}
    Path("outcome.json").write_text(json.dumps(state))
