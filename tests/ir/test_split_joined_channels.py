"""Linear layers that read joined channels are sums of layers of one part each."""

from __future__ import annotations

import pytest
from graph_draft import Draft, apply, kinds, linear, quantized_linear

from qvit_hls.ir import float_ops as f
from qvit_hls.ir.passes.split_joined_channels import split_joined_channels


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_each_part_has_its_columns(parts: int) -> None:
    draft = Draft(4, 6)
    names = [draft(f"part{i}", linear(3 + i, 6), "x") for i in range(parts)]
    width = sum(3 + i for i in range(parts))
    draft("joined", f.ConcatChannels(), *names)
    draft("fc", linear(5, width), "joined")
    after = apply(split_joined_channels, draft.graph("fc"))
    assert kinds(after).count("add") == parts - 1 and "concat_channels" not in kinds(after)
    layers = [after[f"fc.{i}"].op for i in range(parts)]
    biases = [isinstance(op, f.Linear) and op.bias is not None for op in layers]
    assert biases == [True] + [False] * (parts - 1)


def test_other_readers_keep_the_joined_channels() -> None:
    draft = Draft(4, 6)
    draft("joined", f.ConcatChannels(), "x", "x")
    draft("fc", linear(5, 12), "joined")
    draft("norm", f.LayerNorm(1e-5), "joined")
    after = apply(split_joined_channels, draft.graph("fc", "norm"))
    assert after["norm"].inputs == ("joined",) and after["fc.1"].inputs == ("x",)


def test_quantized_weights_stay_together() -> None:
    draft = Draft(4, 6)
    draft("joined", f.ConcatChannels(), "x", "x")
    draft("fc", quantized_linear(5, 12), "joined")
    graph = draft.graph("fc")
    assert kinds(apply(split_joined_channels, graph, 0)) == kinds(graph)
