"""The integer LayerNorm, softmax and GELU are close to correctly rounded, as the numerics benchmark says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def numerics() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "numerics.py"
    spec = importlib.util.spec_from_file_location("numerics", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["numerics"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("channels", [48, 768])
@pytest.mark.parametrize("outliers", [0, 3])
def test_layer_norm_is_within_a_hundredth_of_correct_rounding(
    numerics: ModuleType, channels: int, outliers: int
) -> None:
    row = numerics.layer_norm(channels, 16, 512, outliers, bits=8)
    assert row.real_max < 0.51
    assert row.differing < 0.001


def test_layer_norm_of_a_nearly_constant_token_is_within_two_steps(numerics: ModuleType) -> None:
    row = numerics.layer_norm(48, 12, 2, 0, bits=8)
    assert row.real_max < 2
    assert row.real_mean < 0.3


@pytest.mark.parametrize("bits", [4, 7, 8])
def test_deferred_normalisation_is_within_a_hundredth_of_correct_rounding(
    numerics: ModuleType, bits: int
) -> None:
    whole, normalisation = numerics.softmax(65, 1, bits)
    assert normalisation.real_max < 0.51
    assert normalisation.differing < 0.002
    assert whole.real_mean < 0.36


@pytest.mark.parametrize("bits", [4, 8])
def test_the_gelu_table_is_correctly_rounded(numerics: ModuleType, bits: int) -> None:
    table, with_input = numerics.gelu(bits, 10)
    assert table.real_max <= 0.5
    assert table.differing == 0
    assert with_input.real_max < 0.65
