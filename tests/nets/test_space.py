"""Search spaces: their networks, and what is said about malformed ones."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from qvit_hls.errors import QvitError
from qvit_hls.nets.space import SearchSpace, load_space, parse_space, space_names, space_of
from qvit_hls.nets.subnet import Subnet

FIELDS = {
    "name": "small",
    "depth": [1, 2],
    "embed_dim": [8, 12],
    "heads": [1, 2],
    "head_dim": [4],
    "mlp_ratio": [1.5, 2],
    "eight_bit_share": [0, 0.5],
    "network": {"image_size": 6, "channels": 2, "patch_size": 2, "classes": 5},
}


def problems(**changes: object) -> tuple[str, ...]:
    with pytest.raises(QvitError) as caught:
        space_of({**FIELDS, **changes}, "my.yaml")
    return caught.value.problems


@pytest.mark.parametrize("name", space_names())
def test_the_spaces_that_ship_are_valid_and_so_are_their_networks(name: str) -> None:
    space = load_space(name)
    assert space.name == name
    generator = np.random.default_rng(0)
    for subnet in (space.smallest(), space.largest(), *(space.sample(generator) for _ in range(5))):
        config = space.config(subnet)
        assert config.layer_scale
        assert set(config.layer_eight_bit_share) == set(config.layer_names())


def test_autoformer_spaces_have_the_published_widths_and_depths() -> None:
    largest = load_space("autoformer_b").largest()
    assert (largest.embed_dim, largest.depth, largest.blocks[0].heads) == (624, 16, 10)
    smallest = load_space("autoformer_t").smallest()
    assert (smallest.embed_dim, smallest.depth, smallest.blocks[0].mlp_ratio) == (192, 12, 3.5)


def test_the_size_counts_every_network_once() -> None:
    space = space_of({**FIELDS, "depth": [1], "mlp_ratio": [2], "embed_dim": [8]}, "small")
    generator = np.random.default_rng(0)
    found = {space.sample(generator).key for _ in range(8000)}
    assert space.size == 2 * 2**6 * 2**2 == len(found)


def test_samples_are_of_the_space_and_depend_on_the_generator_alone() -> None:
    space = space_of(FIELDS, "small")
    first, second = ([space.sample(np.random.default_rng(7)) for _ in range(1)] for _ in range(2))
    assert first == second
    generator = np.random.default_rng(1)
    assert not any(list(space.problems_of(space.sample(generator))) for _ in range(50))


def test_a_network_is_read_back_from_its_key() -> None:
    space = space_of(FIELDS, "small")
    subnet = space.sample(np.random.default_rng(2))
    assert Subnet.of_key(subnet.key) == subnet


def test_a_network_of_another_space_is_refused_with_every_choice_that_is_not_there() -> None:
    space = space_of(FIELDS, "small")
    other = space_of(
        {**FIELDS, "depth": [3], "embed_dim": [16], "eight_bit_share": [0.25]}, "other"
    ).largest()
    with pytest.raises(QvitError) as caught:
        space.config(other)
    assert caught.value.problems[:3] == (
        "depth of the network is 3; choices are 1, 2.",
        "embed_dim of the network is 16; choices are 8, 12.",
        "eight_bit_share of patch_embed is 0.25; choices are 0, 0.5.",
    )


def test_empty_and_contradictory_choices_are_all_named() -> None:
    assert problems(depth=[], heads=[2, 1], network={**FIELDS["network"], "embed_dim": 8}) == (
        "my.yaml: depth has no choices; it should list at least one.",
        "my.yaml: heads is [2, 1]; choices should differ, and ascend.",
        "my.yaml: network.embed_dim is searched; it should be set by embed_dim only.",
    )


def test_widths_that_make_no_network_are_named() -> None:
    assert problems(mlp_ratio=[1.55, 600]) == (
        "my.yaml: embed_dim 8 and mlp_ratio 1.55 make an MLP of 12.4 channels; it should be a whole number.",
        "my.yaml: embed_dim 8 and mlp_ratio 600 make an MLP of 4800 channels; it should have at most 4095.",
        "my.yaml: embed_dim 12 and mlp_ratio 1.55 make an MLP of 18.6 channels; it should be a whole number.",
        "my.yaml: embed_dim 12 and mlp_ratio 600 make an MLP of 7200 channels; it should have at most 4095.",
    )
    assert problems(embed_dim=[8], mlp_ratio=[1e-9, 1]) == (
        "my.yaml: embed_dim 8 and mlp_ratio 1e-09 make an MLP of 0 channels; it should have at least 1.",
    )
    assert problems(heads=[1, 2000]) == (
        "my.yaml: heads 2000 and head_dim 4 make an attention of 8000 channels; it should have at most 4095.",
    )


def test_wrong_values_are_named_with_their_places() -> None:
    assert problems(activation_bits=[3], eight_bit_share=[1.5], hidden=[4]) == (
        "my.yaml.eight_bit_share[0] is 1.5; it should be less than or equal to 1.",
        "my.yaml.activation_bits[0] is 3; it should be greater than or equal to 4.",
        "my.yaml.hidden is not a setting that this version knows.",
    )


def test_settings_of_the_networks_are_checked_too() -> None:
    assert problems(network={"image_size": 7, "patch_size": 2, "colour": True, "classes": 5}) == (
        "my.yaml: network.colour is not a setting that this version knows.",
    )
    assert problems(network={"image_size": 7, "patch_size": 2, "classes": 5}) == (
        "my.yaml: network: patch_size 2 does not divide image_size 7; images are cut into whole patches.",
    )


def test_files_are_found_or_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(QvitError, match=r"^There is no search space 'big'; known ones are autoformer_b, "):
        load_space("big")
    missing = str(tmp_path / "no.yaml")
    with pytest.raises(QvitError, match=rf"^The search space {missing} does not exist; known spaces are "):
        load_space(missing)
    (tmp_path / "space.yaml").write_text("name: [")
    with pytest.raises(QvitError, match=r"space\.yaml is not YAML: "):
        load_space(str(tmp_path / "space.yaml"))
    assert isinstance(
        parse_space(Path(__file__).parents[2].joinpath("qvit_hls/nets/spaces/digits.yaml").read_bytes(), "x"),
        SearchSpace,
    )


def test_the_number_of_networks_may_be_astronomic() -> None:
    assert math.log10(load_space("autoformer_s").size) > 60
