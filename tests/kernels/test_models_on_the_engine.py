"""Models of timm and transformers, quantized after training, on every executor: all layers, by equality."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from engine import VARIANTS, Engine
from float_models import (
    TIMM,
    TRANSFORMERS,
    own_model,
    randn,
    timm_model,
    torch_model,
    transformers_model,
    with_random_weights,
)
from own_vits import any_vit, own_vits
from torch import Tensor, nn

from qvit_hls.flow.quantize import quantize_module
from qvit_hls.ir.lowering import lower
from qvit_hls.ir.pipeline import INTEGER_PASSES, run_passes
from qvit_hls.ptq.methods import MinMax
from qvit_hls.ptq.placement import BitWidths
from qvit_hls.ptq.quantize import QuantizationSettings
from qvit_hls.verify.rtl.stalls import Stalls

pytestmark = pytest.mark.usefixtures("importable_timm")

IMAGES = 2


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.shared("A7", tmp_path_factory)


_TRANSFORMERS = [*TRANSFORMERS, "Dinov2WithRegistersForImageClassification", "SiglipForImageClassification"]


@pytest.mark.parametrize(
    "name", [*TIMM, *_TRANSFORMERS, *own_vits(), "MultiheadAttention", "TransformerEncoder, post-norm"]
)
def test_a_model_runs_bit_exact(name: str, engine: Engine, tmp_path: Path) -> None:
    make = torch_model
    for names, maker in ((TIMM, timm_model), (_TRANSFORMERS, transformers_model), (own_vits(), own_model)):
        make = maker if name in names else make
    check(*make(name), engine, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
@pytest.mark.parametrize("shape", ["A5", "A7"])
def test_any_combination_of_parts_runs_bit_exact(
    shape: str, seed: int, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    engine = Engine.shared(shape, tmp_path_factory)  # of two rows drained at a time, and of one
    name, model = any_vit(random.Random(seed))
    print(name)
    check(with_random_weights(model), randn(3, 3, 8, 8), engine, tmp_path)


def check(model: nn.Module, images: Tensor, engine: Engine, tmp_path: Path) -> None:
    """Quantize, and compare every layer of every executor."""
    _, quantized = quantize_module(
        model, images, QuantizationSettings(MinMax(), BitWidths(activation=engine.config.activation_bits))
    )
    integer = run_passes(lower(quantized.graph), INTEGER_PASSES)
    values = {name: value.numpy() for name, value in integer.run(images[:IMAGES]).items()}
    (image,) = (node.name for node in integer if node.op.kind == "quantized_input")
    seen = set()
    for variant, entry, got in engine.traces(integer, values[image], tmp_path, Stalls(0.0, 0)):
        assert np.array_equal(got, entry.expected(values[entry.node])), f"{entry.node} in the {variant} build"
        seen.add((variant, entry.node))
    assert {(variant, integer.outputs[0]) for variant in VARIANTS} <= seen
