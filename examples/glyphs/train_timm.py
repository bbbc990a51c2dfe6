"""Train a plain float ViT of timm on the glyphs, as somebody would who has not heard of this project.

    python examples/glyphs/train_timm.py
    python examples/glyphs/train_timm.py --small --steps 4000

Writes a folder as timm does for the Hugging Face hub: ``config.json`` and ``model.safetensors``.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from qvit_hls.frontend.torchvision_operators import declare_missing_operators
from qvit_hls.train.augment import AFFINE_DRAWS, random_affine

TASK = {"num_classes": 67, "img_size": 64, "in_chans": 1}
PLAIN = {**TASK, "embed_dim": 96, "depth": 6, "num_heads": 3}
#: With few enough weights that their rounding costs accuracy.
SMALL = {**TASK, "embed_dim": 40, "depth": 4, "num_heads": 2}
LEARNING_RATE = 2e-3
WARMUP_STEPS = 200
BATCH = 128


def network(arguments: dict[str, int]) -> torch.nn.Module:
    import timm

    model: torch.nn.Module = timm.create_model("vit_tiny_patch16_224", **arguments)
    return model


def split(folder: Path, name: str) -> tuple[Tensor, Tensor]:
    """Images float ``[n, 1, 64, 64]``, normalised, and labels int64 ``[n]``."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        pixels, labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])
    return pixels[:, None].float().div_(127.5).sub_(1), labels


@torch.no_grad()
def top1(model: torch.nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    right = sum(
        int((model(x).argmax(1) == y).sum())
        for x, y in zip(images.split(256), labels.split(256), strict=True)
    )
    return right / len(labels)


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path),
              default=Path("build/glyphs"), show_default=True, help="What render.py wrote.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path),
              help="By default timm_vit or timm_vit_small, beside this file.")  # fmt: skip
@click.option("--small", is_flag=True, help="40 channels and 4 blocks in place of 96 and 6.")
@click.option("--steps", default=6000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(data: Path, out: Path | None, small: bool, steps: int, seed: int) -> None:
    arguments = SMALL if small else PLAIN
    out = out or Path(__file__).parent / ("timm_vit_small" if small else "timm_vit")
    declare_missing_operators()
    from timm.models import save_for_hf

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    images, labels = split(data, "train")
    model = network(arguments)
    decaying = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decaying, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
        lr=LEARNING_RATE,
    )
    fill = torch.zeros(1)
    order: list[int] = []
    model.train()
    for step in track(range(steps), description="training"):
        rate = min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate
        if len(order) < BATCH:
            order = torch.randperm(len(labels)).tolist()
        chosen, order = order[:BATCH], order[BATCH:]
        draws = torch.rand(BATCH, AFFINE_DRAWS) * 2 - 1
        batch = random_affine(images[chosen], draws, degrees=5, shift=2, zoom=0.05, fill=fill)
        loss = functional.cross_entropy(model(batch), labels[chosen], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 500 == 0:
            click.echo(f"step {step + 1}: loss {loss.item():.3f}")
    for name in ("validation", "test"):
        click.echo(f"{name}: {top1(model, *split(data, name)):.2%}")
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        save_for_hf(model, folder, model_args=arguments, safe_serialization=True)
        out.mkdir(exist_ok=True)
        for file in Path(folder).iterdir():
            file.replace(out / file.name)


if __name__ == "__main__":
    main()
