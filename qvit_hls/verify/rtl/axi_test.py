"""The cocotb side of a whole top: memory at its AXI ports, a host at its registers. Runs in the simulation.

Reads ``plan.json`` in the working folder (see ``axi_run.py``), and writes ``outcome.json`` and the bytes of
each frame's result and trace; ``progress`` holds the number of frames done.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiReadBus, AxiSlaveRead, AxiSlaveWrite, AxiWriteBus
from cocotbext.axi.axi_channels import AxiARBus, AxiAWBus, AxiBBus, AxiRBus, AxiWBus

from qvit_hls.verify.rtl.axi_memory import AxiMemory, Region

_PERIOD_NS = 10
_WATCH_CYCLES = 500
_PAGE = 4096
_STALL_CYCLES = (1, 16)
_CONTROL, _GLOBAL_ENABLE, _ENABLE, _STATUS = 0x00, 0x04, 0x08, 0x0C
_START, _DONE, _CONTINUE = 1, 2, 16


# Vitis HLS gives AxLOCK two bits, as AXI3 has; cocotbext-axi accepts one. The memory has no use for it.
class _AddressReadBus(AxiARBus):
    _optional_signals = tuple(name for name in AxiARBus._optional_signals if name != "arlock")


class _AddressWriteBus(AxiAWBus):
    _optional_signals = tuple(name for name in AxiAWBus._optional_signals if name != "awlock")


@cocotb.test()
async def run_frames(top: Any) -> None:
    """Run the frames of the plan, until one hangs or the time is over."""
    plan = json.loads(Path("plan.json").read_text())
    logging.getLogger(f"cocotb.{top._name}").setLevel(logging.WARNING)
    bench = _Bench(top, plan)
    Clock(top.ap_clk, _PERIOD_NS, "ns").start()
    top.ap_rst_n.value = 0
    await ClockCycles(top.ap_clk, 8)
    top.ap_rst_n.value = 1
    await ClockCycles(top.ap_clk, 8)
    started, frames = time.monotonic(), []
    bench.deadline = started + plan["seconds"]
    for number, frame in enumerate(plan["frames"]):
        frames.append(await bench.run(frame, number))
        Path("progress").write_text(str(number + 1))
        if frames[-1]["ended"]:
            break
    outcome = {
        "frames": frames,
        "violations": bench.memory.violations,
        "violation_count": bench.memory.violation_count,
        "cycles": _cycle(),
        "seconds": time.monotonic() - started,
    }
    Path("outcome.json").write_text(json.dumps(outcome))


class _Bench:
    """A host and its memory, attached to the top."""

    def __init__(self, top: Any, plan: dict[str, Any]) -> None:
        self.top = top
        self.plan = plan
        self.deadline = 0.0
        self.memory = AxiMemory(
            {
                name: Region(
                    region["start"],
                    bytearray(Path(region["file"]).read_bytes() if region["file"] else region["bytes"]),
                    writable=name in plan["writable"],
                )
                for name, region in plan["regions"].items()
            }
        )
        reset = {"clock": top.ap_clk, "reset": top.ap_rst_n, "reset_active_level": False}
        channels = []
        for bundle in plan["bundles"]:
            prefix = f"m_axi_{bundle}"
            if hasattr(top, f"{prefix}_ARVALID"):
                bus = AxiReadBus.from_channels(_AddressReadBus(top, prefix), AxiRBus(top, prefix))
                reader = AxiSlaveRead(bus, target=self.memory, **reset)
                _check_bursts(reader.ar_channel, "ar", prefix)
                channels += [reader.ar_channel, reader.r_channel]
            if hasattr(top, f"{prefix}_AWVALID"):
                bus = AxiWriteBus.from_channels(
                    _AddressWriteBus(top, prefix), AxiWBus(top, prefix), AxiBBus(top, prefix)
                )
                writer = AxiSlaveWrite(bus, target=self.memory, **reset)
                _check_bursts(writer.aw_channel, "aw", prefix)
                channels += [writer.aw_channel, writer.w_channel, writer.b_channel]
        self.host = AxiLiteMaster(AxiLiteBus.from_prefix(top, "s_axi_control"), **reset)
        host_write, host_read = self.host.write_if, self.host.read_if
        channels += [host_write.aw_channel, host_write.w_channel, host_write.b_channel]
        channels += [host_read.ar_channel, host_read.r_channel]
        if plan["stalls"] > 0:
            for number, channel in enumerate(channels):
                generator = random.Random(f"{plan['seed']} {number}")
                channel.set_pause_generator(_pauses(generator, plan["stalls"]))

    async def run(self, frame: dict[str, Any], number: int) -> dict[str, Any]:
        """One frame: arguments, start, the interrupt at its end, and the bytes it wrote."""
        regions = self.memory.regions
        for region in regions.values():
            region.moved = 0
            if region.writable:
                region.content[:] = self.plan["fill"].to_bytes(1, "little") * len(region.content)
        images = Path(self.plan["images"]).read_bytes()
        for name, image in frame["images"].items():
            content = regions[name].content
            size = len(content)
            # What is not to be loaded is not there.
            content[:] = bytes(size) if image is None else images[image * size : (image + 1) * size]

        arguments = self.plan["arguments"] | frame["arguments"]
        arguments |= {name: region.start for name, region in regions.items()}
        for name, offsets in self.plan["registers"].items():
            for word, offset in enumerate(offsets):
                await self.host.write_dword(offset, arguments[name] >> (32 * word) & 0xFFFFFFFF)
        await self.host.write_dword(_GLOBAL_ENABLE, 1)
        await self.host.write_dword(_ENABLE, 1)
        begun = _cycle()
        await self.host.write_dword(_CONTROL, _START)
        ended = await self._finish()
        cycles = _cycle() - begun
        control = await self.host.read_dword(_CONTROL) if ended else await self._acknowledge()
        for name in ("result", "trace"):
            Path(f"{name}{number}.bin").write_bytes(regions[name].content)
        moved = {name: region.moved for name, region in regions.items()}
        return {"cycles": cycles, "ended": ended, "control": control, "moved": moved}

    async def _finish(self) -> str:
        """Wait for the interrupt; empty when it came, else why nobody waits for it any longer."""
        finished = RisingEdge(self.top.interrupt)
        moved, still = self.memory.moved, 0
        while not self.top.interrupt.value:
            await First(finished, Timer(_WATCH_CYCLES * _PERIOD_NS, "ns"))
            still = 0 if self.memory.moved != moved else still + _WATCH_CYCLES
            moved = self.memory.moved
            if self.top.interrupt.value:
                break
            if still >= self.plan["patience"]:
                return "hung"
            if time.monotonic() > self.deadline:
                return "late"
        return ""

    async def _acknowledge(self) -> int:
        """Clear the interrupt; the control register at the end of the frame."""
        # One write of 1 clears the status, whether it would be cleared by reading or only toggled by writing.
        await self.host.write_dword(_STATUS, 1)
        control = await self.host.read_dword(_CONTROL)
        assert control & _DONE, (
            f"after its interrupt the top's control register is {control:#x}, without ap_done"
        )
        if self.plan["continues"]:
            await self.host.write_dword(_CONTROL, _CONTINUE)
        await ClockCycles(self.top.ap_clk, 4)
        assert not self.top.interrupt.value, "the interrupt stays although its status was cleared"
        return control


def _check_bursts(channel: Any, name: str, port: str) -> None:
    """Let requests that cross a page fail with a sentence that names them."""
    receive = channel.recv

    async def checked() -> Any:
        request = await receive()
        size = 1 << int(getattr(request, f"{name}size"))
        address = int(getattr(request, f"{name}addr")) // size * size
        total = size * (int(getattr(request, f"{name}len")) + 1)
        assert address % _PAGE + total <= _PAGE, (
            f"{port} asks for {total:,} bytes at {address:#x}, across a 4 KiB boundary"
        )
        return request

    channel.recv = checked


def _cycle() -> int:
    return round(get_sim_time("ns") / _PERIOD_NS)


def _pauses(generator: random.Random, share: float) -> Iterator[bool]:
    """Pauses of 1 or 16 cycles that take this share of all cycles, at random times."""
    while True:
        pause = generator.choice(_STALL_CYCLES)
        for _ in range(pause):
            yield True
        for _ in range(round(generator.expovariate(share / ((1 - share) * pause)))):
            yield False
