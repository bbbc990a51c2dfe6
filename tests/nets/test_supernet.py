"""Every network of the supernet is a slice of it, in values and in gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qvit_hls.nets.space import SearchSpace, space_of
from qvit_hls.nets.subnet import Subnet
from qvit_hls.nets.supernet import Part, Supernet
from qvit_hls.quant.rows import eight_bit_rows


def small_space(**changes: object) -> SearchSpace:
    fields = {
        "name": "small",
        "depth": [1, 2, 3],
        "embed_dim": [8, 12],
        "heads": [1, 2, 3],
        "head_dim": [2, 4],
        "mlp_ratio": [1.5, 2],
        "eight_bit_share": [0, 0.25, 1],
        "activation_bits": [5, 7],
        "network": {"image_size": 6, "channels": 2, "patch_size": 2, "classes": 5},
    }
    return space_of({**fields, **changes}, "small")


def images(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 2, 6, 6, generator=torch.Generator().manual_seed(1))


def calibrated(space: SearchSpace, seed: int = 0) -> Supernet:
    torch.manual_seed(seed)
    supernet = Supernet(space)
    with torch.no_grad():
        for _, layer, _ in supernet.latent.weight_layers():
            layer.bias.normal_(std=0.1)
            layer.weight.mul_(
                torch.exp(0.5 * torch.randn_like(layer.bias)).reshape(-1, *[1] * (layer.weight.dim() - 1)) * 8
            )
    supernet.calibrate(images(8))
    return supernet


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_fifty_extracted_networks_equal_their_slices_of_the_supernet(quantized: bool, pooling: str) -> None:
    space = small_space()
    space = space_of({**space.model_dump(), "network": {**space.network, "pooling": pooling}}, "small")
    supernet = calibrated(space)
    supernet.set_quantization(quantized)
    generator = np.random.default_rng(0)
    subnets = {space.sample(generator) for _ in range(60)}
    assert len(subnets) >= 50
    with torch.no_grad():
        for subnet in subnets:
            extracted = supernet.extract(subnet)
            assert extracted.config == space.config(subnet)
            assert torch.equal(extracted(images()), supernet(images(), subnet))


@pytest.mark.parametrize("shares", [[1], [0.25, 0.5]])
def test_a_space_needs_no_network_of_four_bit_rows_only(shares: list[float]) -> None:
    supernet = calibrated(small_space(eight_bit_share=shares))
    subnet = supernet.space.sample(np.random.default_rng(0))
    assert torch.equal(supernet(images(), subnet), supernet.extract(subnet)(images()))


def test_the_largest_network_is_the_latent_one_in_float() -> None:
    supernet = calibrated(small_space())
    supernet.set_quantization(False)
    assert torch.equal(supernet(images(), supernet.space.largest()), supernet.latent(images()))


def test_an_extracted_network_shares_no_memory_with_the_supernet() -> None:
    supernet = calibrated(small_space())
    subnet = supernet.space.smallest()
    before = supernet(images(), subnet)
    for parameter in supernet.extract(subnet).parameters():
        assert parameter.requires_grad
        parameter.data.fill_(1.0)
    assert torch.equal(before, supernet(images(), subnet))


def test_each_layer_has_the_share_of_eight_bit_rows_that_was_chosen_where_four_bits_hurt_most() -> None:
    supernet = calibrated(small_space())
    subnet = supernet.space.largest().with_share(0.25)
    layers = {name: layer for name, layer, _ in supernet.extract(subnet).weight_layers()}
    for name, layer in layers.items():
        rows = len(layer.row_bits)
        wide = layer.row_bits == 8
        assert int(wide.sum()) == eight_bit_rows(rows, 0.25)
        error = supernet.get_buffer(f"row_error_{name.replace('.', '/')}")
        assert error[wide].min() >= error[~wide].max()


def test_gradients_reach_the_slice_and_nothing_else() -> None:
    supernet = calibrated(small_space())
    subnet = supernet.space.smallest()
    supernet(images(), subnet).square().sum().backward()
    fc1 = supernet.latent.get_submodule("blocks.0.mlp.fc1").weight.grad
    assert fc1 is not None
    assert fc1[:12, :8].abs().sum() > 0
    assert fc1[12:].abs().sum() == 0 and fc1[:, 8:].abs().sum() == 0
    assert supernet.latent.get_submodule("blocks.1.mlp.fc1").weight.grad is None


@pytest.mark.parametrize(("share", "used", "unused"), [(0.0, "narrow", "wide"), (1.0, "wide", "narrow")])
def test_each_precision_trains_its_own_steps(share: float, used: str, unused: str) -> None:
    supernet = calibrated(small_space())
    supernet(images(), supernet.space.largest().with_share(share)).square().sum().backward()
    layer = supernet.latent.get_submodule("blocks.0.mlp.fc1")
    grads = {"narrow": layer.row_scale.grad, "wide": supernet.wide_row_scale["blocks/0/mlp/fc1"].grad}
    assert grads[used].abs().sum() > 0
    assert grads[unused].abs().sum() == 0


def test_a_supernet_is_restored_from_its_state() -> None:
    supernet = calibrated(small_space())
    other = Supernet(supernet.space)
    other.load_state_dict(supernet.state_dict())
    subnet = supernet.space.sample(np.random.default_rng(3))
    assert torch.equal(other(images(), subnet), supernet(images(), subnet))


def test_fewer_activation_bits_keep_the_range() -> None:
    supernet = calibrated(small_space())
    wide = supernet.space.largest()
    narrow = Subnet(wide.embed_dim, wide.blocks, wide.patch_share, wide.head_share, 5)
    scales = [supernet.extract(s).input_quant.scale * q for s, q in ((wide, 63), (narrow, 15))]
    torch.testing.assert_close(*scales)


def test_a_part_takes_the_first_channels_of_the_first_heads() -> None:
    x = torch.arange(24).reshape(12, 2)
    got = Part((2, 3), (3, 4)).of(x, 0)
    assert got[:, 0].tolist() == [0, 2, 4, 8, 10, 12]


def test_steps_stay_within_what_the_integer_formats_allow() -> None:
    supernet = calibrated(small_space())
    with torch.no_grad():
        for scale in supernet.wide_row_scale.values():
            scale.fill_(-1.0)
    supernet.constrain()
    assert all(bool((scale > 0).all()) for scale in supernet.wide_row_scale.values())
