"""The quantized Vision Transformer: what the accelerator computes in integers lies on a grid here."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.quant.levels import activation_qmax, digit_operand_qmax
from qvit_hls.quant.modules import (
    ActivationQuantizer,
    Mode,
    QuantLinear,
    QuantPatchEmbed,
    QuantSoftmax,
    RangeRule,
    RowQuantized,
    set_mode,
)

#: Bits of the attention scores; with steps of 1/32 they cover +-64, and 8 below the maximum is 0 anyway.
SCORE_BITS = 12
LOGIT_BITS = 16
#: LayerScale starts small, so that deep networks start close to the identity (CaiT, arXiv 2103.17239).
LAYER_SCALE_INIT = 0.1


def elementwise(name: str, x: Tensor) -> Tensor:
    """The activation function called ``name`` in a configuration, on a tensor of any shape."""
    match name:
        case "gelu":
            return functional.gelu(x)
        case "gelu_tanh":
            return functional.gelu(x, approximate="tanh")
        case "relu":
            return functional.relu(x)
        case "silu":
            return functional.silu(x)
    raise ValueError(f"{name} is no activation function of a VitConfig")


class LayerScale(nn.Module):
    """A learned factor per channel; folded into the branch's last linear layer for the accelerator."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), LAYER_SCALE_INIT))

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, tokens, channels]`` times the factors."""
        return x * self.gamma


class Attention(nn.Module):
    """Multi-head self-attention; scores, probabilities and context on their grids."""

    def __init__(self, config: VitConfig, block: BlockConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = block.heads, block.head_dim
        qmax = activation_qmax(config.activation_bits)
        # Three layers instead of one of triple width: each has its own rows, steps and grid.
        self.q = QuantLinear(config.embed_dim, block.attention_dim)
        self.k = QuantLinear(config.embed_dim, block.attention_dim)
        self.v = QuantLinear(config.embed_dim, block.attention_dim)
        self.q_quant = ActivationQuantizer(qmax)
        # Keys take the weights' place in the product q @ k^T: they must split into two 4-bit digits.
        self.k_quant = ActivationQuantizer(digit_operand_qmax(config.activation_bits))
        self.v_quant = ActivationQuantizer(qmax)
        self.score_quant = ActivationQuantizer(
            activation_qmax(SCORE_BITS), RangeRule.FIXED, config.score_step
        )
        self.softmax = QuantSoftmax()
        self.context_quant = ActivationQuantizer(qmax)
        self.proj = QuantLinear(block.attention_dim, config.embed_dim)

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """``[batch, tokens, embed_dim]`` on the grid of ``input_scale`` to the same shape, on no grid yet."""
        q = self._split_heads(self.q_quant(self.q(x, input_scale)))
        k = self._split_heads(self.k_quant(self.k(x, input_scale)))
        v = self._split_heads(self.v_quant(self.v(x, input_scale)))
        scores = self.score_quant((q @ k.transpose(-2, -1)) * self.head_dim**-0.5)
        context = self.softmax(scores, self.score_quant.scale) @ v
        merged = self.context_quant(context.transpose(1, 2).flatten(2))
        return self.proj(merged, self.context_quant.scale)

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers around an activation function, which becomes a table over all its input codes."""

    def __init__(self, config: VitConfig, block: BlockConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.fc1 = QuantLinear(config.embed_dim, block.mlp_hidden)
        self.pre_quant = ActivationQuantizer(activation_qmax(config.table_bits))
        self.act_quant = ActivationQuantizer(activation_qmax(config.activation_bits))
        self.fc2 = QuantLinear(block.mlp_hidden, config.embed_dim)

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """``[batch, tokens, embed_dim]`` on the grid of ``input_scale`` to the same shape, on no grid yet."""
        x = elementwise(self.activation, self.pre_quant(self.fc1(x, input_scale)))
        return self.fc2(self.act_quant(x), self.act_quant.scale)


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: VitConfig, block: BlockConfig) -> None:
        super().__init__()
        qmax = activation_qmax(config.activation_bits)
        self.norm1 = _layer_norm(config)
        self.norm1_quant = ActivationQuantizer(qmax)
        self.attn = Attention(config, block)
        self.ls1 = LayerScale(config.embed_dim) if config.layer_scale else nn.Identity()
        self.norm2 = _layer_norm(config)
        self.norm2_quant = ActivationQuantizer(qmax)
        self.mlp = Mlp(config, block)
        self.ls2 = LayerScale(config.embed_dim) if config.layer_scale else nn.Identity()

    def forward(self, x: Tensor, residual_quant: ActivationQuantizer) -> Tensor:
        """``[batch, tokens, embed_dim]`` on the residual grid, to the same."""
        branch = self.ls1(self.attn(self.norm1_quant(self.norm1(x)), self.norm1_quant.scale))
        x = residual_quant(x + residual_quant(branch))
        branch = self.ls2(self.mlp(self.norm2_quant(self.norm2(x)), self.norm2_quant.scale))
        return residual_quant(x + residual_quant(branch))


def _layer_norm(config: VitConfig) -> nn.LayerNorm:
    # No affine part: the linear layer that follows absorbs it, so it adds nothing but work for the hardware.
    return nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps, elementwise_affine=False)


class QuantVisionTransformer(nn.Module):
    """A Vision Transformer with row-wise mixed weights and quantized activations throughout."""

    cls_token: Tensor | None

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        qmax = activation_qmax(config.activation_bits)
        self.input_quant = ActivationQuantizer(qmax)
        self.patch_embed = QuantPatchEmbed(config.channels, config.embed_dim, config.patch_size)
        if config.pooling == "cls":
            self.cls_token = nn.Parameter(torch.empty(1, 1, config.embed_dim))
            nn.init.trunc_normal_(self.cls_token, std=0.02)
        else:
            self.cls_token = None
        self.pos_embed = nn.Parameter(torch.empty(1, config.tokens, config.embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        # One grid for the whole residual stream: branch outputs land on it, so that adds need no rescaling.
        self.residual_quant = ActivationQuantizer(activation_qmax(config.residual_bits), RangeRule.COVERING)
        self.blocks = nn.ModuleList(Block(config, block) for block in config.blocks)
        self.norm = _layer_norm(config)
        self.norm_quant = ActivationQuantizer(qmax)
        self.head = QuantLinear(config.embed_dim, config.classes)
        self.logit_quant = ActivationQuantizer(activation_qmax(LOGIT_BITS), RangeRule.COVERING)

    def forward(self, images: Tensor) -> Tensor:
        """``[batch, channels, image_size, image_size]`` floats to logits ``[batch, classes]``."""
        x = self.residual_quant(self.patch_embed(self.input_quant(images), self.input_quant.scale))
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.residual_quant(x + self.pos_embed)
        for block in self.blocks:
            x = block(x, self.residual_quant)
        # Pooling comes before the last LayerNorm, which then works on one token.
        x = x[:, 0:1] if self.cls_token is not None else self.residual_quant(x.mean(dim=1, keepdim=True))
        x = self.head(self.norm_quant(self.norm(x)), self.norm_quant.scale)
        return self.logit_quant(x).squeeze(1)

    def set_quantization(self, enabled: bool) -> None:
        """Quantize, or compute in float (for pretraining)."""
        set_mode(self, Mode.ON if enabled else Mode.OFF)

    def weight_layers(self) -> Iterator[tuple[str, RowQuantized, ActivationQuantizer]]:
        """Every layer with weights: its module name, the layer, and the quantizer of its input."""
        yield "patch_embed", self.patch_embed, self.input_quant
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            attn, mlp = block.attn, block.mlp
            for part in ("q", "k", "v"):
                yield f"blocks.{i}.attn.{part}", getattr(attn, part), block.norm1_quant
            yield f"blocks.{i}.attn.proj", attn.proj, attn.context_quant
            yield f"blocks.{i}.mlp.fc1", mlp.fc1, block.norm2_quant
            yield f"blocks.{i}.mlp.fc2", mlp.fc2, mlp.act_quant
        yield "head", self.head, self.norm_quant

    def allocate_rows(self) -> None:
        """Choose each layer's 8-bit rows by the configured share, and start the row steps."""
        for name, layer, _ in self.weight_layers():
            layer.allocate(self.config.share_of(name))

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Set every activation step from ``images [batch, channels, image_size, image_size]``.

        One pass in which each quantizer sees what the already quantized layers before it produce. Rows
        must have been allocated. Quantization is on afterwards.
        """
        quantizers = [m for m in self.modules() if isinstance(m, ActivationQuantizer)]
        for quantizer in quantizers:
            quantizer.start_calibration()
        set_mode(self, Mode.CALIBRATE)
        self(images)
        for quantizer in quantizers:
            quantizer.finish_calibration()
        self.set_quantization(True)
        self.constrain()

    def constrain(self) -> None:
        """Bring steps back into the range that the integer formats allow, after an update of parameters."""
        for module in self.modules():
            if isinstance(module, ActivationQuantizer):
                module.constrain()
        for _, layer, input_quant in self.weight_layers():
            layer.constrain(input_quant.scale)
