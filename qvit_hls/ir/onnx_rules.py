"""How each integer operation is written in ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Graph, Node, Op
from qvit_hls.ir.onnx_functions import DOMAIN

if TYPE_CHECKING:
    import onnx


class ModelBuilder:
    """Nodes and constants of the model of ``graph`` while it is being built."""

    def __init__(self, graph: Graph) -> None:
        """Start with nothing; ``graph`` gives the shapes of inputs."""
        import onnx

        self.graph = graph
        self.onnx = onnx
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray | int | float | list[int], dtype: type[Any]) -> str:
        """Store a constant and return its name."""
        self.initializers.append(self.onnx.numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def int32_constant(self, name: str, value: np.ndarray) -> str:
        """Store a constant in the dtype that it has and return the name of its int32 version."""
        self.constant(name, np.ascontiguousarray(value), value.dtype.type)
        return self.apply("Cast", f"{name}/int32", name, to=self.onnx.TensorProto.INT32)

    def int4_constant(self, name: str, value: np.ndarray) -> str:
        """Store codes -8..7 as INT4, two in a byte, and return the name of their int32 version."""
        nibbles = np.append(value.ravel(), [0] * (value.size % 2)).astype(np.uint8) & 15
        packed = (nibbles[0::2] | nibbles[1::2] << 4).astype(np.uint8).tobytes()
        self.initializers.append(
            self.onnx.TensorProto(
                name=name, data_type=self.onnx.TensorProto.INT4, dims=value.shape, raw_data=packed
            )
        )
        return self.apply("Cast", f"{name}/int32", name, to=self.onnx.TensorProto.INT32)

    def apply(self, op_type: str, output: str, *inputs: str, doc: str = "", **attributes: Any) -> str:
        """Append a node of one output, named like it, and return that name."""
        node = self.onnx.helper.make_node(
            op_type, inputs, [output], name=output, doc_string=doc, **attributes
        )
        self.nodes.append(node)
        return output

    def clip(self, output: str, x: str, qmax: int, doc: str) -> str:
        """Limit int32 codes to ``-qmax..qmax``."""
        low = self.constant(f"{output}/low", -qmax, np.int32)
        return self.apply("Clip", output, x, low, self.constant(f"{output}/high", qmax, np.int32), doc=doc)

    def requantize(self, output: str, acc: str, multiplier: str, shift: str, qmax: int, doc: str = "") -> str:
        """The contract's requantize; ``multiplier`` and ``shift`` are names of int64 values."""
        limit = self.constant(f"{output}/qmax", qmax, np.int64)
        return self.apply("Requantize", output, acc, multiplier, shift, limit, doc=doc, domain=DOMAIN)

    def split_heads(self, output: str, x: str, heads: int, order: list[int]) -> str:
        """``[batch, tokens, heads*d]``, seen as ``[batch, tokens, heads, d]`` and transposed."""
        shape = self.constant(f"{output}/shape", [0, 0, heads, -1], np.int64)
        return self.apply("Transpose", output, self.apply("Reshape", f"{output}/split", x, shape), perm=order)

    def reciprocal(self, output: str, divisor: str, multiplier: int, exponent: int) -> tuple[str, str]:
        """The contract's reciprocal of an int64 value: names of multiplier and shift."""
        names = (f"{output}/multiplier", f"{output}/shift")
        inputs = [
            divisor,
            self.constant(f"{output}/numerator", multiplier, np.int64),
            self.constant(f"{output}/exponent", exponent, np.int64),
        ]
        self.nodes.append(self.onnx.helper.make_node("Reciprocal", inputs, names, name=output, domain=DOMAIN))
        return names


def _doc(node: Node) -> str:
    grid = f"real = {node.quant.scale!r} * code, |code| <= {node.quant.qmax}" if node.quant else ""
    return "; ".join(part for part in (grid, f"from {node.source}" if node.source else "") if part)


def _quantized_input(m: ModelBuilder, node: Node, op: ops.QuantizedInput) -> None:
    assert node.quant is not None
    name, qmax = node.name, node.quant.qmax
    scale = m.constant(f"{name}/scale", node.quant.scale, np.float32)
    ratio = m.apply("Div", f"{name}/ratio", f"{name}/real", scale)
    raised = m.apply("Add", f"{name}/plus_half", ratio, m.constant(f"{name}/half", 0.5, np.float32))
    floor = m.apply("Floor", f"{name}/floor", raised)
    low, high = (m.constant(f"{name}/{k}", q, np.float32) for k, q in (("low", -qmax), ("high", qmax)))
    clamped = m.apply("Clip", f"{name}/clamped", floor, low, high)
    m.apply("Cast", name, clamped, to=m.onnx.TensorProto.INT32, doc=_doc(node))


def _patches(m: ModelBuilder, node: Node, op: ops.Patches) -> None:
    name, p = node.name, op.size
    channels, height, width = m.graph[node.inputs[0]].shape
    tile_shape = [0, channels, height // p, p, width // p, p]
    tiles = m.constant(f"{name}/tile_shape", tile_shape, np.int64)
    x = m.apply("Reshape", f"{name}/tiles", node.inputs[0], tiles)
    x = m.apply("Transpose", f"{name}/transposed", x, perm=[0, 2, 4, 1, 3, 5])
    m.apply("Reshape", name, x, m.constant(f"{name}/shape", [0, *node.shape], np.int64), doc=_doc(node))


def _linear(m: ModelBuilder, node: Node, op: ops.IntegerLinear) -> None:
    name, x = node.name, node.inputs[0]
    groups = [(bits, np.flatnonzero(op.row_bits == bits)) for bits in (8, 4)]
    products = []
    for bits, rows in groups:
        if rows.size:
            store = m.int32_constant if bits == 8 else m.int4_constant
            weight = store(f"{name}/weight_{bits}bit", op.weight[rows].T)
            products.append(m.apply("MatMul", f"{name}/rows_{bits}bit", x, weight))
    acc = products[0]
    if len(products) > 1:
        acc = m.apply("Concat", f"{name}/grouped", *products, axis=-1)
        place = np.argsort(np.concatenate([rows for _, rows in groups]))
        if not np.array_equal(place, np.arange(place.size)):
            order = m.constant(f"{name}/channel_order", place, np.int64)
            acc = m.apply("Gather", f"{name}/ordered", acc, order, axis=-1)
    acc = m.apply("Add", f"{name}/acc", acc, m.constant(f"{name}/bias", op.bias, np.int32))
    multiplier = m.constant(f"{name}/multiplier", op.multiplier, np.int64)
    shift = m.constant(f"{name}/shift", op.shift, np.int64)
    m.requantize(name, acc, multiplier, shift, op.qmax, _doc(node))


def _table(m: ModelBuilder, node: Node, op: ops.Table) -> None:
    offset = m.constant(f"{node.name}/offset", op.table.size // 2, np.int32)
    index = m.apply("Add", f"{node.name}/index", node.inputs[0], offset)
    m.apply("Gather", node.name, m.int32_constant(f"{node.name}/table", op.table), index, doc=_doc(node))


def _embed(m: ModelBuilder, node: Node, op: ops.Embed) -> None:
    name, x = node.name, node.inputs[0]
    if op.offset:
        pads = m.constant(f"{name}/pads", [0, op.offset, 0, 0, 0, 0], np.int64)
        x = m.apply("Pad", f"{name}/padded", x, pads, m.constant(f"{name}/zero", 0, np.int32))
    total = m.apply("Add", f"{name}/sum", x, m.constant(f"{name}/constant", op.constant, np.int32))
    m.clip(name, total, op.qmax, _doc(node))


def _add(m: ModelBuilder, node: Node, op: ops.IntegerAdd) -> None:
    m.clip(node.name, m.apply("Add", f"{node.name}/sum", *node.inputs), op.qmax, _doc(node))


def _layer_norm(m: ModelBuilder, node: Node, op: ops.IntegerLayerNorm) -> None:
    attributes: dict[str, int | np.ndarray] = {
        "epsilon": op.epsilon,
        "multiplier": op.multiplier,
        "exponent": op.exponent,
        "qmax": op.qmax,
        "shifts": 0 if op.shifts is None else op.shifts,
    }
    name, x = node.name, node.inputs[0]
    if op.groups == 1:
        constants = [m.constant(f"{name}/{key}", value, np.int64) for key, value in attributes.items()]
        m.apply("IntegerLayerNorm", name, x, *constants, doc=_doc(node), domain=DOMAIN)
        return
    if op.shifts is not None:
        attributes["shifts"] = op.shifts.reshape(op.groups, -1)
    constants = [m.constant(f"{name}/{key}", value, np.int64) for key, value in attributes.items()]
    parts = m.constant(f"{name}/parts", [0, 0, op.groups, -1], np.int64)
    x = m.apply("Reshape", f"{name}/groups", x, parts)
    y = m.apply("IntegerLayerNorm", f"{name}/normalized", x, *constants, domain=DOMAIN)
    m.apply("Reshape", name, y, m.constant(f"{name}/shape", [0, 0, -1], np.int64), doc=_doc(node))


def _requantize(m: ModelBuilder, node: Node, op: ops.IntegerRequantize) -> None:
    name = node.name
    multiplier = m.constant(f"{name}/multiplier", op.multiplier, np.int64)
    shift = m.constant(f"{name}/shift", op.shift, np.int64)
    m.requantize(name, node.inputs[0], multiplier, shift, op.qmax, _doc(node))


def _scores(m: ModelBuilder, node: Node, op: ops.IntegerScores) -> None:
    name = node.name
    q = m.split_heads(f"{name}/q", node.inputs[0], op.heads, [0, 2, 1, 3])
    k = m.split_heads(f"{name}/k_transposed", node.inputs[1], op.heads, [0, 2, 3, 1])
    acc = m.apply("MatMul", f"{name}/acc", q, k)
    multiplier = m.constant(f"{name}/multiplier", op.multiplier, np.int64)
    shift = m.constant(f"{name}/shift", op.shift, np.int64)
    if op.bias is None:
        m.requantize(name, acc, multiplier, shift, op.qmax, _doc(node))
        return
    y = m.requantize(f"{name}/unbiased", acc, multiplier, shift, op.qmax)
    total = m.apply("Add", f"{name}/sum", y, m.int32_constant(f"{name}/bias", op.bias))
    m.clip(name, total, op.qmax, _doc(node))


def _softmax_exponents(m: ModelBuilder, node: Node, op: ops.SoftmaxExponents) -> None:
    table = m.int32_constant(f"{node.name}/table", op.table)
    m.apply("SoftmaxExponents", node.name, node.inputs[0], table, doc=_doc(node), domain=DOMAIN)


def _context(m: ModelBuilder, node: Node, op: ops.IntegerContext) -> None:
    name, e = node.name, node.inputs[0]
    v = m.split_heads(f"{name}/v", node.inputs[1], op.heads, [0, 2, 1, 3])
    acc = m.apply("MatMul", f"{name}/acc", e, v)
    total = m.apply("ReduceSum", f"{name}/sum", e, m.constant(f"{name}/last", [-1], np.int64), keepdims=1)
    total = m.apply("Cast", f"{name}/Z", total, to=m.onnx.TensorProto.INT64)
    row_multiplier, row_shift = m.reciprocal(f"{name}/reciprocal", total, op.multiplier, op.exponent)
    y = m.requantize(f"{name}/heads", acc, row_multiplier, row_shift, op.qmax)
    y = m.apply("Transpose", f"{name}/transposed", y, perm=[0, 2, 1, 3])
    m.apply("Reshape", name, y, m.constant(f"{name}/shape", [0, 0, -1], np.int64), doc=_doc(node))


def _take_token(m: ModelBuilder, node: Node, op: ops.TakeToken) -> None:
    index = m.constant(f"{node.name}/index", [op.index], np.int64)
    m.apply("Gather", node.name, node.inputs[0], index, axis=1, doc=_doc(node))


def _slice(m: ModelBuilder, node: Node, op: ops.Slice) -> None:
    ends = (op.start, op.stop, op.axis + 1)
    names = [
        m.constant(f"{node.name}/{part}", [n], np.int64)
        for part, n in zip(("start", "stop", "axis"), ends, strict=True)
    ]
    m.apply("Slice", node.name, node.inputs[0], *names, doc=_doc(node))


def _concat_tokens(m: ModelBuilder, node: Node, op: ops.ConcatTokens) -> None:
    m.apply("Concat", node.name, *node.inputs, axis=1, doc=_doc(node))


def _mean_tokens(m: ModelBuilder, node: Node, op: ops.IntegerMeanTokens) -> None:
    name = node.name
    axes = m.constant(f"{name}/axes", [1], np.int64)
    acc = m.apply("ReduceSum", f"{name}/acc", node.inputs[0], axes, keepdims=1)
    multiplier = m.constant(f"{name}/multiplier", op.multiplier, np.int64)
    m.requantize(name, acc, multiplier, m.constant(f"{name}/shift", op.shift, np.int64), op.qmax, _doc(node))


#: What writes each operation: ``rule(builder, node, op)``.
RULES: dict[type[Op], Callable[[ModelBuilder, Node, Any], None]] = {
    ops.QuantizedInput: _quantized_input,
    ops.Patches: _patches,
    ops.IntegerLinear: _linear,
    ops.Table: _table,
    ops.Embed: _embed,
    ops.IntegerAdd: _add,
    ops.IntegerLayerNorm: _layer_norm,
    ops.IntegerRequantize: _requantize,
    ops.IntegerScores: _scores,
    ops.SoftmaxExponents: _softmax_exponents,
    ops.IntegerContext: _context,
    ops.TakeToken: _take_token,
    ops.Slice: _slice,
    ops.ConcatTokens: _concat_tokens,
    ops.IntegerMeanTokens: _mean_tokens,
}
