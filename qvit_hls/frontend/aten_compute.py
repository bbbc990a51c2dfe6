"""Handlers of the operators that compute: layers, products and sums."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import fx

from qvit_hls.frontend.builder import Folded, GraphBuilder, Symbol, Unsupported, Value, to_array
from qvit_hls.frontend.registry import axis_without_batch, handles, require
from qvit_hls.ir import float_ops as ops
from qvit_hls.ir.tables import QUICK_GELU_FACTOR

# ---------------------------------------------------------------- layers


@handles("aten.linear.default", merged_batch=True)
def _linear(b: GraphBuilder, node: fx.Node, x: Symbol, weight: Folded, bias: Folded | None = None) -> Value:
    require(isinstance(x, Symbol) and isinstance(weight, Folded), "with weights that depend on the input")
    array = None if bias is None else bias.array
    return b.emit_along(ops.Linear(weight.array, array, weight.row_scale, weight.row_bits), x)


@handles("aten.conv2d.default", "aten.conv2d.padding")
def _conv2d(
    b: GraphBuilder,
    node: fx.Node,
    x: Symbol,
    weight: Folded,
    bias: Folded | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] | str = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Value:
    require(isinstance(weight, Folded), "with weights that depend on the input")
    plain = padding in ("valid", [0], [0, 0], (0, 0)) and all(d == 1 for d in dilation) and groups == 1
    require(plain, "with padding, dilation or groups")
    strides = (stride[0], stride[-1])
    array = None if bias is None else bias.array
    return b.emit(ops.Conv2d(weight.array, strides, array, weight.row_scale, weight.row_bits), x)


@handles("aten.layer_norm.default", merged_batch=True)
def _layer_norm(
    b: GraphBuilder,
    node: fx.Node,
    x: Symbol,
    normalized_shape: Sequence[int],
    weight: Folded | None = None,
    bias: Folded | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Value:
    require(len(normalized_shape) == 1, "over more than the last dimension")
    gain, offset = (None if a is None else a.array for a in (weight, bias))
    return b.emit_along(ops.LayerNorm(eps, gain, offset), x)


@handles("aten.softmax.int", "aten._softmax.default", merged_batch=True)
def _softmax(b: GraphBuilder, node: fx.Node, x: Symbol, dim: int, dtype: object = None) -> Value:
    require(axis_without_batch(dim, x) == len(x.shape) - 1, "over another dimension than the last")
    return b.emit_along(ops.Softmax(), x)


@handles("aten.gelu.default", merged_batch=True)
def _gelu(b: GraphBuilder, node: fx.Node, x: Symbol, approximate: str = "none") -> Value:
    return b.emit_along(ops.Elementwise("gelu" if approximate == "none" else "gelu_tanh"), x)


#: Functions without parameters, or with the usual ones alone, by operator.
_FUNCTIONS = {
    "aten.elu.default": "elu",
    "aten.hardsigmoid.default": "hardsigmoid",
    "aten.hardswish.default": "hardswish",
    "aten.leaky_relu.default": "leaky_relu",
    "aten.mish.default": "mish",
    "aten.relu.default": "relu",
    "aten.relu6.default": "relu6",
    "aten.sigmoid.default": "sigmoid",
    "aten.silu.default": "silu",
    "aten.softplus.default": "softplus",
    "aten.tanh.default": "tanh",
}


@handles(*_FUNCTIONS, merged_batch=True)
def _function(b: GraphBuilder, node: fx.Node, x: Symbol, *parameters: float) -> Value:
    assert isinstance(node.target, torch._ops.OpOverload)
    usual = [argument.default_value for argument in node.target._schema.arguments[1 : 1 + len(parameters)]]
    require(list(parameters) == usual, "with parameters other than PyTorch's defaults")
    return b.emit_along(ops.Elementwise(_FUNCTIONS[str(node.target)]), x)


@handles("aten.hardtanh.default", merged_batch=True)
def _hardtanh(b: GraphBuilder, node: fx.Node, x: Symbol, low: float = -1, high: float = 1) -> Value:
    require((low, high) == (0, 6), "with other limits than those of ReLU6")
    return b.emit_along(ops.Elementwise("relu6"), x)


# ---------------------------------------------------------------- products and sums


@handles("aten.matmul.default", "aten.bmm.default", merged_batch=True)
def _matmul(b: GraphBuilder, node: fx.Node, x: Value, y: Value) -> Value:
    if isinstance(x, Symbol) and isinstance(y, Folded) and y.tensor.dim() == 2:
        return b.emit_along(ops.Linear(np.ascontiguousarray(y.array.T)), x)
    if not isinstance(x, Symbol) or not isinstance(y, Symbol):
        raise Unsupported("with these constant operands")
    return b.emit_along(ops.MatMul(), x, y, dimensions=2)


@handles("aten.scaled_dot_product_attention.default")
def _attention(
    b: GraphBuilder,
    node: fx.Node,
    q: Value,
    k: Value,
    v: Value,
    attn_mask: Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    require(not is_causal and not enable_gqa, "with a causal mask or grouped queries")
    # Queries may be learned constants (attention pooling).
    q, k, v = (b.symbol(value) for value in (q, k, v))
    rank = len(k.shape)
    keys = b.emit(ops.Permute((*range(rank - 2), rank - 1, rank - 2)), k)
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = b.emit(ops.Scale(np.array(factor)), b.emit(ops.MatMul(), q, keys))
    if attn_mask is not None and not _hides_nothing(attn_mask):
        scores = b.emit(ops.Add(), scores, _operand(b, scores, attn_mask))
    return b.emit(ops.MatMul(), b.emit(ops.Softmax(), scores), v)


def _hides_nothing(mask: Value) -> bool:
    """Whether an attention mask leaves all scores as they are; one that is added to them does not.

    Raises:
        Unsupported: the mask depends on the input or hides keys.
    """
    if isinstance(mask, Symbol):
        raise Unsupported("with a mask that depends on the input")
    if mask.tensor.dtype == torch.bool and bool(mask.tensor.all()):
        return True
    finite = mask.tensor.is_floating_point() and bool(mask.tensor.isfinite().all())
    require(finite, "with a mask that hides keys; only finite numbers can be added to scores")
    return False


@handles("aten.add.Tensor")
def _add(b: GraphBuilder, node: fx.Node, x: Value | float, y: Value | float, alpha: float = 1) -> Value:
    require(alpha == 1, "with alpha")
    return _sum(b, x, y)


@handles("aten.sub.Tensor")
def _sub(b: GraphBuilder, node: fx.Node, x: Value | float, y: Value | float, alpha: float = 1) -> Value:
    require(alpha == 1, "with alpha")
    return _sum(b, x, b.emit(ops.Scale(np.array(-1.0)), y) if isinstance(y, Symbol) else _negative(y))


def _sum(b: GraphBuilder, x: Value | float, y: Value | float) -> Symbol:
    if not isinstance(x, Symbol):
        x, y = y, x
    assert isinstance(x, Symbol)  # the importer folds what is all constant
    if isinstance(y, int | float) and y == 0:  # what sum() of a list begins with
        return x
    if not isinstance(y, Symbol):
        image = _colours(b, x, 1.0, y)
        if image is not None:
            return image
    return b.emit(ops.Add(), x, _operand(b, x, y))


def _negative(y: Folded | float) -> Folded | float:
    return Folded(-y.tensor, y.origin) if isinstance(y, Folded) else -y


def _colours(b: GraphBuilder, x: Symbol, factor: Value | float, term: Value | float) -> Symbol | None:
    """``factor * x + term``, constants for each colour of the image, as a convolution of single pixels.

    None where ``x`` is not the image, or they are not.
    """
    image = b.node(x.name)
    normalised = isinstance(image.op, ops.Conv2d) and image.op.of_single_pixels
    if not (isinstance(image.op, ops.Input) or normalised) or len(x.shape) != 3:
        return None
    values = []
    for value in (factor, term):
        assert not isinstance(value, Symbol)
        tensor = value.tensor if isinstance(value, Folded) else torch.tensor(float(value))
        array = to_array(b.strip_batch(tensor, 4))
        if array.size != 1 and array.shape != (x.shape[0], 1, 1):
            return None
        values.append(np.broadcast_to(array.reshape(-1), x.shape[:1]))
    weight = np.diag(values[0])[:, :, None, None].astype(np.float32)
    bias = None if not values[1].any() else np.array(values[1])
    return b.emit(ops.Conv2d(weight, (1, 1), bias), x)


def _operand(b: GraphBuilder, x: Symbol, y: Value | float) -> Symbol:
    """``y`` to be broadcast against ``x``: constants without their batch dimension."""
    if isinstance(y, Symbol):
        return y
    if not isinstance(y, Folded):
        return b.constant(torch.tensor(float(y)))
    rank = len(x.shape) + 1
    require(y.tensor.dim() <= rank, "with a constant of more dimensions than its input")
    return b.constant(b.strip_batch(y.tensor, rank), y.origin)


@handles("aten.mul.Tensor", merged_batch=True)
def _mul(b: GraphBuilder, node: fx.Node, x: Value | float, y: Value | float) -> Value:
    if not isinstance(x, Symbol):
        x, y = y, x
    assert isinstance(x, Symbol)
    if isinstance(y, Symbol):
        gated = _gated_by_itself(b, x, y) or _gated_by_itself(b, y, x)
        if gated is not None:
            return gated
    elif x.is_plain and (image := _colours(b, x, y, 0.0)) is not None:
        return image
    return b.emit_along(ops.Scale(_factor(b, x, y)), x)


def _gated_by_itself(b: GraphBuilder, x: Symbol, gate: Symbol) -> Symbol | None:
    """``x * sigmoid(x)``, which is SiLU, or ``x * sigmoid(1.702 x)``, if that is what the gate is."""
    sigmoid = b.node(gate.name)
    if (x.batch_axis, x.merged) != (gate.batch_axis, gate.merged):
        return None
    if not isinstance(sigmoid.op, ops.Elementwise) or sigmoid.op.function != "sigmoid":
        return None
    before = b.node(sigmoid.inputs[0])
    if before.name == x.name:
        return b.emit_along(ops.Elementwise("silu"), x)
    if not isinstance(before.op, ops.Scale) or before.inputs != (x.name,):
        return None
    # As a tensor the factor is float32, and off by that rounding.
    is_quick = before.op.factor.size == 1 and math.isclose(before.op.factor, QUICK_GELU_FACTOR, rel_tol=1e-6)
    return b.emit_along(ops.Elementwise("quick_gelu"), x) if is_quick else None


@handles("aten.div.Tensor")
def _div(b: GraphBuilder, node: fx.Node, x: Value | float, y: Value | float) -> Value:
    if not isinstance(x, Symbol):
        raise Unsupported("by a value that depends on the input")
    if not isinstance(y, Symbol):
        inverse = Folded(1.0 / y.tensor, y.origin) if isinstance(y, Folded) else 1.0 / y
        image = _colours(b, x, inverse, 0.0)
        if image is not None:
            return image
    return b.emit(ops.Scale(1.0 / _factor(b, x, y)), x)


def _factor(b: GraphBuilder, x: Symbol, y: Value | float) -> np.ndarray:
    """A constant factor of ``x`` in float64: ``[]`` or ``[channels]``."""
    if isinstance(y, Symbol):
        raise Unsupported("with two values that depend on the input")
    if not isinstance(y, Folded):
        return np.array(float(y))
    factor = b.strip_batch(y.tensor, len(x.shape) + 1).detach().cpu().double().numpy()
    if factor.size == 1:
        return factor.reshape(())
    per_channel = factor.size == x.shape[-1] == factor.shape[-1]
    require(per_channel, "with anything but a number or one factor per channel")
    return factor.reshape(-1)
