"""``estimate -o`` writes the files that FINN's tools write; their numbers are those of the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Run

from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model

CONFIG = VitConfig(
    image_size=16, channels=1, patch_size=4, classes=3, embed_dim=24,
    blocks=(BlockConfig(heads=2, head_dim=8, mlp_hidden=32),), eight_bit_share=0.25,
)  # fmt: skip
TOKENS = 17


@pytest.fixture(params=["hls", "rtl"])
def files(qvit_hls: Run, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, dict]:
    """The four files, and as ``estimate`` what the JSON on stdout says."""
    save_model(random_model(CONFIG, 1), tmp_path / "model.pt")
    options = ("--tile", 8, 16, 4, "--mac", request.param, "--clock", 100, "--json")
    result = qvit_hls("estimate", tmp_path / "model.pt", *options, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    read = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out").iterdir()}
    return {**read, "estimate": json.loads(result.stdout)}


def test_the_four_files_agree_with_the_estimate(files: dict[str, dict]) -> None:
    assert files.keys() == {
        "estimate_layer_cycles",
        "estimate_layer_resources",
        "estimate_network_performance",
        "op_and_param_counts",
        "estimate",
    }
    estimate, cycles = files["estimate"], files["estimate_layer_cycles"]
    assert cycles == {layer["name"]: layer["cycles"] for layer in estimate["layers"]}
    performance = files["estimate_network_performance"]
    assert performance["critical_path_cycles"] == estimate["cycles"]
    assert performance["max_cycles"] == max(cycles.values()) == cycles[performance["max_cycles_node_name"]]
    assert performance["estimated_throughput_fps"] == estimate["frames_per_second"]
    assert performance["estimated_latency_ns"] == pytest.approx(estimate["cycles"] * 10)
    resources = files["estimate_layer_resources"]
    total = resources.pop("total")
    assert total == {key: sum(unit[key] for unit in resources.values()) for key in total}
    assert total.keys() == {"LUT", "FF", "DSP", "BRAM_18K", "URAM"} and total["LUT"] > 0


def test_parameters_and_products_are_those_of_the_network(files: dict[str, dict]) -> None:
    counts = files["op_and_param_counts"]
    fc1 = counts["blocks.0.mlp.fc1"]
    assert fc1["param_weight_INT4"] + fc1["param_weight_INT8"] == 24 * 32
    assert fc1["param_weight_INT8"] == 24 * 8
    assert fc1["param_bias_INT30"] == 32
    assert fc1["op_mac_INT4_INT7"] + fc1["op_mac_INT8_INT7"] == TOKENS * 24 * 32
    heads = [counts[f"blocks.0.attn.scores[{head}]"] for head in range(2)]
    assert heads == 2 * [{"op_mac_INT8_INT7": TOKENS * TOKENS * 8}]
    patch = counts["patch_embed"]
    assert patch["op_mac_INT4_INT7"] + patch["op_mac_INT8_INT7"] == 16 * 16 * 24
    total = counts.pop("total")
    for key, value in total.items():
        assert value == sum(layer.get(key, 0) for layer in counts.values())
