"""Handlers of the quantizers (``torch.ops.qvit``, defined in ``quant/fake_quant.py``)."""

from __future__ import annotations

from torch import fx

from qvit_hls.frontend.builder import Folded, GraphBuilder, Symbol, Value
from qvit_hls.frontend.registry import handles, require
from qvit_hls.ir import float_ops as ops


def _number(value: Value | float) -> float:
    """A constant scalar, exactly."""
    require(not isinstance(value, Symbol), "with a step that depends on the input")
    if isinstance(value, Folded):
        require(value.tensor.numel() == 1, "with anything but one step per tensor")
        return float(value.tensor)
    return float(value)  # type: ignore[arg-type]


@handles("qvit.fake_quantize.default")
def _fake_quantize(b: GraphBuilder, node: fx.Node, x: Symbol, scale: Value, qmax: int) -> Value:
    return b.emit(ops.FakeQuantize(_number(scale), int(qmax)), x)


@handles("qvit.fake_softmax.default")
def _fake_softmax(b: GraphBuilder, node: fx.Node, x: Symbol, step: Value) -> Value:
    return b.emit(ops.Softmax(_number(step)), x)
