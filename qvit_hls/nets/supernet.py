"""The supernet: one set of latent weights that every network of a search space takes its own slice of.

Mixed-precision weight entanglement (Quasar-ViT, arXiv 2407.18175): a narrower layer is the first rows and
columns of the widest one, a shallower network its first blocks, and every split of rows into 4 and 8 bits
quantizes the same latent rows, each row with one learned step per precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call

from qvit_hls.nets.space import SearchSpace
from qvit_hls.nets.subnet import BLOCK_LAYERS, Subnet
from qvit_hls.nets.vit import LayerScale, QuantVisionTransformer
from qvit_hls.quant.fake_quant import fake_quantize_rows
from qvit_hls.quant.modules import ActivationQuantizer, Mode, RowQuantized, set_mode
from qvit_hls.quant.rows import bound_row_scale, eight_bit_rows, search_row_scale

#: Architectures whose modules, which hold no weights, are kept for the next step.
_KEPT_SKELETONS = 32


@dataclass(frozen=True)
class Part:
    """The first of something: along an axis that is cut into ``full`` pieces, the first ``used`` of each.

    ``Part((3, 16), (4, 32))`` of 4 heads of 32 channels are the first 16 channels of the first 3 heads.
    """

    used: tuple[int, ...]
    full: tuple[int, ...]

    def of(self, x: Tensor, axis: int) -> Tensor:
        """This part of ``x`` along an axis; the other axes stay whole."""
        if self.used == self.full:
            return x
        x = x.unflatten(axis, self.full)
        for i, used in enumerate(self.used):
            x = x.narrow(axis + i, 0, used)
        return x.flatten(axis, axis + len(self.used) - 1)


class Supernet(nn.Module):
    """All networks of a search space in one.

    Attributes:
        space: the search space.
        latent: the largest network; its weights are everybody's, its ``row_scale`` are the steps at 4 bits.
        wide_row_scale: of every layer with weights, by module name with ``/`` for dots, the steps at 8 bits.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space
        self._widest = _Widths.of(space.largest())
        self.latent = QuantVisionTransformer(space.config(space.largest()))
        self.wide_row_scale = nn.ParameterDict()
        for name, layer, _ in self.latent.weight_layers():
            self.wide_row_scale[_flat(name)] = nn.Parameter(torch.ones_like(layer.row_scale))
            # Squared error of each row at 4 bits: the rows where it is largest get 8.
            self.register_buffer(_error_name(name), torch.zeros_like(layer.row_scale))
        self._mode = Mode.ON
        self._skeleton = lru_cache(maxsize=_KEPT_SKELETONS)(self._build_skeleton)

    # ------------------------------------------------------------ networks

    def forward(self, images: Tensor, subnet: Subnet) -> Tensor:
        """Logits ``[batch, classes]`` of one network of the space.

        Gradients reach the latent weights of its slice.
        """
        # Which rows are 8-bit is in the slices: one skeleton serves all shares.
        skeleton = self._skeleton(subnet.with_share(self.space.eight_bit_share[0]))
        set_mode(skeleton, self._mode)
        return functional_call(skeleton, dict(self._slices(subnet, skeleton)), (images,), strict=True)

    def extract(self, subnet: Subnet) -> QuantVisionTransformer:
        """A network of its own, with copies of its slice; its outputs equal those of ``forward``."""
        with torch.device("meta"):
            model = QuantVisionTransformer(self.space.config(subnet))
        state = {name: value.detach().clone() for name, value in self._slices(subnet, model)}
        model.load_state_dict(state, assign=True)
        set_mode(model, self._mode)
        return model.train(self.training)

    def _build_skeleton(self, subnet: Subnet) -> QuantVisionTransformer:
        """The modules of an architecture without their tensors."""
        with torch.device("meta"):
            return QuantVisionTransformer(self.space.config(subnet))

    def _slices(self, subnet: Subnet, model: QuantVisionTransformer) -> Iterator[tuple[str, Tensor]]:
        """What a network's tensors are, by name; differentiable."""
        widths = _Widths.of(subnet)
        parts = dict(_parts(widths, self._widest, subnet.depth))
        shares = subnet.layer_shares()
        embed = Part((widths.embed,), (self._widest.embed,))
        if self.latent.cls_token is not None:
            yield "cls_token", embed.of(self.latent.cls_token, 2)
        yield "pos_embed", embed.of(self.latent.pos_embed, 2)
        for name, module in model.named_modules():
            latent = self.latent.get_submodule(name)
            if isinstance(module, ActivationQuantizer):
                assert isinstance(latent, ActivationQuantizer)
                # Fewer bits have the same range.
                same = latent.qmax == module.qmax
                yield f"{name}.scale", latent.scale if same else latent.scale * (latent.qmax / module.qmax)
            elif isinstance(module, LayerScale):
                assert isinstance(latent, LayerScale)
                yield f"{name}.gamma", embed.of(latent.gamma, 0)
            elif isinstance(module, RowQuantized):
                assert isinstance(latent, RowQuantized)
                yield from self._layer(name, latent, *parts[name], shares[name])

    def _layer(
        self, name: str, latent: RowQuantized, rows: Part, columns: Part | None, share: float
    ) -> Iterator[tuple[str, Tensor]]:
        weight = rows.of(latent.weight, 0)
        yield f"{name}.weight", weight if columns is None else columns.of(weight, 1)
        yield f"{name}.bias", rows.of(latent.bias, 0)
        error = rows.of(self.get_buffer(_error_name(name)), 0)
        row_bits = torch.full_like(error, 4, dtype=torch.uint8)
        # A stable sort: rows of equal error keep their order, so that the choice is reproducible.
        chosen = torch.argsort(error, descending=True, stable=True)[: eight_bit_rows(len(error), share)]
        row_bits[chosen] = 8
        yield f"{name}.row_bits", row_bits
        narrow, wide = rows.of(latent.row_scale, 0), rows.of(self.wide_row_scale[_flat(name)], 0)
        yield f"{name}.row_scale", torch.where(row_bits == 8, wide, narrow)

    # ------------------------------------------------------------ number formats

    def set_quantization(self, enabled: bool) -> None:
        """Quantize, or compute in float (for pretraining)."""
        self._mode = Mode.ON if enabled else Mode.OFF
        set_mode(self.latent, self._mode)

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Start every step: of rows from the weights, of activations from ``images`` through the largest
        network. Quantization is on afterwards."""
        for name, layer, _ in self.latent.weight_layers():
            layer.row_scale.copy_(search_row_scale(layer.weight, 4)[0])
            self.wide_row_scale[_flat(name)].copy_(search_row_scale(layer.weight, 8)[0])
        self.order_rows()
        self.set_quantization(True)
        largest = self.extract(self.space.largest())
        largest.calibrate(images)
        for name, module in largest.named_modules():
            if isinstance(module, ActivationQuantizer):
                latent = self.latent.get_submodule(name)
                assert isinstance(latent, ActivationQuantizer)
                latent.scale.copy_(module.scale)
        self.constrain()

    @torch.no_grad()
    def order_rows(self) -> None:
        """Find anew which rows 4 bits hurt most, by the weights and steps as they are."""
        for name, layer, _ in self.latent.weight_layers():
            bits = torch.full_like(layer.row_bits, 4)
            off = fake_quantize_rows(layer.weight, layer.row_scale, bits) - layer.weight
            self.get_buffer(_error_name(name)).copy_(off.square().flatten(1).sum(dim=1))

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring steps back into the range that the integer formats allow, after an update of parameters."""
        self.latent.constrain()
        for name, layer, input_quant in self.latent.weight_layers():
            wide = self.wide_row_scale[_flat(name)]
            wide.copy_(bound_row_scale(wide, layer.bias, input_quant.scale))


@dataclass(frozen=True)
class _Widths:
    """Of the residual stream, and of each block (heads, head_dim, mlp_hidden)."""

    embed: int
    blocks: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, subnet: Subnet) -> _Widths:
        return cls(
            subnet.embed_dim,
            tuple((b.heads, b.head_dim, round(subnet.embed_dim * b.mlp_ratio)) for b in subnet.blocks),
        )


def _parts(widths: _Widths, widest: _Widths, depth: int) -> Iterator[tuple[str, tuple[Part, Part | None]]]:
    """Which rows and columns of each latent layer a network has, by module name."""
    embed = Part((widths.embed,), (widest.embed,))
    yield "patch_embed", (embed, None)
    for i in range(depth):
        (heads, head_dim, hidden), (all_heads, all_dim, all_hidden) = widths.blocks[i], widest.blocks[i]
        attention = Part((heads, head_dim), (all_heads, all_dim))
        mlp = Part((hidden,), (all_hidden,))
        layers: tuple[tuple[Part, Part | None], ...] = (
            *[(attention, embed)] * 3, (embed, attention), (mlp, embed), (embed, mlp),
        )  # fmt: skip
        for layer, pair in zip(BLOCK_LAYERS, layers, strict=True):
            yield f"blocks.{i}.{layer}", pair
    yield "head", (Part((1,), (1,)), embed)


def _flat(name: str) -> str:
    return name.replace(".", "/")


def _error_name(layer: str) -> str:
    return f"row_error_{_flat(layer)}"
