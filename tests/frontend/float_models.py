"""Small models of timm and transformers with random weights, some channels much larger than the others."""

from __future__ import annotations

import torch
from own_vits import own_vits
from torch import Tensor, nn

#: timm models by name, at two blocks and images of 2 x 2 patches; attributes that make them small.
TIMM: dict[str, dict[str, object]] = {
    "deit_tiny_patch16_224": {},
    "deit_small_distilled_patch16_224": {},
    "vit_base_patch16_224": {},
    "cait_xxs24_224": {"depth_token_only": 2},
    "beit_base_patch16_224": {},
    "beitv2_base_patch16_224": {},
    "vit_small_patch14_reg4_dinov2": {"img_size": 28},
    "vit_medium_patch16_reg4_gap_256": {},
    "vit_relpos_small_patch16_224": {},
    "vit_relpos_base_patch16_clsgap_224": {},
    "deit3_small_patch16_224": {},
    "vit_base_patch16_clip_quickgelu_224": {},
    "vit_relpos_base_patch16_rpn_224": {},
    "vit_base_patch16_siglip_224": {},
    "vit_base_patch16_siglip_gap_224": {},
    "naflexvit_base_patch16_par_gap": {},
    "vit_tiny_patch16_224": {"qk_norm": True},
}
#: Classes of transformers and of their configurations.
TRANSFORMERS = {
    "ViTForImageClassification": "ViTConfig",
    "DeiTForImageClassification": "DeiTConfig",
    "DeiTForImageClassificationWithTeacher": "DeiTConfig",
}
#: More of them, which differ in how they are traced; some as published have relative positions.
MORE_TRANSFORMERS: dict[str, tuple[str, dict[str, object]]] = {
    "BeitForImageClassification": ("BeitConfig", {"use_relative_position_bias": True}),
    "Data2VecVisionForImageClassification": ("Data2VecVisionConfig", {"use_relative_position_bias": True}),
    "ViTMSNForImageClassification": ("ViTMSNConfig", {}),
    "Dinov2ForImageClassification": ("Dinov2Config", {}),
    "Dinov2WithRegistersForImageClassification": ("Dinov2WithRegistersConfig", {}),
    "IJepaForImageClassification": ("IJepaConfig", {}),
    "CLIPForImageClassification": ("CLIPConfig", {}),
    "SiglipForImageClassification": ("SiglipConfig", {}),
}
#: Configurations that have the vision model's as a part.
_WITH_TEXT = ("CLIPConfig", "SiglipConfig")


def timm_model(name: str, **changes: object) -> tuple[nn.Module, Tensor]:
    """A small model with random weights, and images for it."""
    import timm

    small = {"depth": 2, "num_classes": 5, "img_size": 32, "embed_dim": 48, "num_heads": 3}
    options = {**small, **TIMM.get(name, {}), **changes}
    model = timm.create_model(name, pretrained=False, **options)
    size = options["img_size"]
    assert isinstance(size, int)
    return with_random_weights(model), randn(3, 3, size, size)


def transformers_config(name: str) -> object:
    """A small configuration for the model class ``name``."""
    import transformers

    sizes: dict[str, object] = {
        "image_size": 32,
        "patch_size": 16,
        "hidden_size": 24,
        "intermediate_size": 48,
    }
    sizes |= {"num_attention_heads": 3, "num_hidden_layers": 2}
    config, options = MORE_TRANSFORMERS[name] if name in MORE_TRANSFORMERS else (TRANSFORMERS[name], {})
    if config in _WITH_TEXT:
        sizes = {"vision_config": sizes}
    return getattr(transformers, config)(**sizes, num_labels=5, **options)


def transformers_model(name: str) -> tuple[nn.Module, Tensor]:
    """A small model with random weights, and images for it."""
    import transformers

    model = getattr(transformers, name)(transformers_config(name))
    return with_random_weights(model), randn(3, 3, 32, 32)


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def with_random_weights(model: nn.Module) -> nn.Module:
    """Weights of unit gain, one row in a hundred eight times larger, as trained transformers have them."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() >= 2:
            values /= parameter[:1].numel() ** 0.5
            outliers = torch.randperm(len(values), generator=generator)[: max(1, len(values) // 100)]
            values[outliers] *= 8
        else:
            gain = "gamma" in name or ("norm" in name and name.endswith("weight"))
            values = 0.2 * values + gain
        parameter.copy_(values)
    return model.eval()


class PlainBlock(nn.Module):
    """A pre-norm block of torch.nn's own attention, as torchvision's ViT has it."""

    def __init__(self, channels: int, need_weights: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, 3, dropout=0.1, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(channels, 48), nn.GELU(), nn.Dropout(0.1), nn.Linear(48, channels))
        self.need_weights = need_weights

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=self.need_weights)[0]
        return x + self.mlp(self.norm2(x))


class PlainVit(nn.Module):
    """A ViT of torch.nn's own layers, 3 x 32 x 32 images, 5 classes."""

    def __init__(self, encoder: nn.Module, channels: int = 24) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, channels, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, channels))
        self.position = nn.Parameter(torch.zeros(1, 5, channels))
        self.encoder, self.norm, self.head = encoder, nn.LayerNorm(channels), nn.Linear(channels, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.position
        return self.head(self.norm(self.encoder(x))[:, 0])


def torch_layers() -> dict[str, nn.Module]:
    """Encoders of torch.nn's own layers."""
    first, last = (
        nn.TransformerEncoderLayer(24, 3, 48, activation="gelu", batch_first=True, norm_first=first)
        for first in (True, False)
    )
    return {
        "MultiheadAttention": nn.Sequential(PlainBlock(24, False), PlainBlock(24, False)),
        "MultiheadAttention with weights": nn.Sequential(PlainBlock(24, True), PlainBlock(24, True)),
        "TransformerEncoder": nn.TransformerEncoder(first, 2, enable_nested_tensor=False),
        "TransformerEncoder, post-norm": nn.TransformerEncoder(last, 2, enable_nested_tensor=False),
    }


def own_model(name: str) -> tuple[nn.Module, Tensor]:
    """A small model that somebody wrote, with random weights, and images for it."""
    return with_random_weights(own_vits()[name]), randn(3, 3, 8, 8)


def torch_model(name: str) -> tuple[nn.Module, Tensor]:
    """A small model of torch.nn's own layers with random weights, and images for it."""
    return with_random_weights(PlainVit(torch_layers()[name])), randn(3, 3, 32, 32)
