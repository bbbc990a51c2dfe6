"""The integer graph follows the quantized float graph; what cannot be lowered is reported, all at once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from float_models import own_model, timm_model
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from own_vits import own_vits

from qvit_hls.errors import QvitError
from qvit_hls.flow.quantize import quantize_module
from qvit_hls.frontend.compile import float_graph, integer_graph
from qvit_hls.ir import float_ops as f
from qvit_hls.ir import integer_ops as integer
from qvit_hls.ir.execute_float import FLOAT_RULES
from qvit_hls.ir.graph import Graph, Node, Quantization
from qvit_hls.ir.interpreter import run
from qvit_hls.ir.lowering import lower
from qvit_hls.ir.passes.group_row_precisions import group_row_precisions, row_orders
from qvit_hls.ir.tables import exponent_table, function_table
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model
from qvit_hls.nets.vit import QuantVisionTransformer
from qvit_hls.ptq.methods import MinMax
from qvit_hls.ptq.quantize import QuantizationSettings

seeds = st.integers(0, 999)
#: Tracing a network takes a second: few examples, and none for shrinking.
few = settings(max_examples=4, phases=[Phase.explicit, Phase.generate])
configs = st.builds(
    VitConfig,
    image_size=st.just(8),
    channels=st.integers(1, 3),
    patch_size=st.sampled_from([2, 4]),
    classes=st.integers(2, 5),
    embed_dim=st.sampled_from([10, 16]),
    blocks=st.lists(
        st.builds(
            BlockConfig, heads=st.integers(1, 3), head_dim=st.integers(2, 5), mlp_hidden=st.integers(3, 20)
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
    pooling=st.sampled_from(["cls", "mean"]),
    layer_scale=st.booleans(),
    activation=st.sampled_from(["gelu", "gelu_tanh", "relu", "silu"]),
    activation_bits=st.integers(4, 8),
    residual_bits=st.integers(12, 16),
    eight_bit_share=st.sampled_from([0.0, 0.3, 1.0]),
)


def example(model: QuantVisionTransformer) -> torch.Tensor:
    config = model.config
    return torch.zeros(1, config.channels, config.image_size, config.image_size)


def images(model: QuantVisionTransformer, count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, *example(model).shape[1:], generator=torch.Generator().manual_seed(seed))


def real(node: Node, codes: torch.Tensor) -> torch.Tensor:
    """What the codes of an integer node stand for, in float64."""
    assert node.quant is not None
    if isinstance(node.op, integer.SoftmaxExponents):
        return codes / codes.sum(-1, keepdim=True).double()
    return codes.double() * node.quant.scale


@few
@given(configs, seeds)
def test_every_integer_operation_is_its_float_operation_rounded(config: VitConfig, seed: int) -> None:
    """Each operation, on the very codes that it gets, is within one code of the exact real result.

    For linear layers one accumulator step is added, half of which is the rounding of the bias, and for
    wide values the 16 bits of a multiplier, 2**-16 of the value.
    """
    model = random_model(config, seed)
    check_operations(float_graph(model, example(model), "random"), images(model, 2, seed))


@pytest.mark.parametrize("name", own_vits())
def test_every_integer_operation_of_a_network_quantized_afterwards_is_its_float_operation_rounded(
    name: str,
) -> None:
    model, batch = own_model(name)
    _, quantized = quantize_module(model, batch, QuantizationSettings(MinMax()))
    check_operations(quantized.graph, batch)


@pytest.mark.usefixtures("importable_timm")
def test_so_is_every_one_of_normalised_queries_and_keys() -> None:
    model, batch = timm_model("vit_tiny_patch16_224", qk_norm=True)
    _, quantized = quantize_module(model, batch, QuantizationSettings(MinMax()))
    check_operations(quantized.graph, batch)


def check_operations(reference: Graph, batch: torch.Tensor) -> None:
    graph = lower(reference)
    values = graph.run(batch)
    for node in graph:
        if not node.inputs or isinstance(node.op, integer.SoftmaxExponents | integer.Embed):
            continue
        assert node.quant is not None
        inputs = [real(graph[name], values[name]) for name in node.inputs]
        op = reference[node.name].op
        exact = FLOAT_RULES[type(op)](op, *inputs) / node.quant.scale
        slack = torch.tensor(1.0)
        if isinstance(op, f.Linear):
            input_quant = graph[node.inputs[0]].quant
            assert op.row_scale is not None and input_quant is not None
            slack = slack + torch.from_numpy(op.row_scale * input_quant.scale / node.quant.scale)
        error = (values[node.name] - exact.clamp(-node.quant.qmax, node.quant.qmax)).abs()
        assert bool((error <= slack + exact.abs() * 2**-14).all()), node.name


@few
@given(configs, seeds)
def test_embedding_is_exact(config: VitConfig, seed: int) -> None:
    model = random_model(config, seed)
    reference = float_graph(model, example(model), "random")
    graph = lower(reference)
    (embed,) = (node for node in graph if isinstance(node.op, integer.Embed))
    assert embed.quant is not None
    codes = graph.run(images(model, 1, 0))
    patches = codes[embed.inputs[0]] * embed.quant.scale
    position = reference["pos_embed"].op
    assert isinstance(position, f.Constant)
    constant = position.value.astype(np.float64)
    if "cls_token" in reference.index:
        token = reference["cls_token"].op
        assert isinstance(token, f.Constant)
        patches = torch.cat([torch.from_numpy(token.value).double()[None], patches], 1)
    expected = torch.floor((patches + torch.from_numpy(constant)) / embed.quant.scale + 0.5)
    limit = embed.quant.qmax
    assert torch.equal(codes[embed.name].double(), expected.clamp(-limit, limit))


@few
@given(configs, seeds)
def test_lowered_networks_predict_what_the_quantized_network_predicts(config: VitConfig, seed: int) -> None:
    model = random_model(config, seed)
    batch = images(model, 8, seed)
    graph = integer_graph(model, example(model), "random", verify=True)
    (output,) = graph.outputs
    assert graph[output].shape == (1, config.classes)
    quant = graph[output].quant
    assert quant is not None
    with torch.no_grad():
        expected = model(batch)
    logits = real(graph[output], run(graph, (batch,))[output])[:, 0]
    # Activations of few bits turn single roundings into visible steps; these must stay small on average.
    spread = expected.std() + expected.abs().mean()
    assert float((logits - expected).abs().mean() / spread) < {4: 0.5, 5: 0.25}.get(
        config.activation_bits, 0.15
    )


@few
@given(configs, seeds)
def test_grouping_rows_changes_no_output_and_leaves_every_group_contiguous(
    config: VitConfig, seed: int
) -> None:
    model = random_model(config, seed)
    graph = lower(float_graph(model, example(model), "random"))
    grouped = group_row_precisions(graph)
    batch = images(model, 2, 0)
    assert torch.equal(graph(batch), grouped(batch))
    grouped_names = set(row_orders(graph))
    for i, block in enumerate(config.blocks):
        for name, groups in ((f"blocks.{i}.attn.v", block.heads), (f"blocks.{i}.mlp.fc1", 1)):
            assert name in grouped_names
            op = grouped[name].op
            assert isinstance(op, integer.IntegerLinear)
            bits = op.row_bits.reshape(groups, -1).astype(int)
            assert (np.diff(bits, axis=1) <= 0).all()
    assert len(grouped_names) == 2 * len(config.blocks)


def test_exponents_start_at_119_and_end_at_zero() -> None:
    table = exponent_table(1 / 32)
    assert table.dtype == np.uint8 and table.shape == (256,)
    assert table[0] == 119 and table[255] == 0
    assert table[32] == 44  # 119 / e = 43.78


def test_exponents_on_a_logarithmic_grid_are_powers() -> None:
    twos = exponent_table(1 / 32, 1)
    assert twos[0] == 64 and twos[255] == 0
    assert set(twos.tolist()) == {0, 1, 2, 4, 8, 16, 32, 64}
    assert set(exponent_table(1 / 32, 2).tolist()) == {0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64}
    for levels in (1, 2):
        exact = 64 * np.exp(-np.arange(120) / 32)
        ratio = np.abs(np.log2(exponent_table(1 / 32, levels)[:120] / exact))
        # Half a level, and what integers near 1 add.
        assert ratio[exact >= 12].max() <= 0.5 / levels + 0.06


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_the_float_softmax_has_the_lowered_exponents(levels: int) -> None:
    """Whichever grid the exponents are on."""
    grid = Quantization(1 / 16, 2047)
    image = Node("x", f.Input((2, 3, 5)), (), (2, 3, 5), grid)
    graph = Graph("g", (image, Node("p", f.Softmax(1 / 16, levels), ("x",), (2, 3, 5))), ("p",))
    integer = lower(graph)
    x = torch.randn(4, 2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    exponents = integer(x).double()
    assert torch.equal(exponents / exponents.sum(-1, keepdim=True), graph(x))
    meaning = integer["p"].quant
    assert meaning is not None and meaning.qmax * meaning.scale == 1
    assert exponents.max() == meaning.qmax == (64 if levels else 119)


def test_function_table_rounds_half_up_and_saturates() -> None:
    table = function_table("relu", Quantization(0.5, 3), Quantization(1.0, 1))
    assert table.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert table.dtype == np.int16


def test_output_names_are_those_of_the_modules() -> None:
    config = VitConfig(
        image_size=4, channels=1, patch_size=2, classes=3, embed_dim=8,
        blocks=(BlockConfig(heads=2, head_dim=4, mlp_hidden=6),), layer_scale=True,
    )  # fmt: skip
    model = random_model(config, 0)
    graph = integer_graph(model, example(model), "names")
    assert [node.name for node in graph] == [
        "images",
        "patch_embed.patches",
        "patch_embed",
        "add",
        "blocks.0.norm1",
        "blocks.0.attn.q",
        "blocks.0.attn.k",
        "blocks.0.attn.v",
        "blocks.0.attn.scores",
        "blocks.0.attn.softmax",
        "blocks.0.attn.context",
        "blocks.0.attn.proj",
        "blocks.0.add",
        "blocks.0.norm2",
        "blocks.0.mlp.fc1",
        "blocks.0.mlp.gelu",
        "blocks.0.mlp.fc2",
        "blocks.0.add_1",
        "token",
        "norm",
        "head",
    ]


def linear(**changes: object) -> f.Linear:
    op = f.Linear(np.array([[0.5, -1.5]]), np.zeros(1), np.array([0.5]), np.array([4], np.uint8))
    return replace(op, **changes)  # type: ignore[arg-type]


def problems_of(*nodes: Node) -> tuple[str, ...]:
    image = Node("x", f.Input((4, 2)), (), (4, 2), Quantization(0.1, 63))
    with pytest.raises(QvitError) as error:
        lower(Graph("bad", (image, *nodes), (nodes[-1].name,)))
    return error.value.problems


def test_all_problems_are_reported_at_once_and_consequences_are_not() -> None:
    grid = Quantization(0.1, 63)
    assert problems_of(
        Node("a", linear(), ("x",), (4, 1)),
        Node("after_a", f.Elementwise("gelu"), ("a",), (4, 1), grid),
        Node("b", linear(row_scale=None, row_bits=None), ("x",), (4, 1), grid),
        Node("c", f.Softmax(), ("x",), (4, 2)),
        Node("d", f.Scale(np.array(2.0)), ("x",), (4, 2), grid),
    ) == (
        "a: its value is not quantized; put a quantizer behind it.",
        "b: its weights are not quantized; round them with quant.fake_quant.fake_quantize_rows.",
        "c: its exponents are not quantized; use the quantized softmax.",
        "d: the factor does not follow a linear layer or attention scores directly.",
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"row_bits": np.array([6], np.uint8)}, "row 0 has 6-bit weights; rows are 4 or 8 bit"),
        (
            {"weight": np.array([[0.5, 0.7]])},
            "row 0 has weights off its grid of 4-bit multiples of 0.5",
        ),
        (
            {"weight": np.array([[4.0, 0.0]])},
            "row 0 has weights off its grid of 4-bit multiples of 0.5",
        ),
        ({"row_scale": np.array([0.0])}, "row 0 has a step of 0.0; it must be positive"),
        (
            {"bias": np.array([1e8])},
            "row 0 has a bias of 2000000000 accumulator steps; at most 536870911 fit",
        ),
        (
            {"weight": np.array([[5e6, 0.0]]), "row_scale": np.array([5e6])},
            "row 0: the rescaling factor is 5e+06; it must be less than 32768",
        ),
    ],
)
def test_linear_layers_outside_the_contract_are_refused(changes: dict[str, np.ndarray], problem: str) -> None:
    node = Node("fc", linear(**changes), ("x",), (4, 1), Quantization(0.1, 63))
    assert problems_of(node) == (f"fc: {problem}.",)


def test_residual_terms_must_share_a_step() -> None:
    grid = Quantization(0.1, 63)
    assert problems_of(
        Node("y", f.LayerNorm(1e-6), ("x",), (4, 2), Quantization(0.2, 63)),
        Node("sum", f.Add(), ("x", "y"), (4, 2), grid),
    ) == (
        "sum: it adds y with steps of 0.2 to a sum with steps of 0.1; both terms and the sum must have the "
        "same step.",
    )


def test_any_number_of_constant_tokens_stands_before_the_patches() -> None:
    residual, tokens = Quantization(0.01, 32767), np.array([[0.1, -0.2], [0.3, 0.4], [0.5, 0.0]])
    op = linear(
        weight=np.array([[0.5, -1.5], [1.0, 0.5]]),
        bias=np.zeros(2),
        row_scale=np.full(2, 0.5),
        row_bits=np.full(2, 4, np.uint8),
    )
    image = Node("x", f.Input((4, 2)), (), (4, 2), Quantization(0.1, 63))
    nodes = (
        image,
        Node("embed", op, ("x",), (4, 2), residual),
        Node("registers", f.Constant(tokens), (), (3, 2)),
        Node("stream", f.ConcatTokens(), ("registers", "embed"), (7, 2), residual),
    )
    graph = Graph("registers", nodes, ("stream",))
    lowered = lower(graph)
    embed = lowered["stream"].op
    assert isinstance(embed, integer.Embed) and embed.offset == 3
    images = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0))
    codes = lowered(images)
    assert torch.equal(codes[:, :3], torch.tensor(np.rint(tokens * 100)).long().expand(2, 3, 2))
    assert torch.equal(codes, torch.round(graph(images).double() / 0.01).long())


def layer_norm_of(weight: np.ndarray | None, bias: np.ndarray | None = None, scale: float = 0.05) -> Graph:
    """A LayerNorm of four channels of a residual stream."""
    image = Node("x", f.Input((3, 4)), (), (3, 4), Quantization(0.001, 32767))
    norm = Node("y", f.LayerNorm(1e-6, weight, bias), ("x",), (3, 4), Quantization(scale, 127))
    return Graph("norm", (image, norm), ("y",))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layer_norm_weights_that_are_powers_of_two_become_shifts(dtype: type[np.floating]) -> None:
    graph = layer_norm_of(np.array([1, 2**-7, 0.5, 0.125], dtype))
    lowered = lower(graph)
    op = lowered["y"].op
    assert isinstance(op, integer.IntegerLayerNorm) and op.shifts is not None
    assert (op.shifts.dtype, op.shifts.tolist()) == (np.uint8, [0, 7, 1, 3])
    batch = torch.randn(50, 3, 4, generator=torch.Generator().manual_seed(0)) * 5
    difference = real(lowered["y"], lowered(batch)) - graph(batch).double()
    assert float(difference.abs().max()) < 0.05 * 1.01  # one step, where both sides round to their nearest
    assert float((difference.abs() > 0.001).double().mean()) < 0.01


def test_layer_norm_weights_that_are_all_one_need_no_shifts() -> None:
    ones, none = (lower(layer_norm_of(weight))["y"].op for weight in (np.ones(4), None))
    assert isinstance(ones, integer.IntegerLayerNorm) and ones.shifts is None
    assert vars(ones) == vars(none)


def test_the_shift_of_a_reciprocal_leaves_room_for_that_of_a_channel() -> None:
    """With a step so coarse that the shift is as large as it may be, even of the largest variance."""
    graph = layer_norm_of(np.array([1, 2**-7, 0.5, 0.125]), scale=2.0**40)
    op = lower(graph)["y"].op
    assert isinstance(op, integer.IntegerLayerNorm) and op.shifts is not None
    largest = (4 * 32767) ** 2 + op.epsilon
    assert op.exponent + math.isqrt(largest).bit_length() + int(op.shifts.max()) == integer.MAX_SHIFT


@pytest.mark.parametrize(
    ("weight", "bias"),
    [
        (np.array([1, 1, 1, 0.75]), None),
        (np.array([1, 1, 1, 2.0]), None),
        (np.array([1, 1, 1, 2**-8]), None),
        (np.array([1, 1, 1, -0.5]), None),
        (np.array([1, 1, 1, 0.0]), None),
        (np.ones(4), np.zeros(4)),
        (None, np.zeros(4)),
    ],
)
def test_other_layer_norm_weights_are_refused(weight: np.ndarray | None, bias: np.ndarray | None) -> None:
    with pytest.raises(QvitError) as error:
        lower(layer_norm_of(weight, bias))
    assert error.value.problems == (
        "y: weight and bias cannot be folded into the next layers, because its value is quantized with them; "
        "train with elementwise_affine=False instead; the engine's LayerNorm has no bias, and weights that "
        "are powers of two from 2**-7 to 1.",
    )
