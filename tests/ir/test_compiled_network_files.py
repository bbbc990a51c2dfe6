"""Networks compiled from PyTorch survive the graph file format and equal their ONNX export bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qvit_hls.frontend.compile import float_graph
from qvit_hls.ir.file_format import graph_files, load_graph, save_graph
from qvit_hls.ir.lowering import lower
from qvit_hls.ir.onnx_export import onnx_model
from qvit_hls.ir.pipeline import INTEGER_PASSES, run_passes
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model

configs = st.builds(
    VitConfig,
    image_size=st.just(8),
    channels=st.integers(1, 3),
    patch_size=st.sampled_from([2, 4]),
    classes=st.integers(2, 6),
    embed_dim=st.sampled_from([12, 20]),
    blocks=st.tuples(
        st.builds(BlockConfig, heads=st.integers(1, 2), head_dim=st.just(6), mlp_hidden=st.just(19))
    ),
    pooling=st.sampled_from(["cls", "mean"]),
    layer_scale=st.booleans(),
    activation_bits=st.integers(4, 8),
    eight_bit_share=st.sampled_from([0.0, 0.3, 1.0]),
)


@settings(max_examples=3, derandomize=True, deadline=None)
@given(config=configs, seed=st.integers(0, 999))
def test_a_compiled_network_is_the_same_from_its_files_and_as_onnx(
    config: VitConfig, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    images = torch.randn(3, config.channels, 8, 8, generator=torch.Generator().manual_seed(seed))
    traced = float_graph(random_model(config, seed), images, "net")
    compiled = run_passes(lower(traced), INTEGER_PASSES, verify=False)
    for graph in (traced, compiled):
        folder: Path = tmp_path_factory.mktemp("graph")
        save_graph(graph, folder)
        assert graph_files(load_graph(folder)) == graph_files(graph)
    graph = compiled.with_nodes(compiled.nodes, tuple(node.name for node in compiled))
    session = onnxruntime.InferenceSession(
        onnx_model(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    results = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    expected = graph.run(images)
    for name, codes in zip(graph.outputs, results, strict=True):
        np.testing.assert_array_equal(codes, expected[name].numpy(), err_msg=name)
