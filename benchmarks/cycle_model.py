"""Errors of the cycle model and of the schedule simulation, against RTL simulation.

Networks of one block, random weights, on accelerators that differ in tile, rows drained per cycle and weight
ports. Each is simulated for whole frames by Verilator, in the steady state; its logits must equal the golden
graph's. A layer's cycles run from its begin, or from the completion of the layer before it in its lane where
that is later, to its completion; GEMMs begin with their first step. The same holds for the model. The error
of a layer is relative to its RTL cycles, however few these are; all layers count the same.

    python benchmarks/cycle_model.py [--json benchmarks/results/cycle_model.json]

The JSON holds errors and frames; a CSV file beside it, every layer.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from qvit_hls.flow.generate import Target, compile_model, generate
from qvit_hls.flow.output import write_file, write_json
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.descriptor import Destination, Unit
from qvit_hls.hw.program import Layer, Program
from qvit_hls.hw.requirements import image_pixels, sized
from qvit_hls.hw.schedule import schedule
from qvit_hls.hw.timing.analytic import frame_timing
from qvit_hls.hw.timing.network import NetworkShape
from qvit_hls.hw.timing.simulate import simulate
from qvit_hls.hw.timing.tiles import Tiles
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model
from qvit_hls.verify.cosim import run_cosim
from qvit_hls.verify.cycles import FrameCycles

RESULT = Path(__file__).parent / "results" / "cycle_model.json"
ACTIVATION_BITS = 7
#: Percentiles of absolute errors.
SHARES = (50, 95, 100)
#: Left out: loads of the image and of the constants. Their lane sees them for 2 cycles: the image has come
#: while the frame before ran, and the constants' time in the stream is in the begin of the next layer.
_LEFT_OUT = (Unit.LOAD_IMAGE, Unit.LOAD_RESIDUAL)
#: Of every network: widest memories, so that all run on one accelerator.
_LARGEST = (
    *("activation_depth", "digit_depth", "wide_depth", "weight_depth", "max_row_tiles", "table_bits"),
    *("max_tokens", "max_channels", "accumulator_bits"),
    *("program_words", "stream_words", "image_words", "result_words"),
)


@dataclass(frozen=True)
class Accelerator:
    """What differs between accelerators."""

    tile: tuple[int, int, int]
    drain_rows: int
    weight_ports: int

    def __str__(self) -> str:
        """Shown to people."""
        tile = "x".join(map(str, self.tile))
        return f"{tile}, {self.drain_rows} rows drain, {self.weight_ports} ports"


ACCELERATORS = (
    Accelerator((16, 32, 8), drain_rows=2, weight_ports=2),
    Accelerator((24, 20, 4), drain_rows=2, weight_ports=1),
    Accelerator((8, 22, 8), drain_rows=1, weight_ports=1),
    Accelerator((32, 16, 8), drain_rows=2, weight_ports=4),
)


def network(
    image: int, patch: int, embed: int, heads: int, head_dim: int, mlp: int, share: float, **other: Any
) -> VitConfig:
    """One block."""
    block = BlockConfig(heads=heads, head_dim=head_dim, mlp_hidden=mlp)
    return VitConfig(
        image_size=image,
        channels=3,
        patch_size=patch,
        classes=40,
        embed_dim=embed,
        blocks=(block,),
        eight_bit_share=share,
        activation_bits=ACTIVATION_BITS,
        **other,
    )


NETWORKS = {
    "a": network(32, 4, 96, 3, 32, 384, 0.25),
    "b": network(32, 4, 192, 3, 64, 768, 0.0),
    "c": network(48, 4, 96, 2, 48, 288, 0.5),
    "d": network(56, 4, 128, 2, 64, 512, 0.25),
    "e": network(64, 8, 192, 3, 64, 512, 1.0, pooling="mean"),
    "f": network(40, 4, 160, 4, 40, 640, 0.1),
    "g": network(56, 4, 192, 3, 64, 768, 0.25),
}


@dataclass(frozen=True)
class Measured:
    """One layer on one accelerator, in cycles."""

    accelerator: str
    network: str
    layer: str
    kind: str
    shape: tuple[int, ...]
    rtl: int
    model: float
    simulation: int

    @property
    def error(self) -> float:
        """Of the model, relative to the RTL."""
        return self.model / self.rtl - 1

    @property
    def simulation_error(self) -> float:
        """Of the schedule simulation, relative to the RTL."""
        return self.simulation / self.rtl - 1


@dataclass(frozen=True)
class Frame:
    """A whole frame on one accelerator, in cycles."""

    accelerator: str
    network: str
    rtl: int
    model: float
    simulation: int


def kind_of(layer: Layer) -> str:
    """What a layer is."""
    d = layer.descriptor
    if d.unit == Unit.GEMM:
        if d.destination in (Destination.SCORES, Destination.SCORES_ADD):
            return "scores"
        if d.digit_source:
            return "context"
        return "linear"
    return Unit(d.unit).name.lower()


def shape_of(layer: Layer) -> tuple[int, ...]:
    """What makes layers of a kind different."""
    d = layer.descriptor
    return d.tokens, d.k, d.rows, d.rows8, int(d.destination)


def common_accelerator(models: Iterable[Path], wanted: Accelerator) -> AcceleratorConfig:
    """The accelerator with memories for every model."""
    graphs = [compile_model(path, False, lambda stage, done, total: None) for path in models]
    t_n, t_m, t_k = wanted.tile
    memories = ("activation_depth", "digit_depth", "wide_depth", "weight_depth", "max_row_tiles")
    unsized: dict[str, Any] = dict.fromkeys(memories, 1)
    config = AcceleratorConfig(
        mac="rtl",
        tile_tokens=t_n,
        tile_rows=t_m,
        tile_depth=t_k,
        activation_bits=ACTIVATION_BITS,
        dsp_rows=0,
        weight_ports=wanted.weight_ports,
        drain_rows=wanted.drain_rows,
        table_bits=8,
        max_tokens=1,
        max_channels=1,
        image_pixels=min(image_pixels(graph, t_k) for graph in graphs),
        accumulator_bits=32,
        softmax=True,
        layer_norm=True,
        mean_tokens=True,
        **unsized,
    )
    each = [sized(config, graph, schedule(graph, config)) for graph in graphs]
    largest = {name: max(getattr(one, name) for one in each) for name in _LARGEST}
    return AcceleratorConfig.model_validate({**config.model_dump(), **largest})


def rtl_layer_cycles(frame: FrameCycles) -> list[int]:
    """Each layer's cycles, as the model counts them."""
    before = {True: 0, False: 0}
    result = []
    for timed in frame.layers:
        gemm = timed.layer.unit == "gemm"
        result.append(timed.complete - max(timed.begin, before[gemm]))
        before[gemm] = timed.complete
    return result


def simulated_layer_cycles(begin: Sequence[int], complete: Sequence[int], gemms: Sequence[bool]) -> list[int]:
    """The same of a timeline."""
    before = {True: 0, False: 0}
    result = []
    for start, end, gemm in zip(begin, complete, gemms, strict=True):
        result.append(end - max(start, before[gemm]))
        before[gemm] = end
    return result


@dataclass(frozen=True, eq=False)
class Simulated:
    """A network that has been simulated."""

    program: Program
    cycles: FrameCycles


@one_torch_thread()
def simulate_rtl(networks: dict[str, VitConfig], wanted: Accelerator, folder: Path) -> dict[str, Simulated]:
    """Simulate every network on one accelerator, whose simulation is built once."""
    models = {name: folder / f"{name}.pt" for name in networks}
    for name, config in networks.items():
        save_model(random_model(config, seed=1), models[name])
    board = Target.on_board()
    target = Target(board.board, board.clock_mhz, common_accelerator(models.values(), wanted))
    result = {}
    built: Path | None = None
    for name, model in models.items():
        build = folder / f"build-{name}"
        program = generate(model, build, target).program
        if built is not None:
            shutil.move(built / "cosim", build / "cosim")
        built = build
        report = run_cosim(build, count=2, traced=False)
        if not report.passed or report.cycles is None:
            raise SystemExit(f"{name} on {wanted}: the RTL differs from the golden graph: {report.problems}")
        result[name] = Simulated(program, report.cycles)
    return result


def compare(simulated: dict[str, Simulated], wanted: Accelerator) -> tuple[list[Measured], list[Frame]]:
    """The model and the schedule simulation beside what the RTL took."""
    layers, frames = [], []
    for name, one in simulated.items():
        program = one.program
        shape, tiles = NetworkShape.of_program(program), Tiles.of_config(program.config)
        timing, timeline = frame_timing(shape, tiles), simulate(shape, tiles)
        gemms = [layer.descriptor.unit == Unit.GEMM for layer in program.layers]
        rows = zip(
            program.layers,
            rtl_layer_cycles(one.cycles),
            timing.layer_cycles,
            simulated_layer_cycles(timeline.begin, timeline.complete, gemms),
            strict=True,
        )
        layers += [
            Measured(
                str(wanted), name, layer.name, kind_of(layer), shape_of(layer), rtl, float(model), by_slots
            )
            for layer, rtl, model, by_slots in rows
            if layer.descriptor.unit not in _LEFT_OUT
        ]
        frames.append(Frame(str(wanted), name, one.cycles.total, float(timing.cycles), timeline.cycles))
    return layers, frames


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--json", type=Path, default=RESULT)
    arguments = parser.parse_args()
    networks = {name: NETWORKS[name] for name in arguments.networks}
    layers: list[Measured] = []
    frames: list[Frame] = []
    console = Console()
    for accelerator in ACCELERATORS:
        with tempfile.TemporaryDirectory() as folder:
            simulated = simulate_rtl(networks, accelerator, Path(folder))
        found, whole = compare(simulated, accelerator)
        layers += found
        frames += whole
    console.print(layer_table(layers))
    console.print(frame_table(frames))
    shapes = {(item.kind, item.shape) for item in layers}
    console.print(f"{len(shapes)} layer shapes on {len(ACCELERATORS)} accelerators")
    write_results(layers, frames, arguments.json)


def percentile(errors: Iterable[float], share: float) -> float:
    """Of absolute errors."""
    return float(np.percentile(np.abs(list(errors)), share))


def layer_table(layers: Sequence[Measured]) -> Table:
    """Errors per kind of layer."""
    table = Table(title="Cycles per layer against RTL simulation")
    columns = (
        "kind",
        "layers",
        "shapes",
        "median",
        "95th percentile",
        "largest",
        "simulation: 95th",
        "largest",
    )
    for heading in columns:
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for kind in [*dict.fromkeys(item.kind for item in layers), "all"]:
        mine = [item for item in layers if kind in (item.kind, "all")]
        errors = [item.error for item in mine]
        simulated = [item.simulation_error for item in mine]
        table.add_row(
            kind,
            str(len(mine)),
            str(len({(item.kind, item.shape) for item in mine})),
            *(f"{percentile(errors, share):.2%}" for share in SHARES),
            *(f"{percentile(simulated, share):.2%}" for share in (95, 100)),
        )
    return table


def frame_table(frames: Sequence[Frame]) -> Table:
    """Whole frames."""
    table = Table(title="Cycles per frame against RTL simulation")
    for heading in ("accelerator", "network", "RTL", "model", "error", "simulation", "error"):
        table.add_column(heading, justify="left" if heading in ("accelerator", "network") else "right")
    for frame in frames:
        table.add_row(
            frame.accelerator,
            frame.network,
            f"{frame.rtl:,}",
            f"{frame.model:,.0f}",
            f"{frame.model / frame.rtl - 1:+.2%}",
            f"{frame.simulation:,}",
            f"{frame.simulation / frame.rtl - 1:+.2%}",
        )
    return table


def write_results(layers: Sequence[Measured], frames: Sequence[Frame], path: Path) -> None:
    """Everything measured: errors and frames as JSON, all layers as CSV beside it."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow([f.name for f in fields(Measured)])
    for item in layers:
        values = vars(item) | {"shape": " ".join(map(str, item.shape)), "model": f"{item.model:.1f}"}
        writer.writerow(values.values())
    write_file(path.with_suffix(".csv"), rows.getvalue().encode())
    write_json(path, result_json(layers, frames))


def result_json(layers: Sequence[Measured], frames: Sequence[Frame]) -> dict[str, Any]:
    """Errors and frames."""
    kinds = dict.fromkeys(item.kind for item in layers)
    return {
        "benchmark": "cycle_model",
        "accelerators": [str(accelerator) for accelerator in ACCELERATORS],
        "shapes": len({(item.kind, item.shape) for item in layers}),
        "error": {str(share): percentile((x.error for x in layers), share) for share in SHARES},
        "simulation_error": {
            str(share): percentile((x.simulation_error for x in layers), share) for share in SHARES
        },
        "layers": len(layers),
        "error_by_kind": {
            kind: {
                str(share): percentile((x.error for x in layers if x.kind == kind), share) for share in SHARES
            }
            for kind in kinds
        },
        "frames": [vars(item) for item in frames],
    }


if __name__ == "__main__":
    main()
