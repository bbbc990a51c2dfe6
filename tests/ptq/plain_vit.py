"""A small float Vision Transformer in plain torch, as a user's own module would be."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from qvit_hls.frontend.compile import float_graph
from qvit_hls.ir.graph import Graph

SIZE, CHANNELS, PATCH, CLASSES = 8, 3, 4, 5


class PlainBlock(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.q, self.k, self.v, self.proj = (nn.Linear(dim, dim) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        q, k, v = (
            layer(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        scores = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
        x = x + self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class PlainVit(nn.Module):
    def __init__(self, dim: int = 16, heads: int = 2, hidden: int = 24, blocks: int = 2, mean: bool = False):
        super().__init__()
        self.patch = nn.Conv2d(CHANNELS, dim, PATCH, PATCH)
        self.cls = None if mean else nn.Parameter(torch.randn(1, 1, dim) * 0.2)
        tokens = (SIZE // PATCH) ** 2 + (not mean)
        self.position = nn.Parameter(torch.randn(1, tokens, dim) * 0.2)
        self.blocks = nn.Sequential(*(PlainBlock(dim, heads, hidden) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch(images).flatten(2).transpose(1, 2)
        if self.cls is not None:
            x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.blocks(x + self.position)
        x = x.mean(1) if self.cls is None else x[:, 0]
        return self.head(self.norm(x))


def plain_vit(seed: int = 0, mean: bool = False, blocks: int = 2) -> PlainVit:
    """With random weights; a few channels of every LayerNorm stand out, as trained ones do."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = PlainVit(mean=mean, blocks=blocks)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.LayerNorm):
                    module.weight[:2] *= 6
                    module.bias += torch.randn_like(module.bias) * 0.1
    return model.eval()


def plain_graph(seed: int = 0, mean: bool = False, blocks: int = 2) -> Graph:
    return float_graph(plain_vit(seed, mean, blocks), torch.zeros(1, CHANNELS, SIZE, SIZE), "plain")


def random_images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, CHANNELS, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
