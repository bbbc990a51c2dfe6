"""The ONNX model of an integer graph gives the codes of the golden reference in onnxruntime, bit for bit."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import Builder, VitShape, float_graph, integer_vit, random_linear, vit_shapes

from qvit_hls.errors import QvitError
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Graph, Quantization
from qvit_hls.ir.onnx_export import export_onnx, onnx_model
from qvit_hls.ir.tables import exponent_table

VIT = VitShape(2, (2, 3), 2, 2, 5, 11, 1, 7, 16, 0.5, True, 3)


def run_onnx(
    graph: Graph, image: torch.Tensor, model: onnx.ModelProto | None = None
) -> dict[str, np.ndarray]:
    model = model or onnx_model(graph)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    results = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    return dict(zip((o.name for o in session.get_outputs()), results, strict=True))


def assert_equal_to_reference(graph: Graph, image: torch.Tensor) -> None:
    """Every value of the graph, by making each an output."""
    graph = graph.with_nodes(graph.nodes, tuple(node.name for node in graph))
    expected = graph.run(image)
    for name, codes in run_onnx(graph, image).items():
        np.testing.assert_array_equal(codes, expected[name].numpy(), err_msg=name)


@settings(max_examples=30, deadline=None)
@given(shape=vit_shapes, batch=st.integers(1, 2))
def test_every_value_equals_the_golden_reference(shape: VitShape, batch: int) -> None:
    graph = integer_vit(shape)
    image = torch.randn(batch, *graph["image"].shape, generator=torch.Generator().manual_seed(shape.seed))
    assert_equal_to_reference(graph, image)


def wide_input(channels: int, tokens: int) -> Builder:
    """A builder whose value ``x [tokens, channels]`` takes any 16-bit code straight from the image."""
    b = Builder()
    b.add("image", ops.QuantizedInput((channels, tokens, 1)), quant=Quantization(1.0, 32767))
    b.add("x", ops.Patches(1), "image")
    return b


def as_image(codes: np.ndarray) -> torch.Tensor:
    """The image that gives ``codes [tokens, channels]`` in :func:`wide_input`."""
    return torch.from_numpy(codes.T[None, :, :, None].astype(np.float32))


@pytest.mark.parametrize("channels", [1, 2, 191, 768])
def test_layer_norm_is_exact_at_extreme_variances(channels: int) -> None:
    rng = np.random.default_rng(channels)
    flat = np.full(channels, 32767)
    alternating = np.where(np.arange(channels) % 2, 32767, -32767)
    one_off = flat - np.eye(1, channels, dtype=int)[0]
    random = rng.integers(-32767, 32768, (4, channels))
    codes = np.vstack([flat, -flat, alternating, one_off, 0 * flat, random, random // 4096])
    b = wide_input(channels, len(codes))
    b.add("y", ops.IntegerLayerNorm(1, 40000, 11, 63), "x")
    b.add("z", ops.IntegerLayerNorm(1, 40000, 11, 63, (np.arange(channels) % 8).astype(np.uint8)), "x")
    assert_equal_to_reference(b.graph("y", "z"), as_image(codes))


def test_requantization_rounds_negative_halves_up_at_every_shift() -> None:
    rows = 47
    b = wide_input(1, 9)
    linear = ops.IntegerLinear(
        np.ones((rows, 1), np.int8),
        np.full(rows, 4, np.uint8),
        np.zeros(rows, np.int64),
        np.full(rows, 1 << 15, np.int64),
        np.arange(1, rows + 1, dtype=np.int64),
        32767,
    )
    b.add("y", linear, "x")
    codes = np.array([[-32767], [-3], [-2], [-1], [0], [1], [2], [3], [32767]])
    graph = b.graph("y")
    assert_equal_to_reference(graph, as_image(codes))
    halved = run_onnx(graph, as_image(codes))["y"][0, :, 15]  # shift 16: (x + 1) >> 1
    np.testing.assert_array_equal(halved, (codes[:, 0] + 1) >> 1)


def test_softmax_of_one_key_and_of_saturated_distances_is_exact() -> None:
    b = wide_input(2, 3)
    b.add("scores", ops.IntegerScores(2, 1 << 15, 15, 32767), "x", "x")
    b.add("exponents", ops.SoftmaxExponents(exponent_table(0.01)), "scores")
    b.add("y", ops.IntegerContext(2, 50000, 15, 127), "exponents", "x")
    codes = np.array([[100, 1], [-100, 0], [3, -1]])
    assert_equal_to_reference(b.graph("y"), as_image(codes))


def test_mixed_rows_are_two_products_with_4_bit_weights_as_int4() -> None:
    graph = integer_vit(VIT)
    model = onnx_model(graph)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in graph:
        if not isinstance(node.op, ops.IntegerLinear):
            continue
        for bits, dtype in ((4, onnx.TensorProto.INT4), (8, onnx.TensorProto.INT8)):
            rows = np.flatnonzero(node.op.row_bits == bits)
            tensor = stored.get(f"{node.name}/weight_{bits}bit")
            assert (tensor is not None) == bool(rows.size)
            if tensor is not None:
                assert tensor.data_type == dtype
                values = onnx.numpy_helper.to_array(tensor).astype(np.int8)
                np.testing.assert_array_equal(values, node.op.weight[rows].T)


def test_the_model_is_valid_names_its_nodes_and_carries_the_scales() -> None:
    graph = integer_vit(VIT)
    model = onnx_model(graph)
    onnx.checker.check_model(model, full_check=True)
    assert {node.name for node in graph} <= {node.name for node in model.graph.node}
    assert {n.domain for f in model.functions for n in f.node} <= {"", "qvit_hls"}
    metadata = {item.key: item.value for item in model.metadata_props}
    assert metadata["qvit_hls.spec_version"] == "1"
    quant = graph["patch_embed"].quant
    assert quant is not None
    assert json.loads(metadata["qvit_hls.quantization"])["patch_embed"] == {
        "scale": quant.scale,
        "qmax": quant.qmax,
    }


def test_an_exported_file_is_read_and_is_the_same_every_time(tmp_path: Path) -> None:
    graph = integer_vit(VIT)
    export_onnx(graph, tmp_path / "a.onnx")
    export_onnx(graph, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]
    image = torch.randn(1, *graph["image"].shape, generator=torch.Generator().manual_seed(0))
    codes = run_onnx(graph, image, onnx.load(tmp_path / "a.onnx"))["head"]
    np.testing.assert_array_equal(codes, graph(image).numpy())


def test_float_operations_are_all_refused() -> None:
    graph = float_graph(0, (1, 2))
    with pytest.raises(QvitError) as caught:
        onnx_model(graph)
    kinds = [node for node in graph if node.op.kind not in ("patches", "take_token")]
    assert caught.value.problems == tuple(
        f"Node {node.name} is the float operation {node.op.kind}; only integer graphs are exported to ONNX."
        for node in kinds
    )


def test_an_accumulator_beyond_32_bits_is_refused() -> None:
    b = wide_input(768, 1)
    rng = np.random.default_rng(0)
    linear = random_linear(rng, 1, 768, 1.0, 63, 63)
    linear.weight[:] = 119
    linear.bias[:] = 0
    b.add("fc", linear, "x")
    bound = 768 * 119 * 32767
    message = (
        f"Node fc may accumulate up to {bound}, but an accumulator has 32 bits; "
        "its input codes must be smaller."
    )
    with pytest.raises(QvitError, match=f"^{re.escape(message)}$"):
        onnx_model(b.graph("fc"))


def test_a_missing_onnx_package_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    message = "ONNX export needs the package onnx; run pip install 'qvit-hls[onnx]'."
    with pytest.raises(QvitError, match=f"^{re.escape(message)}$"):
        onnx_model(integer_vit(VIT))
