"""A Vision Transformer of one's own, trained in float32, and an accelerator for it.

    python examples/own_vit/own_vit.py -o build/own_vit.pt
    qvit-hls gen build/own_vit.pt -o build/own_vit && qvit-hls csim build/own_vit

The network knows nothing of quantization, and is written in another way than those of the libraries: patches
by reshapes, a LayerNorm before and behind their layer, attention with ``einsum`` and normalised queries and
keys, both branches side by side, the mean of the tokens without a LayerNorm behind it.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from qvit_hls.flow.graph_model import save_graph_model
from qvit_hls.flow.quantize import quantize_module
from qvit_hls.ir.lowering import lower

DIGITS = Path(__file__).parents[1] / "digits"
PATCH, CHANNELS, HEADS, BLOCKS = 2, 48, 4, 3


class Attention(nn.Module):
    """Self-attention with normalised queries and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(CHANNELS, 3 * CHANNELS, bias=False), nn.Linear(CHANNELS, CHANNELS)
        self.q_norm, self.k_norm = (nn.LayerNorm(CHANNELS // HEADS) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        scores = torch.einsum("bhid,bhjd->bhij", self.q_norm(q), self.k_norm(k)) / (CHANNELS // HEADS) ** 0.5
        return self.out(torch.einsum("bhij,bhjd->bihd", scores.softmax(-1), v).flatten(2))


class Block(nn.Module):
    """Attention and MLP of one input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(CHANNELS), Attention()
        self.mlp = nn.Sequential(
            nn.Linear(CHANNELS, 2 * CHANNELS), nn.Hardswish(), nn.Linear(2 * CHANNELS, CHANNELS)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return x + self.attention(y) + self.mlp(y)


class OwnVit(nn.Module):
    """Grey images of 8 x 8, ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(PATCH**2), nn.LayerNorm(CHANNELS)
        self.patches = nn.Linear(PATCH**2, CHANNELS)
        self.position = nn.Parameter(torch.randn(1, (8 // PATCH) ** 2, CHANNELS) * 0.1)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.head = nn.Linear(CHANNELS, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = images.reshape(-1, 8 // PATCH, PATCH, 8 // PATCH, PATCH).transpose(2, 3).flatten(3).flatten(1, 2)
        return self.head(self.blocks(self.after(self.patches(x)) + self.position).mean(1))


def split(name: str) -> tuple[Tensor, Tensor]:
    """Images float ``[n, 1, 8, 8]`` and labels of scikit-learn's digits."""
    with np.load(DIGITS / f"{name}.npz", allow_pickle=False) as file:
        return torch.from_numpy(file["images"]).float(), torch.from_numpy(file["labels"]).long()


@torch.no_grad()
def top1(logits: Tensor, labels: Tensor) -> float:
    return float((logits.flatten(1).argmax(1) == labels).double().mean())


@click.command(help=__doc__)
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--steps", default=1500, show_default=True)
def main(out: Path, steps: int) -> None:
    torch.manual_seed(0)
    images, labels = split("train")
    model = OwnVit()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        chosen = torch.randint(len(images), (128,))
        functional.cross_entropy(model(images[chosen]), labels[chosen], label_smoothing=0.1).backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()
    _, quantized = quantize_module(model, images[:128], name="own_vit")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_graph_model(quantized.graph, out)
    test, labels = split("test")
    with torch.no_grad():
        logits = model(test)
    click.echo(f"float: {top1(logits, labels):.2%} of {len(test)} test images")
    click.echo(
        f"integer: {top1(lower(quantized.graph)(test), labels):.2%}, {quantized.average_bits:.2f}-bit weights"
    )


if __name__ == "__main__":
    main()
