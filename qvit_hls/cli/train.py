"""``qvit-hls train``: a supernet of a search space, or a network of its own."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Train a supernet of a search space, or tune a model.")
@click.argument("what", metavar="SPACE|MODEL.pt")
@click.option("--data", required=True, metavar="DATA",
              help="Training images: .npz file, folder with a folder per class, hf:NAME.")  # fmt: skip
@click.option("--val", "validation", metavar="DATA", help="Images to measure accuracies on.")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
              help="Folder of the run: checkpoints, metrics, and supernet.pt or model.pt.")  # fmt: skip
@click.option("--config", "settings", type=click.Path(path_type=Path), metavar="FILE.yaml",
              help="Settings of the run; options replace what it says.")  # fmt: skip
@click.option("--steps", type=int, help="Optimizer's steps.")
@click.option("--batch-size", type=int, help="Images per step, over all processes. [default: 64]")
@click.option("--learning-rate", type=float, help="Highest learning rate. [default: 0.001]")
@click.option("--float-share", type=float,
              help="Share of the steps before quantization. [default: 0.5; 0 for a model]")  # fmt: skip
@click.option("--augmentation", metavar="NAME", help="none, affine or deit. [default: none]")
@click.option("--precision", metavar="TYPE", help="float32, bfloat16 or float16. [default: float32]")
@click.option("--seed", type=int, help="Of weights, order and augmentation. [default: 0]")
@click.option("--set", "others", multiple=True, metavar="NAME=VALUE",
              help="Any other setting, such as ema_decay=0.9999; repeatable.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint of the run in FOLDER.")
@click.option("--resume-from", type=click.Path(path_type=Path), metavar="FILE",
              help="Go on from this checkpoint.")  # fmt: skip
@click.option("--cpu", is_flag=True, help="Compute on the CPU even where there is a GPU.")
@click.option("--quiet", is_flag=True, help="No progress and no summary.")
def train(
    what: str,
    data: str,
    validation: str | None,
    out: Path,
    settings: Path | None,
    others: tuple[str, ...],
    resume: bool,
    resume_from: Path | None,
    cpu: bool,
    quiet: bool,
    **options: object,
) -> None:
    """Train a supernet of SPACE (a name or a .yaml file), or tune the network in MODEL.pt.

    A run that was stopped, in whatever way, goes on with --resume as if it had not been. With several
    processes: accelerate launch --multi_gpu --num_processes N -m qvit_hls train ...
    """
    from qvit_hls.cli.console import results
    from qvit_hls.flow.train import Resume, train
    from qvit_hls.report.train import trained_lines
    from qvit_hls.train.progress import training_progress
    from qvit_hls.train.settings import parse_changes

    changes = {name: value for name, value in options.items() if value is not None}
    with training_progress(quiet) as progress:
        trained = train(
            what,
            data,
            out,
            validation=validation,
            settings=settings,
            changes={**parse_changes(others), **changes},
            resume=Resume(resume_from) if resume or resume_from is not None else None,
            cpu=cpu,
            progress=progress,
        )
    if trained is not None and not quiet:
        for line in trained_lines(trained):
            results().print(line)
