"""Models of timm and transformers: the float graph is the module, before and after the passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from float_models import (
    MORE_TRANSFORMERS,
    TIMM,
    TRANSFORMERS,
    own_model,
    randn,
    timm_model,
    torch_layers,
    torch_model,
    transformers_model,
    with_random_weights,
)
from own_vits import ChannelsLastPatches, ClassAndMean, EinsumAttention, OwnVit, PreNorm, own_vits
from torch import Tensor, nn

from qvit_hls.errors import QvitError
from qvit_hls.frontend.importer import import_module
from qvit_hls.ir import float_ops as f
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.lowering import lower
from qvit_hls.ir.pipeline import FLOAT_PASSES, run_passes

pytestmark = pytest.mark.usefixtures("importable_timm")

#: What is left of a supported model.
FUSED = {
    *("input", "patches", "linear", "constant", "concat_tokens", "add", "layer_norm", "elementwise"),
    *(
        "requantize",
        "attention_scores",
        "softmax",
        "attention_context",
        "take_token",
        "mean_tokens",
        "slice",
        "reshape",
    ),
}


@torch.no_grad()
def logits(model: nn.Module, images: Tensor) -> Tensor:
    output = model(images)
    return output if isinstance(output, Tensor) else output.logits


def imported(model: nn.Module, images: Tensor, name: str) -> Graph:
    """The model's graph after the passes; both it and the one before must compute the model."""
    graph = import_module(model, images, name)
    expected = logits(model, images)
    assert float((graph(images) - expected).abs().max()) <= 1e-4
    fused = run_passes(graph, FLOAT_PASSES, verify=True)
    assert float((fused(images) - expected).abs().max()) <= 1e-4
    return fused


@pytest.mark.parametrize("name", TIMM)
def test_a_timm_model_is_imported_and_fused(name: str) -> None:
    graph = imported(*timm_model(name), name)
    assert {node.op.kind for node in graph} <= FUSED
    attentions = [node for node in graph if isinstance(node.op, f.AttentionScores)]
    assert len(attentions) == (4 if "cait" in name else 3 if "siglip_224" in name else 2)
    assert all((node.op.bias is not None) == ("beit" in name or "relpos" in name) for node in attentions)
    assert all(isinstance(graph[x].op, f.Linear) for node in attentions for x in node.inputs)


@pytest.mark.parametrize("name", [*TRANSFORMERS, *MORE_TRANSFORMERS])
def test_a_model_of_transformers_is_imported_and_fused(name: str) -> None:
    graph = imported(*transformers_model(name), name)
    assert {node.op.kind for node in graph} <= FUSED
    assert sum(isinstance(node.op, f.AttentionScores) for node in graph) == 2


@pytest.mark.parametrize("name", torch_layers())
def test_a_model_of_torch_s_own_layers_is_imported_and_fused(name: str) -> None:
    graph = imported(*torch_model(name), "plain")
    assert {node.op.kind for node in graph} <= FUSED
    assert sum(isinstance(node.op, f.AttentionScores) for node in graph) == 2


@pytest.mark.parametrize("name", own_vits())
def test_a_model_that_somebody_wrote_is_imported_and_fused(name: str) -> None:
    graph = imported(*own_model(name), "own")
    assert {node.op.kind for node in graph} <= FUSED
    assert sum(isinstance(node.op, f.AttentionScores) for node in graph) == 2


def test_torchvision_s_vit_is_imported_and_fused() -> None:
    from torchvision.models import VisionTransformer

    sizes = {"num_layers": 2, "num_heads": 3, "hidden_dim": 24, "mlp_dim": 48, "num_classes": 5}
    model = with_random_weights(VisionTransformer(image_size=32, patch_size=16, **sizes))
    graph = imported(model, randn(3, 3, 32, 32), "torchvision")
    assert {node.op.kind for node in graph} <= FUSED
    assert sum(isinstance(node.op, f.AttentionScores) for node in graph) == 2


def test_normalised_queries_and_keys_are_groups_of_channels() -> None:
    graph = imported(*timm_model("vit_tiny_patch16_224", qk_norm=True), "qk_norm")
    assert {node.op.kind for node in graph} <= FUSED
    assert [node.op.groups for node in graph if isinstance(node.op, f.LayerNorm)] == [1, 3, 3, 1] * 2 + [1]


class NormalisedScores(EinsumAttention):
    """Attention whose scores are normalised, which the engine does not do."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(5)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, 3, -1)).permute(2, 0, 3, 1, 4)
        return self.out((self.norm(0.5 * q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2))


def structure_problems(name: str, **changes: object) -> list[str]:
    """What lowering says of a model beside that nothing is quantized yet."""
    return problems_of_structure(
        *(transformers_model(name) if "Image" in name else timm_model(name, **changes))
    )


def problems_of_structure(model: nn.Module, images: Tensor) -> list[str]:
    with pytest.raises(QvitError) as error:
        lower(run_passes(import_module(model, images, "model"), FLOAT_PASSES))
    unquantized = "its value is not quantized; put a quantizer behind it."
    return [problem for problem in error.value.problems if not problem.endswith(unquantized)]


def test_lowering_names_what_computes_and_not_what_only_moves_its_data() -> None:
    product = "the product is not part of an attention of the form softmax(scale * q k^T) v over heads."
    block = PreNorm(nn.GELU())
    block.attention = NormalisedScores()
    model = OwnVit(ChannelsLastPatches(), [block], ClassAndMean()).eval()
    assert problems_of_structure(model, randn(3, 3, 8, 8)) == [
        "blocks.0.attention.scale: the factor does not follow a linear layer or attention scores directly.",
        f"blocks.0.attention.matmul: {product}",
        "blocks.0.attention.norm: it normalises values of shape [3, 5, 5]; the engine normalises whole "
        "tokens.",
        f"blocks.0.attention.matmul_1: {product}",
    ]


def test_a_layer_norm_before_the_residual_stream_is_a_diagonal_behind_it() -> None:
    graph = imported(*timm_model("vit_base_patch16_clip_quickgelu_224", depth=1), "clip")
    assert graph["blocks.0.add"].inputs[0] == graph["blocks.0.norm1"].inputs[0] == "norm_pre.stream"
    op = graph["norm_pre.stream"].op
    assert isinstance(op, f.Linear)
    assert np.count_nonzero(op.weight) == np.count_nonzero(np.diag(op.weight)) == 48
    assert sum(isinstance(node.op, f.Elementwise) and node.op.function == "quick_gelu" for node in graph) == 1


@pytest.mark.parametrize("name", [*TIMM, *TRANSFORMERS, *MORE_TRANSFORMERS])
def test_the_engine_lacks_nothing_of_a_supported_model(name: str) -> None:
    assert structure_problems(name) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_a_timm_model_of_full_size_is_imported_and_fused(name: str) -> None:
    import timm

    model = with_random_weights(timm.create_model(name, pretrained=False))
    channels, height, width = model.pretrained_cfg["input_size"]
    graph = imported(model, randn(1, channels, height, width), name)
    assert {node.op.kind for node in graph} <= FUSED
