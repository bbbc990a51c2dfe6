"""Speed of gen, of the functional C-simulation and of the integer reference, at a DeiT shape.

A random network with mixed rows is generated through the command line, compiled, and simulated on random
images on all cores, with every layer traced and compared as ``qvit-hls csim`` always does. An 8-bit weight
counts as two atom multiply-accumulates.

The dense layers of one block (q, k, v, proj, fc1, fc2) are also timed alone, in one process: the same
accelerator runs a program of just those descriptors.

    python benchmarks/csim_speed.py [--shape deit_tiny] [--bits 7] [--images 16] [--json FILE.json]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from qvit_hls.codegen.project import frame_data
from qvit_hls.flow.generate import Target
from qvit_hls.flow.images import random_images
from qvit_hls.flow.output import write_json
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.hw.cycles import estimate
from qvit_hls.hw.program import Program
from qvit_hls.ir.file_format import load_graph
from qvit_hls.nets import presets
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.random import random_model
from qvit_hls.verify.csim import run_csim

_REFERENCE_IMAGES = 3
_DENSE = re.compile(r"blocks\.0\.(attn\.([qk]|v\[\d+\]|proj)|mlp\.fc[12])")
_DENSE_FRAMES = 40


def measure(shape: str, bits: int, images: int, folder: Path) -> dict[str, float | int | str]:
    """Generate, simulate and evaluate one network; all times in seconds."""
    model, build = folder / f"{shape}.pt", folder / "build"
    save_model(random_model(getattr(presets, shape)(activation_bits=bits), seed=0), model)
    started = time.perf_counter()
    command = [sys.executable, "-m", "qvit_hls", "gen", str(model), "-o", str(build), "--quiet"]
    subprocess.run(command, check=True)
    gen_seconds = time.perf_counter() - started

    graph = load_graph(build)
    target = Target.of_build(build)
    frame = estimate(target.program(graph), target.board, target.clock_mhz)
    report = run_csim(build, count=images)
    if not report.passed:
        raise SystemExit(f"{shape}, A = {bits}: the C-simulation differs from the golden graph")

    batch = torch.from_numpy(random_images(graph, _REFERENCE_IMAGES, seed=1))
    graph(batch[:1])
    with one_torch_thread():
        started = time.perf_counter()
        for image in batch:
            graph(image[None])
        reference_seconds = (time.perf_counter() - started) / _REFERENCE_IMAGES

    dense_macs, dense_seconds = measure_dense(target.program(graph), report.program.path, folder / "dense")
    per_second = images / report.simulation_seconds
    return {
        "shape": shape,
        "activation_bits": bits,
        "cores": os.cpu_count() or 1,
        "images": images,
        "macs_per_image": sum(layer.macs for layer in frame.layers),
        "atom_macs_per_image": frame.atom_macs,
        "gen_seconds": gen_seconds,
        "compile_seconds": report.program.seconds or 0.0,
        "simulation_seconds_per_image": 1 / per_second,
        "macs_per_second": per_second * sum(layer.macs for layer in frame.layers),
        "atom_macs_per_second": per_second * frame.atom_macs,
        "dense_macs": dense_macs,
        "dense_macs_per_second_one_core": dense_macs / dense_seconds,
        "reference_seconds_per_image": reference_seconds,
        "values_compared": sum(layer.values for layer in report.layers),
        "mismatches": sum(layer.mismatches for layer in report.layers),
    }


def measure_dense(program: Program, simulator: Path, folder: Path) -> tuple[int, float]:
    """Multiply-accumulates of one block's dense layers, and the C-simulation's seconds for them."""
    layers = tuple(layer for layer in program.layers if _DENSE.fullmatch(layer.name))
    folder.mkdir()
    for name, content in frame_data(replace(program, layers=layers)).items():
        (folder / name).write_bytes(content)
    channels, height, width = program.image_shape
    images = folder / "images.bin"
    images.write_bytes(bytes(channels * height * width * (_DENSE_FRAMES + 1)))
    seconds = []
    for count in (1, _DENSE_FRAMES + 1):
        started = time.perf_counter()
        command = [str(simulator), str(folder), str(images), "-", str(count)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return sum(layer.macs for layer in layers), (seconds[1] - seconds[0]) / _DENSE_FRAMES


def main() -> None:
    """Measure, print a table, and write JSON when asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="deit_tiny", choices=("deit_tiny", "deit_small"))
    parser.add_argument("--bits", type=int, default=7, help="activation bits")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        numbers = measure(arguments.shape, arguments.bits, arguments.images, Path(folder))
    table = Table(title=f"{numbers['shape']}, A = {numbers['activation_bits']}, {numbers['cores']} cores")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("target", justify="right")
    table.add_row("gen", f"{numbers['gen_seconds']:.1f} s", "20 s")
    table.add_row("kernel compile", f"{numbers['compile_seconds']:.1f} s", "60 s")
    table.add_row("functional C-simulation", f"{numbers['simulation_seconds_per_image']:.2f} s per image", "")
    table.add_row("", f"{float(numbers['atom_macs_per_second']) / 1e9:.2f} G atom-MAC/s", "2 G atom-MAC/s")
    table.add_row(
        "integer reference", f"{numbers['reference_seconds_per_image']:.2f} s per image", "2 s per image"
    )
    dense = f"{float(numbers['dense_macs_per_second_one_core']) / 1e9:.2f} G MAC/s"
    table.add_row("one block's dense layers alone, one core", dense, "")
    table.add_row("values compared", f"{numbers['values_compared']:,}", "")
    table.add_row("mismatches", f"{numbers['mismatches']}", "0")
    Console(width=100, highlight=False).print(table)
    if arguments.json is not None:
        write_json(arguments.json, numbers)


if __name__ == "__main__":
    main()
