"""What torch.export makes of a module arrives in the float graph unchanged, under readable names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from qvit_hls.errors import QvitError
from qvit_hls.frontend.compile import float_graph
from qvit_hls.frontend.importer import import_module
from qvit_hls.ir.float_ops import AttentionScores, Elementwise, Linear
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def config(pooling: str) -> VitConfig:
    blocks = (BlockConfig(heads=3, head_dim=4, mlp_hidden=10), BlockConfig(heads=2, head_dim=2, mlp_hidden=7))
    return VitConfig(
        image_size=8,
        channels=2,
        patch_size=2,
        classes=3,
        embed_dim=12,
        pooling=pooling,
        layer_scale=True,
        blocks=blocks,
    )


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_quantized_transformer_is_imported_bit_for_bit(pooling: str) -> None:
    model = random_model(config(pooling), 0)
    graph = import_module(model, randn(1, 2, 8, 8), "vit")
    images = randn(5, 2, 8, 8)
    with torch.no_grad():
        assert torch.equal(graph(images), model(images))


def test_passes_reduce_the_quantized_transformer_to_its_layers() -> None:
    graph = float_graph(random_model(config("cls"), 0), randn(1, 2, 8, 8), "vit", verify=True)
    assert {node.op.kind for node in graph} == {
        *("input", "patches", "linear", "constant", "concat_tokens", "add", "layer_norm"),
        *("attention_scores", "softmax", "attention_context", "elementwise", "take_token", "reshape"),
    }
    unrounded = {node.op.kind for node in graph if node.quant is None}
    assert unrounded == {"patches", "constant", "concat_tokens", "softmax", "take_token", "reshape"}
    linear = graph["blocks.1.mlp.fc1"]
    assert isinstance(linear.op, Linear) and linear.op.row_bits is not None
    assert linear.source == "blocks.1.mlp.fc1"


class PlainBlock(nn.Module):
    """A block as written elsewhere: affine norms, fused attention, in-place and functional calls."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(12)
        self.q, self.k, self.v = (nn.Linear(12, 12, bias=False) for _ in range(3))
        self.proj = nn.Linear(12, 12)
        self.mlp = nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 20), nn.GELU("tanh"), nn.Linear(20, 12))
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, channels = x.shape
        y = self.norm(x)
        q, k, v = (m(y).view(batch, tokens, 2, 6).permute(0, 2, 1, 3) for m in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.drop(self.proj(y.transpose(1, 2).contiguous().view(batch, tokens, channels)))
        x += self.mlp(x)
        return x


class PlainVit(nn.Module):
    """A float Vision Transformer that knows nothing of quantization."""

    def __init__(self, pool: str) -> None:
        super().__init__()
        self.embed = nn.Conv2d(2, 12, 2, 2)
        self.cls = nn.Parameter(randn(1, 1, 12))
        self.register_buffer("pos", randn(17, 12))
        self.blocks = nn.Sequential(PlainBlock(), PlainBlock())
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, 3)
        self.pool = pool

    def forward(self, images: Tensor) -> Tensor:
        x = self.embed(images).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls.expand(len(x), -1, -1), x), 1) + self.pos
        x = self.norm(self.blocks(x / 2))
        return self.head(x[:, 0] if self.pool == "cls" else x.mean(1))


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_float_transformer_is_imported_and_fused(pool: str) -> None:
    torch.manual_seed(0)
    model = PlainVit(pool)
    graph = float_graph(model, randn(1, 2, 8, 8), "plain", verify=True)
    images = randn(4, 2, 8, 8)
    torch.testing.assert_close(graph(images), model.eval()(images), rtol=1e-4, atol=1e-5)
    assert sum(isinstance(node.op, AttentionScores) for node in graph) == 2
    assert {"blocks.0.scores", "blocks.1.mlp.1", "blocks.1.mlp.2", "head"} <= {node.name for node in graph}


def test_the_module_is_left_as_it_was() -> None:
    model = PlainVit("cls").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    import_module(model, randn(1, 2, 8, 8), "plain")
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


class Exotic(nn.Module):
    """Uses what the IR does not have."""

    class Act(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(x)

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.act = self.Act()
        self.norm = nn.LayerNorm((3, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.act(self.fc(x)))
        a, b = x.chunk(2, dim=-1)
        return torch.softmax(a * b, dim=1)


def test_all_unsupported_operators_are_listed_with_their_modules() -> None:
    with pytest.raises(QvitError) as error:
        import_module(Exotic(), randn(1, 3, 4), "exotic")
    *problems, supported = error.value.problems
    assert problems == [
        "act: aten.sin.default is not supported.",
        "norm: aten.layer_norm.default is not supported over more than the last dimension.",
        "the model itself: aten.mul.Tensor is not supported with two values that depend on the input.",
        "the model itself: aten.softmax.int is not supported over another dimension than the last.",
    ]
    assert supported.startswith("Supported operators are: add, ")


class Gate(nn.Module):
    """x times a sigmoid."""

    def __init__(self, factor: float | None, gate_first: bool) -> None:
        super().__init__()
        self.factor, self.gate_first = factor, gate_first

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(x if self.factor is None else self.factor * x)
        return gate * x if self.gate_first else x * gate


@pytest.mark.parametrize("gate_first", [False, True])
@pytest.mark.parametrize(("factor", "function"), [(None, "silu"), (1.702, "quick_gelu")])
def test_a_value_gated_by_itself_is_one_function(
    factor: float | None, function: str, gate_first: bool
) -> None:
    gate, x = Gate(factor, gate_first), randn(2, 3, 4)
    graph = float_graph(gate, x, "gate")
    (op,) = (node.op for node in graph if isinstance(node.op, Elementwise))
    assert op.function == function
    # torch's SiLU rounds in another order than the product of both.
    assert torch.allclose(graph(x), gate(x), atol=1e-6, rtol=1e-6)


def test_another_gate_is_refused() -> None:
    with pytest.raises(QvitError) as error:
        import_module(Gate(1.5, False), randn(1, 3, 4), "gate")
    assert error.value.problems[0] == (
        "the model itself: aten.mul.Tensor is not supported with two values that depend on the input."
    )


@pytest.mark.parametrize("padding", ["valid", 0])
def test_a_patch_convolution_may_say_that_it_does_not_pad(padding: str | int) -> None:
    model, x = nn.Conv2d(2, 4, 2, 2, padding=padding).eval(), randn(3, 2, 4, 4)
    graph = import_module(model, x, "patches")
    with torch.no_grad():
        assert torch.equal(graph(x), model(x))


def test_a_convolution_that_pads_is_refused() -> None:
    with pytest.raises(QvitError) as error:
        import_module(nn.Conv2d(2, 4, 3, padding="same"), randn(1, 2, 4, 4), "padded")
    assert error.value.problems[0] == (
        "the model itself: aten.conv2d.padding is not supported with padding, dilation or groups."
    )


class BatchMixer(nn.Module):
    """Moves the batch dimension."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x.transpose(0, 1) + x)


def test_an_operator_that_is_supported_otherwise_says_what_is_wrong() -> None:
    with pytest.raises(QvitError) as error:
        import_module(BatchMixer(), randn(1, 2, 4), "mixer")
    assert error.value.problems[0] == (
        "the model itself: aten.add.Tensor is not supported while the batch dimension is not in front."
    )


class DataDependent(nn.Module):
    """Cannot be traced."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_a_module_that_cannot_be_traced_is_a_problem_of_the_module() -> None:
    with pytest.raises(QvitError, match=r"^torch\.export cannot trace the model: "):
        import_module(DataDependent(), randn(1, 4), "dynamic")
