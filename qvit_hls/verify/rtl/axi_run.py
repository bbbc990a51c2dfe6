"""Running frames on a Verilated whole top: memory images in, logits and traces out of the memory."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qvit_hls.flow.cocotb_process import run_test
from qvit_hls.flow.output import write_file
from qvit_hls.flow.verilator import Model, build_model
from qvit_hls.verify.rtl.axi_top import NUMBERS, TOP, AxiTop
from qvit_hls.verify.rtl.frame_order import OrderedFrame, frame_order
from qvit_hls.verify.rtl.frame_run import Frames, FrameSizes, HungError
from qvit_hls.verify.rtl.stalls import Stalls

_GRACE_SECONDS = 60.0
_WORD_BYTES = 16
#: Above 4 GiB, so that both words of a pointer count.
_BASE = 0x8_7000_0000
_PAGE = 4096
#: What Vitis HLS may take pointers to be aligned to.
_ALIGNMENT = 64
#: What lies in the result and the trace before a frame.
_FILL = 0xA5
#: Vitis HLS initialises registers with #0 delays; and its Verilog is not written for linters.
_ARGUMENTS = ("--no-timing", "-Wno-lint", "-Wno-style", "-Wno-STMTDLY")


def build_axi_model(top: AxiTop, folder: Path, waves: bool) -> Model:
    """Build the simulation of a whole top below ``folder``, where it is not there already.

    Raises:
        QvitError: a tool is missing, or Verilator or the compiler report errors.
    """
    # cocotb reaches the ports only; all else public would be slow.
    visible = folder / "axi-ports.vlt"
    write_file(visible, f'`verilator_config\npublic_flat_rw -module "{TOP}" -var "*"\n'.encode())
    # Vitis HLS includes a monitor for deadlocks, and does not always write it. The bench finds them itself.
    instead = folder / "axi-include"
    write_file(instead / f"{TOP}_hls_deadlock_kernel_monitor_top.vh", b"")
    includes = dict.fromkeys(path.parent for path in top.design.sources)
    return build_model(
        [visible, *top.design.sources],
        TOP,
        folder / "axi",
        includes=[instead, *includes],
        waves=waves,
        arguments=_ARGUMENTS,
    )


@dataclass(frozen=True)
class AxiRun:
    """A simulation ready to run frames.

    Attributes:
        model: built from ``top``.
        data: folder with the program and the weights.
        stalls: of all AXI channels; the seed is also that of the addresses.
        patience: cycles without any transfer that end the run.
        seconds: that one image may take.
        waves: FST file to write.
    """

    model: Model
    top: AxiTop
    data: Path
    sizes: FrameSizes
    stalls: Stalls
    patience: int
    seconds: float
    waves: Path | None = None

    def run(
        self, codes: np.ndarray, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Frames:
        """Run every image twice: all of them with the trace on, then all without.

        Their order is that of :func:`frame_order`. A frame's cycles are those from the write of ap_start to
        the interrupt. Of layers nothing is known.

        Args:
            codes: int8 ``[n, ...]``.
            progress: called with how many of how many frames are done.

        Raises:
            HungError: nothing was transferred for too long, or the run took too long.
            QvitError: the simulation failed.
        """
        with tempfile.TemporaryDirectory(prefix="qvit-cosim-") as name:
            folder = Path(name)
            order = frame_order(len(codes), traced=True)
            self._prepare(folder, codes, order)
            # A single image may run more often than the others do.
            total = 2 * len(codes)

            def poll() -> None:
                progress(min(total, _read_progress(folder / "progress") * total // len(order)), total)

            run_test(
                self.model,
                "qvit_hls.verify.rtl.axi_test",
                folder,
                seed=self.stalls.seed,
                waves=self.waves,
                seconds=self.seconds * len(codes) + _GRACE_SECONDS,
                poll=poll,
            )
            outcome = json.loads((folder / "outcome.json").read_text())
            self._check_finished(outcome["frames"], outcome["violations"], len(codes), order)
            return self._collect(folder, outcome, order)

    def _prepare(self, folder: Path, codes: np.ndarray, order: Sequence[OrderedFrame]) -> None:
        for path in self.top.memories:
            (folder / path.name).symlink_to(path.resolve())
        images = np.zeros((len(codes), self.sizes.image_words * _WORD_BYTES), np.int8)
        images[:, : self.sizes.image_bytes] = codes.reshape(len(codes), -1)
        (folder / "images.bin").write_bytes(images.tobytes())
        lengths = self._lengths()
        starts = _addresses(lengths, self.stalls.seed)
        files = {name: self.data / f"{name}.bin" for name in lengths}
        plan = {
            "bundles": self.top.bundles,
            "registers": {
                name: offsets
                for name, offsets in self.top.registers.items()
                if name in lengths or name in NUMBERS
            },
            "continues": self.top.continues,
            "regions": {
                name: {
                    "start": starts[name],
                    "bytes": length,
                    "file": str(files[name].resolve()) if files[name].is_file() else None,
                }
                for name, length in lengths.items()
            },
            "writable": ["result", "trace"],
            "arguments": {
                "layers": self.sizes.layers,
                "beats": self.sizes.beats,
                "result_words": self.sizes.classes,
            },
            "frames": [
                {
                    "images": {"image": _own_image(frame), "next_image": frame.next_image},
                    "arguments": {
                        "image_words": self.sizes.image_words * (_own_image(frame) is not None),
                        "next_image_words": self.sizes.image_words * (frame.next_image is not None),
                        "trace_words": self.sizes.trace_words * frame.traced,
                    },
                }
                for frame in order
            ],
            "images": "images.bin",
            "fill": _FILL,
            "stalls": self.stalls.share,
            "seed": self.stalls.seed,
            "patience": self.patience,
            "seconds": self.seconds * len(codes),
        }
        (folder / "plan.json").write_text(json.dumps(plan))

    def _lengths(self) -> dict[str, int]:
        """Bytes of each region of the memory."""
        sizes = self.sizes
        weights = {f"weights{port}": _WORD_BYTES * sizes.beats for port in range(self.top.design.ports)}
        return {
            "program": 128 * sizes.layers,
            **weights,
            "image": _WORD_BYTES * sizes.image_words,
            "next_image": _WORD_BYTES * sizes.image_words,
            "result": 2 * sizes.classes,
            "trace": 2 * sizes.trace_words,
        }

    def _check_finished(
        self,
        frames: list[dict[str, Any]],
        violations: list[str],
        images: int,
        order: Sequence[OrderedFrame],
    ) -> None:
        frame, last = order[len(frames) - 1], frames[-1]
        if not last["ended"]:
            return
        lengths = self._lengths()
        lengths["image"] *= _own_image(frame) is not None
        lengths["next_image"] *= frame.next_image is not None
        lengths["trace"] *= frame.traced
        hung = last["ended"] == "hung"
        why = (
            f"The design transferred nothing for {self.patience:,} cycles"
            if hung
            else f"The simulation took longer than {self.seconds * images:g} seconds"
        )
        moved = [f"{name} {last['moved'][name]:,} of {length:,}" for name, length in lengths.items()]
        raise HungError(
            f"{why} and was stopped in cycle {last['cycles']:,} of {frame.name}. "
            f"Its control register is {last['control']:#x} ({_flags(last['control'])}). "
            f"Bytes read: {', '.join(moved[:-2])}; written: {', '.join(moved[-2:])}. "
            + "".join(f"Before that the design {sentence}. " for sentence in violations[:1])
            + f"Allow more with {'--timeout' if hung else '--limit'}."
        )

    def _collect(self, folder: Path, outcome: dict[str, Any], order: list[OrderedFrame]) -> Frames:
        frames = outcome["frames"]
        problems = [f"The design {sentence}." for sentence in outcome["violations"]]
        if (more := outcome["violation_count"] - len(problems)) > 0:
            problems.append(f"It made {more:,} more such accesses.")
        problems += _unused_trace(frames, order)
        traced = [number for number, frame in enumerate(order) if frame.traced]
        return Frames(
            order=order,
            result=np.stack([np.fromfile(folder / f"result{i}.bin", "<i2") for i in range(len(order))]),
            trace=np.stack([np.fromfile(folder / f"trace{i}.bin", "<i2") for i in traced]),
            cycles=[frame["cycles"] for frame in frames],
            events=[],
            problems=problems,
            total_cycles=outcome["cycles"],
            seconds=outcome["seconds"],
        )


def _own_image(frame: OrderedFrame) -> int | None:
    """The image that a frame loads for itself."""
    return None if frame.image_loaded else frame.image


def _addresses(lengths: dict[str, int], seed: int) -> dict[str, int]:
    """Where each region begins: aligned as Vitis HLS assumes and no more, so that bursts meet page ends."""
    generator = random.Random(seed)
    at, starts = _BASE, {}
    for name, length in lengths.items():
        starts[name] = at + _ALIGNMENT * generator.randrange(1, _PAGE // _ALIGNMENT)
        at = (starts[name] + length + 2 * _PAGE) // _PAGE * _PAGE
    return starts


def _unused_trace(frames: list[dict[str, Any]], order: Sequence[OrderedFrame]) -> Iterator[str]:
    for frame, ran in zip(order, frames, strict=True):
        if not frame.traced and ran["moved"]["trace"]:
            yield f"The design wrote {ran['moved']['trace']:,} bytes of trace in {frame.name}."


def _flags(control: int) -> str:
    bits = {0: "ap_start", 1: "ap_done", 2: "ap_idle", 3: "ap_ready"}
    return ", ".join(name for bit, name in bits.items() if control >> bit & 1) or "no flag set"


def _read_progress(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not there yet, or being written
        return 0
