"""The committed digits model and its test images: what everything later in the flow starts from."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import torch

from qvit_hls.nets.checkpoint import load_model
from qvit_hls.quant.rows import eight_bit_rows
from qvit_hls.train.evaluation import predict

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


def load_test_data() -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(DIGITS / "test.npz", allow_pickle=False) as file:
        return torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])


def test_the_model_is_right_about_the_test_images() -> None:
    images, labels = load_test_data()
    right = predict(load_model(DIGITS / "model.pt"), images) == labels
    assert float(right.float().mean()) >= 0.975


def test_the_integer_graph_is_as_good_as_the_quantized_model() -> None:
    found = runpy.run_path(str(DIGITS / "evaluate.py"))["evaluate"](DIGITS / "model.pt")
    assert found.integer >= 0.97
    assert abs(found.integer - found.quantized) <= 0.003
    assert found.equal >= 0.995


def test_the_test_images_are_those_of_the_data_set() -> None:
    images, labels = load_test_data()
    assert images.shape == (360, 1, 8, 8)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert torch.bincount(labels).min() >= 34


def test_every_layer_has_rows_of_both_widths() -> None:
    for name, layer, _ in load_model(DIGITS / "model.pt").weight_layers():
        rows = len(layer.row_bits)
        assert int((layer.row_bits == 8).sum()) == eight_bit_rows(rows, 0.25), name
