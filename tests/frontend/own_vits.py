"""ViTs as people write them for themselves: each of a few parts in another way than the libraries have it."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS, HEADS, PATCH = 24, 3, 4


class ReshapedPatches(nn.Module):
    """Patches by reshapes, colours last in each; normalised before and behind the layer (vit-pytorch)."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(3 * PATCH**2), nn.LayerNorm(CHANNELS)
        self.layer = nn.Linear(3 * PATCH**2, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        x = x.reshape(b, c, h // PATCH, PATCH, w // PATCH, PATCH).permute(0, 2, 4, 3, 5, 1)
        return self.after(self.layer(self.before(x.reshape(b, -1, PATCH * PATCH * c))))


class UnfoldedPatches(nn.Module):
    """Patches by ``functional.unfold``."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * PATCH**2, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(functional.unfold(x, PATCH, stride=PATCH).transpose(1, 2))


class SlidingPatches(UnfoldedPatches):
    """Patches by ``Tensor.unfold``."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).permute(0, 2, 3, 1, 4, 5)
        return self.layer(x.flatten(3).flatten(1, 2))


class ChannelsLastPatches(nn.Module):
    """A convolution whose channels are put last before its places are joined."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, CHANNELS, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).permute(0, 2, 3, 1).flatten(1, 2)


class EinsumAttention(nn.Module):
    """Attention in the notation of indices, without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(CHANNELS, 3 * CHANNELS, bias=False), nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        scores = torch.einsum("bhid,bhjd->bhij", q, k) * (CHANNELS // HEADS) ** -0.5
        context = torch.einsum("b h i j, b h j d -> b i h d", scores.softmax(-1), v)
        return self.out(context.flatten(2))


def mlp(function: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(CHANNELS, 48), function, nn.Linear(48, CHANNELS))


class PreNorm(nn.Module):
    """The usual block."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(CHANNELS), nn.LayerNorm(CHANNELS)
        self.attention, self.mlp = EinsumAttention(), mlp(function)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PostNorm(PreNorm):
    """LayerNorms of the sums, as the first transformers had them."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.mlp(x))


class Parallel(PreNorm):
    """Both branches of one input."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(self.norm1(x)) + self.mlp(self.norm2(x))


class BranchesFirst(PreNorm):
    """Branches that are summed before the stream is added."""

    def forward(self, x: Tensor) -> Tensor:
        return sum(branch for branch in (self.attention(self.norm1(x)), self.mlp(self.norm2(x)))) + x


class ClassAndMean(nn.Module):
    """The class token and the mean of the others, joined (DINOv2)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(CHANNELS), nn.Linear(2 * CHANNELS, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.layer(torch.cat([x[:, 0], x[:, 1:].mean(1)], dim=-1))


class ClassPlusMean(nn.Module):
    """Their sum, without a LayerNorm; the head has a function."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(CHANNELS, CHANNELS), nn.Tanh(), nn.Linear(CHANNELS, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x[:, 0] + x[:, 1:].mean(1))


class Pooled(nn.Module):
    """Adaptive pooling of normalised tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, 5)

    def forward(self, x: Tensor) -> Tensor:
        pooled = functional.adaptive_avg_pool1d(self.norm(x).transpose(1, 2), 1)
        return self.layer(pooled.flatten(1))


class Features(nn.Module):
    """No classifier: normalised features leave the network."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)[:, 0]


class OwnVit(nn.Module):
    """Blocks over 2 x 2 patches of 8 x 8 images, with a class token or not."""

    def __init__(
        self, patches: nn.Module, blocks: list[nn.Module], head: nn.Module, class_token: bool = True
    ) -> None:
        super().__init__()
        self.class_token = class_token
        self.patches, self.blocks, self.head = patches, nn.ModuleList(blocks), head
        self.register_buffer("mean", torch.tensor([0.1, -0.2, 0.3]).view(3, 1, 1))
        self.token = nn.Parameter(torch.zeros(1, 1, CHANNELS))
        self.register_buffer("position", torch.linspace(-1, 1, 5 * CHANNELS).view(1, 5, CHANNELS).sin())

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches((images - self.mean) / 0.3)
        if self.class_token:
            x = torch.cat([self.token.repeat(len(x), 1, 1), x], dim=1)
        x = x + self.position[:, : x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(x)


FUNCTIONS = (nn.ReLU, nn.Hardswish, nn.ELU, nn.ReLU6, nn.Mish, nn.LeakyReLU, nn.Softplus, nn.Tanh, nn.GELU)


def any_vit(rng: random.Random) -> tuple[str, nn.Module]:
    """A combination of these parts, and what they are."""
    patches = rng.choice([ReshapedPatches, UnfoldedPatches, SlidingPatches, ChannelsLastPatches])
    kinds = [rng.choice([PreNorm, PostNorm, Parallel, BranchesFirst]) for _ in range(rng.randint(1, 3))]
    head = rng.choice([ClassAndMean, ClassPlusMean, Pooled, Features])
    class_token = rng.random() < 0.5
    blocks: list[nn.Module] = [kind(rng.choice(FUNCTIONS)()) for kind in kinds]
    names = [patches.__name__, *(kind.__name__ for kind in kinds), head.__name__, f"token: {class_token}"]
    return ", ".join(names), OwnVit(patches(), blocks, head(), class_token)


def own_vits() -> dict[str, nn.Module]:
    """By name."""
    return {
        "reshaped patches, class and mean": OwnVit(
            ReshapedPatches(), [PreNorm(nn.Hardswish()), PreNorm(nn.ELU())], ClassAndMean()
        ),
        "unfolded patches, post-norm": OwnVit(
            UnfoldedPatches(), [PostNorm(nn.ReLU6()), PostNorm(nn.Mish())], Pooled()
        ),
        "sliding patches, parallel branches": OwnVit(
            SlidingPatches(), [Parallel(nn.LeakyReLU()), Parallel(nn.Softplus())], ClassPlusMean()
        ),
        "channels last, branches first": OwnVit(
            ChannelsLastPatches(), [BranchesFirst(nn.Hardsigmoid()), BranchesFirst(nn.Tanh())], Features()
        ),
    }
