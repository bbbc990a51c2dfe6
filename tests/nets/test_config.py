"""Configurations: what is refused, and how it is said."""

from __future__ import annotations

import math
from typing import Any

import pytest

from qvit_hls.errors import QvitError
from qvit_hls.nets.config import MIN_SCORE_STEP, VitConfig, parse_config
from qvit_hls.nets.presets import deit_tiny

VALID: dict[str, Any] = {
    "image_size": 8,
    "channels": 1,
    "patch_size": 2,
    "classes": 10,
    "embed_dim": 16,
    "blocks": [{"heads": 2, "head_dim": 8, "mlp_hidden": 24}],
}


def problems(**changes: object) -> list[str]:
    with pytest.raises(QvitError) as caught:
        parse_config(VALID | changes)
    return list(caught.value.problems)


def test_a_configuration_survives_json() -> None:
    for config in (parse_config(VALID), deit_tiny()):
        assert VitConfig.model_validate_json(config.model_dump_json()) == config
        assert parse_config(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"classes": 5000}, "config.classes is 5000; it should be less than or equal to 4095."),
        ({"embed_dim": True}, "config.embed_dim is True; it should be a valid integer."),
        ({"blocks": []}, "config: there are 0 blocks; there should be 1 to 256."),
        ({"activation_bits": 9}, "config.activation_bits is 9; it should be less than or equal to 8."),
        ({"table_bits": 11}, "config.table_bits is 11; it should be less than or equal to 10."),
        ({"residual_bits": 8}, "config.residual_bits is 8; it should be greater than or equal to 12."),
        ({"eight_bit_share": 1.5}, "config.eight_bit_share is 1.5; it should be less than or equal to 1."),
        ({"layer_norm_eps": math.nan}, "config.layer_norm_eps is nan; it should be a finite number."),
        (
            {"blocks": [{"heads": 2, "head_dim": 8, "mlp_hidden": 4096}]},
            "config.blocks[0].mlp_hidden is 4096; it should be less than or equal to 4095.",
        ),
        (
            {"blocks": [{"heads": 64, "head_dim": 64, "mlp_hidden": 4}]},
            "config.blocks[0]: heads * head_dim is 64 * 64 = 4096; it should be at most 4095.",
        ),
        (
            {"score_step": 0.01},
            f"config.score_step is 0.01; it should be greater than or equal to {MIN_SCORE_STEP}.",
        ),
        (
            {"image_size": 200},
            "config: image_size 200 and patch_size 2 make 10001 tokens; there should be at most 2048.",
        ),
        (
            {"image_size": 64, "patch_size": 64},
            "config: a patch of 1 x 64 x 64 has 4096 values; it should have at most 4095.",
        ),
    ],
)
def test_one_bad_setting(changes: dict[str, Any], expected: str) -> None:
    assert problems(**changes) == [expected]


def test_settings_that_do_not_fit_each_other_are_all_listed() -> None:
    assert problems(
        image_size=9,
        mean=[0.5, 0.5],
        std=[1.0, 1.0],
        class_names=["one"],
        layer_eight_bit_share={"blocks.1.mlp.fc1": 1.0, "head": 0.5},
    ) == [
        "config: patch_size 2 does not divide image_size 9; images are cut into whole patches.",
        "config: layer_eight_bit_share names blocks.1.mlp.fc1, which is no layer of this model; "
        "a layer's name is like patch_embed, blocks.0.attn.q, blocks.0.mlp.fc1 or head.",
        "config: mean should have one value for each of 1 channels; it has 2.",
        "config: std should have one value for each of 1 channels; it has 2.",
        "config: class_names should have one name for each of 10 classes; it has 1.",
    ]


def test_a_class_token_adds_one_token() -> None:
    assert parse_config(VALID).tokens == 17
    assert parse_config(VALID | {"pooling": "mean"}).tokens == 16
