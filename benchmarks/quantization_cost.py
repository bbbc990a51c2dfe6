"""Seconds and memory that quantization after training takes, method by method, at DeiT shapes.

Each cell is a process of its own that runs ``qvit-hls quantize`` on a timm model with random weights: it
traces, calibrates, quantizes, compares the integer graph with the float one and writes the model file.
Seconds are those on the clock, and of one core as the system counts them for the process; memory is the
largest resident set that it has seen of it.

    python benchmarks/quantization_cost.py [--model deit_tiny] [--method mse] [--json FILE]

Cells that FILE holds are not measured again, so a run that was stopped goes on; ``--again`` measures them.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file

from qvit_hls.flow.output import write_json
from qvit_hls.frontend.torchvision_operators import declare_missing_operators
from qvit_hls.ptq.methods import METHODS

RESULT = Path(__file__).parent / "results" / "quantization_cost.json"
#: What the table calls the models of timm.
MODELS = {"deit_tiny": "deit_tiny_patch16_224", "deit_base": "deit_base_patch16_224"}
IMAGES = 32
#: Memory that quantizing DeiT-Base may take, bytes.
MOST_MEMORY = 8 * 2**30
#: Bytes of the unit of ``ru_maxrss``.
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


def write_inputs(folder: Path, model: str) -> None:
    """Random weights and images, always the same: ``weights.safetensors`` and ``images.npz``."""
    torch.manual_seed(0)
    declare_missing_operators()
    import timm

    network = timm.create_model(MODELS[model], pretrained=False)
    save_file(network.state_dict(), folder / "weights.safetensors")
    images = np.random.default_rng(0).normal(size=(IMAGES, 3, 224, 224)).astype(np.float32)
    np.savez(folder / "images.npz", images=images)


def quantize_here(folder: Path, model: str, method: str) -> None:
    """Quantize in this process, and print what it took as JSON."""
    from qvit_hls.cli.main import main as qvit_hls

    begin = time.perf_counter()
    qvit_hls(
        [
            "quantize", f"timm:{MODELS[model]}", "--weights", str(folder / "weights.safetensors"),
            "--calib", str(folder / "images.npz"), "--method", method, "--quiet",
            "-o", str(folder / "quantized.pt"), "--report", str(folder / "report.json"),
        ],
        standalone_mode=False,
    )  # fmt: skip
    seconds = time.perf_counter() - begin
    layers = json.loads((folder / "report.json").read_text())["layers"]
    ratios = {layer["name"]: layer["sqnr_db"] for layer in layers}
    usage = resource.getrusage(resource.RUSAGE_SELF)
    click.echo(
        json.dumps(
            {
                "seconds": seconds,
                "core_seconds": usage.ru_utime + usage.ru_stime,
                "peak_bytes": usage.ru_maxrss * _MAXRSS_UNIT,
                "worst_sqnr_db": min(ratios.values()),
            }
        )
    )


def measured(model: str, method: str) -> dict[str, float]:
    """Of a process that does nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder), model)
        command = [
            sys.executable,
            __file__,
            "--in-this-process",
            folder,
            "--model",
            model,
            "--method",
            method,
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=os.environ)
        if done.returncode != 0:
            raise click.ClickException(f"{model} by {method} ended with exit code {done.returncode}.")
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return result


def table_of(cells: dict[str, dict[str, dict[str, float]]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("Method")
    for model in MODELS:
        for unit in ("s", "core s", "GiB"):
            table.add_column(f"{model}, {unit}", justify="right")
    for method in METHODS:
        row = [method]
        for model in MODELS:
            cell = cells.get(model, {}).get(method)
            row += [""] * 3 if cell is None else _texts(cell)
        table.add_row(*row)
    return table


def _texts(cell: dict[str, float]) -> list[str]:
    return [f"{cell['seconds']:.0f}", f"{cell['core_seconds']:.0f}", f"{cell['peak_bytes'] / 2**30:.2f}"]


@click.command(help=__doc__)
@click.option("--model", "models", type=click.Choice(list(MODELS)), multiple=True, help="Only these.")
@click.option("--method", "methods", type=click.Choice(list(METHODS)), multiple=True, help="Only these.")
@click.option("--json", "path", type=click.Path(path_type=Path), default=RESULT, show_default=True)
@click.option("--again", is_flag=True, help="Measure also what the file holds.")
@click.option("--in-this-process", type=click.Path(path_type=Path), hidden=True)
def main(
    models: tuple[str, ...],
    methods: tuple[str, ...],
    path: Path,
    again: bool,
    in_this_process: Path | None,
) -> None:
    if in_this_process is not None:
        quantize_here(in_this_process, models[0], methods[0])
        return
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    cells = found.setdefault("cells", {})
    found |= {"images": IMAGES, "machine": platform.machine(), "torch": torch.__version__}
    for model in models or MODELS:
        for method in methods or METHODS:
            if method in cells.get(model, {}) and not again:
                continue
            cells.setdefault(model, {})[method] = measured(model, method)
            write_json(path, found)
            click.echo(f"{model} {method}: {cells[model][method]['seconds']:.1f} s", err=True)
    Console().print(table_of(cells))
    too_much = [
        f"{model} by {method}"
        for model, row in cells.items()
        for method, cell in row.items()
        if cell["peak_bytes"] > MOST_MEMORY
    ]
    if too_much:
        raise click.ClickException(f"More than {MOST_MEMORY / 2**30:.0f} GiB: {', '.join(too_much)}.")


if __name__ == "__main__":
    main()
