"""The quantized Vision Transformer: shapes, grids, determinism, export."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.presets import deit_small, deit_tiny
from qvit_hls.nets.random import random_model
from qvit_hls.nets.vit import QuantVisionTransformer
from qvit_hls.quant.modules import ActivationQuantizer
from qvit_hls.quant.rows import eight_bit_rows

BLOCKS = (
    BlockConfig(heads=2, head_dim=8, mlp_hidden=24),
    BlockConfig(heads=3, head_dim=4, mlp_hidden=40),
)


def config(**changes: object) -> VitConfig:
    settings = {
        "image_size": 8, "channels": 1, "patch_size": 4, "classes": 5, "embed_dim": 16, "blocks": BLOCKS
    }  # fmt: skip
    return VitConfig.model_validate(settings | changes)


def images(config: VitConfig, count: int = 3) -> Tensor:
    shape = (count, config.channels, config.image_size, config.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


configs = st.builds(
    config,
    pooling=st.sampled_from(["cls", "mean"]),
    layer_scale=st.booleans(),
    activation=st.sampled_from(["gelu", "gelu_tanh", "relu", "silu"]),
    activation_bits=st.integers(4, 8),
    residual_bits=st.integers(12, 16),
    table_bits=st.integers(4, 10),
    channels=st.integers(1, 3),
    patch_size=st.sampled_from([2, 4, 8]),
    eight_bit_share=st.sampled_from([0.0, 0.3, 1.0]),
)


@settings(max_examples=15, deadline=None)
@given(config=configs, seed=st.integers(0, 1000))
def test_every_quantized_value_lies_on_its_grid_and_uses_it(config: VitConfig, seed: int) -> None:
    model = random_model(config, seed)
    seen: Counter[str] = Counter()

    def check(name: str, quantizer: ActivationQuantizer, y: Tensor) -> None:
        codes = (y / quantizer.scale).detach()
        assert float((codes - codes.round()).abs().max()) < 1e-2, name
        assert float(codes.abs().max()) <= quantizer.qmax + 0.01, name
        seen[name] += 1

    for name, module in model.named_modules():
        if isinstance(module, ActivationQuantizer):
            module.register_forward_hook(lambda m, _, y, name=name: check(name, m, y))
    logits = model(images(config))
    assert logits.shape == (3, config.classes)
    assert bool(logits.isfinite().all())
    assert len(seen) == sum(isinstance(m, ActivationQuantizer) for m in model.modules())
    assert seen["residual_quant"] == 2 + 2 * 2 * len(config.blocks) + (config.pooling == "mean")
    for name, layer, _ in model.weight_layers():
        assert int((layer.row_bits == 8).sum()) == eight_bit_rows(len(layer.row_bits), config.share_of(name))


@torch.no_grad()
def test_quantization_is_close_to_float_at_eight_bits() -> None:
    model = random_model(config(activation_bits=8, table_bits=10, eight_bit_share=1.0), seed=1)
    x = images(model.config, 16)
    quantized = model(x)
    model.set_quantization(False)
    plain = model(x)
    assert float((quantized - plain).std() / plain.std()) < 0.1


def test_switched_off_quantization_is_plain_float() -> None:
    """Every step may be anything: nothing reads it."""
    model = random_model(config(), seed=1)
    model.set_quantization(False)
    before = model(images(model.config))
    for module in model.modules():
        if isinstance(module, ActivationQuantizer):
            module.scale.data.fill_(1e3)
    assert torch.equal(model(images(model.config)), before)


def test_layer_names_are_module_names() -> None:
    model = QuantVisionTransformer(config())
    names = [name for name, _, _ in model.weight_layers()]
    assert names == list(model.config.layer_names())
    for name, layer, quantizer in model.weight_layers():
        assert model.get_submodule(name) is layer
        assert quantizer in list(model.modules())


def test_single_layers_can_have_their_own_share() -> None:
    shares = {"blocks.1.mlp.fc1": 1.0, "head": 0.0}
    model = random_model(config(layer_eight_bit_share=shares, eight_bit_share=0.5), seed=0)
    rows = {name: layer.row_bits for name, layer, _ in model.weight_layers()}
    assert bool((rows["blocks.1.mlp.fc1"] == 8).all())
    assert bool((rows["head"] == 4).all())
    assert int((rows["blocks.0.attn.q"] == 8).sum()) == 8


def test_keys_split_into_two_digits() -> None:
    model = QuantVisionTransformer(config(activation_bits=8))
    attn = model.get_submodule("blocks.0.attn")
    assert attn.k_quant.qmax == 119
    assert attn.q_quant.qmax == 127


def test_random_models_depend_on_the_seed_alone() -> None:
    torch.manual_seed(0)
    first = random_model(config(), seed=3)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), drawn)
    second, third = random_model(config(), seed=3), random_model(config(), seed=4)
    states = [m.state_dict() for m in (first, second, third)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["pos_embed"], states[2]["pos_embed"])


def test_all_gradients_are_finite_and_reach_every_parameter() -> None:
    model = random_model(config(layer_scale=True), seed=2)
    nn.functional.cross_entropy(model(images(model.config)), torch.tensor([0, 1, 2])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_constrain_brings_steps_back() -> None:
    model = random_model(config(), seed=2)
    model.input_quant.scale.data.fill_(-1.0)
    model.head.row_scale.data.fill_(-1.0)
    model.constrain()
    assert float(model.input_quant.scale.detach()) > 0
    assert bool((model.head.row_scale > 0).all())


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_each_operator_is_one_node_of_the_exported_program(pooling: str) -> None:
    model = random_model(config(pooling=pooling, layer_scale=True), seed=0)
    program = torch.export.export(
        model, (images(model.config),), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},)
    )
    calls = Counter(str(n.target) for n in program.graph.nodes if n.op == "call_function")
    layers = len(list(model.weight_layers()))
    blocks = len(model.config.blocks)
    assert calls["qvit.fake_quantize_rows.default"] == layers
    assert calls["qvit.fake_softmax.default"] == blocks
    assert calls["qvit.fake_quantize.default"] == 13 * blocks + 5 + (pooling == "mean")
    assert not any("div" in name or "round" in name or "clamp" in name for name in calls)
    x = images(model.config, 7)
    assert torch.equal(program.module()(x), model(x))


def test_presets_have_the_published_sizes() -> None:
    for preset, millions in ((deit_tiny(), 5.7), (deit_small(), 22.0)):
        assert preset.tokens == 197
        with torch.device("meta"):
            model = QuantVisionTransformer(preset)
        weights = sum(p.numel() for n, p in model.named_parameters() if "scale" not in n)
        assert weights / 1e6 == pytest.approx(millions, abs=0.1)


def test_a_network_of_zeros_still_gets_usable_steps() -> None:
    model = random_model(config(), seed=0)
    for parameter in model.parameters():
        parameter.data.fill_(0.0)
    model.allocate_rows()
    model.calibrate(torch.zeros(2, 1, 8, 8))
    for name, tensor in model.state_dict().items():
        if name.endswith("scale"):
            assert float(tensor.min()) > 1e-6, name
    assert not model(torch.zeros(2, 1, 8, 8)).any()


@pytest.mark.parametrize("embed_dim", [1, 2, 17])
def test_narrow_networks_calibrate(embed_dim: int) -> None:
    model = random_model(config(embed_dim=embed_dim, classes=1), seed=0)
    assert model(images(model.config)).shape == (3, 1)
