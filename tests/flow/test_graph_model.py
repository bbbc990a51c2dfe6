"""A quantized graph as a model file: what is written is read, what is wrong is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qvit_hls.errors import QvitError
from qvit_hls.flow.generate import compile_model
from qvit_hls.flow.graph_model import load_any_model, save_graph_model
from qvit_hls.ir.file_format import graph_files
from qvit_hls.ir.float_ops import Input, Linear
from qvit_hls.ir.graph import Graph, Node, Quantization
from qvit_hls.ir.lowering import lower
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model
from qvit_hls.nets.vit import QuantVisionTransformer


def small_graph() -> Graph:
    weight = np.array([[0.5, -1.0, 3.5], [0.25, 0.0, -0.75]], np.float32)
    op = Linear(weight, np.array([0.1, -0.2]), np.array([0.5, 0.25]), np.array([4, 8], np.uint8))
    return Graph(
        "small",
        (
            Node("x", Input((2, 3)), (), (2, 3), Quantization(0.1, 63)),
            Node("head", op, ("x",), (2, 2), Quantization(0.01, 32767)),
        ),
        ("head",),
    )


def test_a_graph_survives_its_file(tmp_path: Path) -> None:
    graph = small_graph()
    save_graph_model(graph, tmp_path / "model.pt")
    loaded = load_any_model(tmp_path / "model.pt")
    assert isinstance(loaded, Graph)
    assert graph_files(loaded) == graph_files(graph)
    save_graph_model(loaded, tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == (tmp_path / "model.pt").read_bytes()


def test_both_kinds_of_model_files_compile(tmp_path: Path) -> None:
    save_graph_model(small_graph(), tmp_path / "graph.pt")
    compiled = compile_model(tmp_path / "graph.pt", True, lambda stage, done, total: None)
    assert compiled.name == "graph"
    images = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(compiled(images), lower(small_graph())(images))
    config = VitConfig(
        image_size=4, channels=1, patch_size=2, classes=2, embed_dim=4,
        blocks=(BlockConfig(heads=1, head_dim=4, mlp_hidden=4),),
    )  # fmt: skip
    save_model(random_model(config, 0), tmp_path / "network.pt")
    assert isinstance(load_any_model(tmp_path / "network.pt"), QuantVisionTransformer)


def damaged(tmp_path: Path, **changes: Any) -> tuple[str, Path]:
    path = tmp_path / "model.pt"
    save_graph_model(small_graph(), path)
    content = torch.load(path, weights_only=True) | changes
    torch.save({key: value for key, value in content.items() if value is not None}, path)
    with pytest.raises(QvitError) as error:
        load_any_model(path)
    return str(error.value), path


def test_another_version_is_refused(tmp_path: Path) -> None:
    message, path = damaged(tmp_path, version=2)
    assert message == f"{path} has graph format version 2; this program reads version 1."


def test_entries_are_checked(tmp_path: Path) -> None:
    message, path = damaged(tmp_path, graph=None, more=1)
    assert message == f'{path} has no entry "graph".\n{path} has an unknown entry "more".'


def test_a_damaged_graph_is_said_completely(tmp_path: Path) -> None:
    tensors = {"head/weight": torch.zeros(2, 4), "head/bias": torch.zeros(2, dtype=torch.float64)}
    message, path = damaged(tmp_path, tensors=tensors)
    assert message == "\n".join(
        [
            f"{path}: tensors: tensor head/weight has dtype float32 and shape [2, 4], but model.pt: graph "
            "says float32 and [2, 3].",
            f"{path}: tensors: tensor head/row_scale is missing.",
            f"{path}: tensors: tensor head/row_bits is missing.",
        ]
    )


def test_tensors_that_are_no_plain_arrays_are_refused(tmp_path: Path) -> None:
    message, path = damaged(tmp_path, tensors={"head/weight": torch.zeros(2, 3).to_sparse(), "head/bias": 1})
    assert message == "\n".join(
        f"{path}: tensor {name} is not a dense array of plain numbers."
        for name in ("head/weight", "head/bias")
    )
