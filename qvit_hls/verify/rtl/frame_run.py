"""Running frames on a Verilated accelerator: stimulus in, logits, traces and layer events out."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qvit_hls.errors import QvitError
from qvit_hls.flow.cocotb_process import run_test
from qvit_hls.flow.verilator import Model
from qvit_hls.verify.cycles import ProgramLayer
from qvit_hls.verify.rtl.design import Design
from qvit_hls.verify.rtl.frame_order import OrderedFrame, frame_order
from qvit_hls.verify.rtl.stalls import Stalls

_WORD_BYTES = 16
_GRACE_SECONDS = 60.0
_AGAIN = "Make the project again with qvit-hls gen --mac rtl."


class HungError(QvitError):
    """The design made no progress, or took too long; the message says in what state it was."""


@dataclass(frozen=True)
class FrameSizes:
    """What goes in and out per frame, as in ``data/frame.bin``.

    Attributes:
        layers: descriptors of 32 words.
        beats: 128-bit words of each weight port.
        image_bytes: int8 codes.
        classes: 16-bit result words.
        trace_words: 16-bit words with the trace on.
    """

    layers: int
    beats: int
    image_bytes: int
    classes: int
    trace_words: int

    @property
    def image_words(self) -> int:
        """128-bit words of an image; the last one is padded with zeros."""
        return -(-self.image_bytes // _WORD_BYTES)

    def words(self, design: Design, frame: OrderedFrame) -> list[int]:
        """Words of each stream in a frame, in the bench's order."""
        return [
            32 * self.layers,
            *[self.beats] * design.ports,
            self.image_words * frame.loads,
            self.classes,
            self.trace_words * frame.traced,
        ]


@dataclass(frozen=True, eq=False)
class Frames:
    """What came back. The first frames had their trace on.

    Attributes:
        order: what each frame was.
        result: int16 ``[frames, classes]``.
        trace: int16 ``[traced frames, trace words]``.
        cycles: of each frame, from ap_start to ap_done.
        events: of each frame, int64 ``[n, 5]``: cycle; from it on matrix products and other layers begun, and
            matrix products and other layers complete.
        problems: what was not as the interface says, a sentence each.
        total_cycles, seconds: of the simulation, set-up excluded.
    """

    order: list[OrderedFrame]
    result: np.ndarray
    trace: np.ndarray
    cycles: list[int]
    events: list[np.ndarray]
    problems: list[str]
    total_cycles: int
    seconds: float


def read_sizes(data: Path, design: Design) -> FrameSizes:
    """Read ``frame.bin`` and check the lengths of the files beside it.

    Raises:
        QvitError: every file that is missing or has another length.
    """
    path = data / "frame.bin"
    words = np.fromfile(path, "<u4") if path.is_file() else np.empty(0, "<u4")
    if words.size < 5:
        raise QvitError(f"{path} is missing or too short: it holds the sizes of a frame. {_AGAIN}")
    sizes = FrameSizes(*(int(word) for word in words[:5]))
    wanted = {"program.bin": 128 * sizes.layers}
    wanted |= {f"weights{port}.bin": _WORD_BYTES * sizes.beats for port in range(design.ports)}
    problems = []
    for name, size in wanted.items():
        found = (data / name).stat().st_size if (data / name).is_file() else None
        if found != size:
            has = "is missing" if found is None else f"has {found} bytes"
            problems.append(f"{data / name} {has}; by frame.bin it has {size} bytes. {_AGAIN}")
    if problems:
        raise QvitError(problems)
    return sizes


@dataclass(frozen=True)
class FrameRun:
    """A simulation ready to run frames.

    Attributes:
        model: built from ``design`` and its bench.
        data: folder with the program and the weights.
        layers: of the program.
        stalls: of all streams.
        patience: cycles without any progress that end the run.
        seconds: that one image may take.
        waves: FST file to write.
        traced: whether images also run with the trace on, before all run without.
        plusargs: further ones of the simulation.
    """

    model: Model
    design: Design
    data: Path
    sizes: FrameSizes
    layers: Sequence[ProgramLayer]
    stalls: Stalls
    patience: int
    seconds: float
    waves: Path | None = None
    traced: bool = True
    plusargs: tuple[str, ...] = ()

    def run(
        self, codes: np.ndarray, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Frames:
        """Run every image: all of them with the trace on, unless that is not wanted, then all without.

        Their order is that of :func:`frame_order`.

        Args:
            codes: int8 ``[n, ...]``.
            progress: called with how many of how many layers are complete.

        Raises:
            HungError: the design made no progress or the run took too long.
            QvitError: the simulation failed.
        """
        with tempfile.TemporaryDirectory(prefix="qvit-cosim-") as name:
            folder = Path(name)
            order = frame_order(len(codes), self.traced)
            self._prepare(folder, codes, order)
            # A single image may run more often than the others do.
            frames = (1 + self.traced) * len(codes)
            total = frames * self.sizes.layers

            def poll() -> None:
                progress(min(total, _read_progress(folder / "progress") * frames // len(order)), total)

            self.simulate(folder, len(codes), poll)
            state = json.loads((folder / "outcome.json").read_text())
            self._check_finished(state, len(codes), order[state["frame"]])
            progress(total, total)
            return self._collect(folder, order, state)

    def simulate(self, folder: Path, images: int, poll: Callable[[], None]) -> None:
        """Run the plan in ``folder``, which leaves ``outcome.json`` and the bench's files there.

        Raises:
            QvitError: the simulation failed.
        """
        run_test(
            self.model,
            "qvit_hls.verify.rtl.frame_test",
            folder,
            seed=self.stalls.seed,
            waves=self.waves,
            seconds=self.seconds * images + _GRACE_SECONDS,
            plusargs=self.plusargs,
            poll=poll,
        )

    def _prepare(self, folder: Path, codes: np.ndarray, order: Sequence[OrderedFrame]) -> None:
        for name, _ in self.design.inputs:
            if name != "image":
                (folder / f"{name}.bin").symlink_to((self.data / f"{name}.bin").resolve())
        images = np.zeros((len(codes), self.sizes.image_words * _WORD_BYTES), np.int8)
        images[:, : self.sizes.image_bytes] = codes.reshape(len(codes), -1)
        streamed = [
            image
            for frame in order
            for image in (None if frame.image_loaded else frame.image, frame.next_image)
            if image is not None
        ]
        (folder / "image.bin").write_bytes(images[streamed].tobytes())
        one_image = OrderedFrame(image=0, traced=True)
        inputs = {
            "frames": len(order),
            "traced_frames": self.traced * len(codes),
            "layers": self.sizes.layers,
            "packed_words": _pack(self.sizes.words(self.design, one_image)),
            "packed_seeds": _pack(self.stalls.seeds(len(self.design.streams) + 1)),
            "patience": self.patience,
            **self.stalls.thresholds(),
        }
        plan = {"inputs": inputs, "layers": self.sizes.layers, "seconds": self.seconds * len(codes)}
        (folder / "plan.json").write_text(json.dumps(plan))

    def _check_finished(self, state: dict[str, Any], images: int, frame: OrderedFrame) -> None:
        if not state["hung"] and not state["late"]:
            return
        passed = _unpack(state["packed_passed"], len(self.design.streams))
        wanted = self.sizes.words(self.design, frame)
        streams = list(zip(self.design.streams, passed, wanted, strict=True))
        counts = zip(
            self._names, _of_kinds(state["layers_begun"]), _of_kinds(state["layers_completed"]), strict=True
        )
        layers = [
            f"{kind}: {begun} of {len(names)} begun{_last(names, begun)}, "
            f"{complete} complete{_last(names, complete)}"
            for (kind, names), begun, complete in counts
        ]
        inputs = len(self.design.inputs)
        waiting = [name for i, name in enumerate(self.design.streams[:inputs]) if state["offered"] >> i & 1]
        why = (
            f"The design made no progress for {self.patience:,} cycles"
            if state["hung"]
            else f"The simulation took longer than {self.seconds * images:g} seconds"
        )
        raise HungError(
            f"{why} and was stopped in cycle {state['cycle']:,} of {frame.name}. "
            f"{'; '.join(layers)}. Words taken: {_counts(streams[:inputs])}; "
            f"given: {_counts(streams[inputs:])}. Offered and not taken: {', '.join(waiting) or 'none'}. "
            f"Allow more with {'--timeout' if state['hung'] else '--limit'}."
        )

    @property
    def _names(self) -> tuple[tuple[str, list[str]], ...]:
        """Names of the layers of each kind that the design counts by itself, in their order."""
        return (
            ("Matrix products", [layer.name for layer in self.layers if layer.is_gemm]),
            ("other layers", [layer.name for layer in self.layers if not layer.is_gemm]),
        )

    def _collect(self, folder: Path, order: list[OrderedFrame], state: dict[str, Any]) -> Frames:
        streams = self.design.streams
        table = np.fromfile(folder / "frames.bin", "<u4").reshape(len(order), 1 + len(streams))
        table = table.astype(np.int64)
        counts = table[:, 1:]
        traced = [frame.traced for frame in order]
        problems = list(self._miscounted(counts, order))
        for name in self.design.outputs:
            if state[f"{name}_broken"]:
                problems.append(
                    f"The stream {name} changed or withdrew a word before it was taken, in "
                    f"{state[f'{name}_broken']:,} cycles."
                )
        if state["busy_after_last"]:
            problems.append("After the last frame the design gave or took words, or did not become idle.")
        words = np.fromfile(folder / "events.bin", "<u4").reshape(-1, 4).astype(np.int64)
        events = np.column_stack([words[:, 1], *_of_kinds(words[:, 2]), *_of_kinds(words[:, 3])])
        of_frame = [events[words[:, 0] == frame] for frame in range(len(order))]
        products, others = (len(names) for _, names in self._names)
        for frame, rows in zip(order, of_frame, strict=True):
            last = rows[-1, 1:].tolist() if len(rows) else [0, 0, 0, 0]
            if last != [products, others, products, others]:
                problems.append(
                    f"The frame of {frame.name}, ended with {last[0]} matrix products begun and {last[2]} "
                    f"complete, of {products}, and {last[1]} other layers begun and {last[3]} complete, of "
                    f"{others}."
                )
        return Frames(
            order=order,
            result=_words(folder / "result.bin", counts[:, -2], self.sizes.classes),
            trace=_words(folder / "trace.bin", counts[traced, -1], self.sizes.trace_words),
            cycles=table[:, 0].tolist(),
            events=of_frame,
            problems=problems,
            total_cycles=int(table[:, 0].sum()),
            seconds=float(state["seconds"]),
        )

    def _miscounted(self, counts: np.ndarray, order: Sequence[OrderedFrame]) -> Iterator[str]:
        inputs = len(self.design.inputs)
        for frame, row in zip(order, counts, strict=True):
            wanted = self.sizes.words(self.design, frame)
            for index, (name, count, want) in enumerate(zip(self.design.streams, row, wanted, strict=True)):
                if count != want:
                    did = "taken from" if index < inputs else "given to"
                    yield f"The frame of {frame.name}, ended with {count:,} words {did} {name}, of {want:,}."


def _of_kinds(counts: Any) -> tuple[Any, Any]:
    """Matrix products and other layers from the design's counts, of one cycle or an array of them."""
    return counts & 0xFFFF, counts >> 16


def _last(names: Sequence[str], count: int) -> str:
    return f" (last {names[count - 1]})" if 0 < count <= len(names) else ""


def _counts(streams: Sequence[tuple[str, int, int]]) -> str:
    return ", ".join(f"{name} {passed:,} of {wanted:,}" for name, passed, wanted in streams)


def _pack(words: Sequence[int]) -> int:
    return sum(word << 32 * i for i, word in enumerate(words))


def _unpack(value: int, count: int) -> list[int]:
    return [value >> 32 * i & 0xFFFFFFFF for i in range(count)]


def _words(path: Path, counts: np.ndarray, width: int) -> np.ndarray:
    """The words of each frame, int16 ``[frames, width]``; missing ones are 0, and their count is reported."""
    words = np.fromfile(path, "<u4").astype(np.uint16).view(np.int16)
    rows = np.zeros((len(counts), width), np.int16)
    ends = np.cumsum(counts)
    for row, end, count in zip(rows, ends, counts, strict=True):
        part = words[end - count : end][:width]
        row[: len(part)] = part
    return rows


def _read_progress(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not there yet, or being written
        return 0
