"""Integer graphs as ONNX models, exact: onnxruntime gives the codes of the golden reference.

Values are int32 codes under the names of the graph's nodes. Requantization, reciprocal, integer square
root, LayerNorm and softmax are functions inside the model (``ir/onnx_functions.py``), everything else
is standard operations, so the model opens in Netron with the structure of the network. Rows of 4 and
of 8 bits are two channel groups with a product each, 4-bit weights being INT4 tensors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qvit_hls.errors import QvitError
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.file_format import write_file
from qvit_hls.ir.graph import SPEC_VERSION, Graph, Node
from qvit_hls.ir.onnx_functions import DOMAIN, OPSET, contract_functions
from qvit_hls.ir.onnx_rules import RULES, ModelBuilder

if TYPE_CHECKING:
    import onnx

_IR_VERSION = 10
_ACCUMULATOR_LIMIT = 1 << 31


def export_onnx(graph: Graph, path: Path) -> None:
    """Write the ONNX model of an integer graph to ``path``.

    Raises:
        QvitError: as :func:`onnx_model` says.
    """
    write_file(path, onnx_model(graph).SerializeToString(deterministic=True))


def onnx_model(graph: Graph) -> onnx.ModelProto:
    """The ONNX model of an integer graph.

    Its input, ``<input node>/real``, is the float32 image ``[batch, channels, height, width]``; its
    outputs are int32 codes. Metadata: ``qvit_hls.spec_version``, and ``qvit_hls.quantization`` with
    scale and qmax of every value as JSON.

    Raises:
        QvitError: onnx is not installed, the graph has operations of the float graph, or an
            accumulator may need more than 32 bits.
    """
    try:
        import onnx
    except ImportError as error:
        raise QvitError("ONNX export needs the package onnx; run pip install 'qvit-hls[onnx]'.") from error
    _check(graph)
    model = ModelBuilder(graph)
    for node in graph:
        RULES[type(node.op)](model, node, node.op)
    helper, types = onnx.helper, onnx.TensorProto
    sources = [node for node in graph if isinstance(node.op, ops.QuantizedInput)]

    def value(name: str, dtype: int, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, dtype, ["batch", *shape])

    body = helper.make_graph(
        model.nodes,
        graph.name,
        [value(f"{node.name}/real", types.FLOAT, node.shape) for node in sources],
        [value(name, types.INT32, graph[name].shape) for name in graph.outputs],
        model.initializers,
        value_info=[value(n.name, types.INT32, n.shape) for n in graph if n.name not in graph.outputs],
    )
    proto = helper.make_model(
        body,
        functions=contract_functions(),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        ir_version=_IR_VERSION,
        producer_name="qvit-hls",
    )
    scales = {n.name: {"scale": n.quant.scale, "qmax": n.quant.qmax} for n in graph if n.quant is not None}
    helper.set_model_props(
        proto,
        {"qvit_hls.spec_version": str(SPEC_VERSION), "qvit_hls.quantization": json.dumps(scales)},
    )
    return proto


def _check(graph: Graph) -> None:
    problems = []
    largest: dict[str, int] = {}
    for node in graph:
        if type(node.op) not in RULES:
            problems.append(
                f"Node {node.name} is the float operation {node.op.kind}; "
                "only integer graphs are exported to ONNX."
            )
        elif isinstance(node.op, ops.QuantizedInput) and node.quant is None:
            problems.append(f"Input {node.name} has no quantization, so its codes are not defined.")
    if problems:
        raise QvitError(problems)
    for node in graph:
        inputs = [largest[name] for name in node.inputs]
        largest[node.name] = _largest_code(node, inputs)
        bound = _largest_accumulator(graph, node, inputs)
        if bound >= _ACCUMULATOR_LIMIT:
            problems.append(
                f"Node {node.name} may accumulate up to {bound}, but an accumulator has 32 bits; "
                "its input codes must be smaller."
            )
    if problems:
        raise QvitError(problems)


def _largest_code(node: Node, inputs: list[int]) -> int:
    """Largest magnitude that a value of an integer graph can have, from those of the node's inputs."""
    if isinstance(node.op, ops.QuantizedInput):
        assert node.quant is not None
        return node.quant.qmax
    if isinstance(node.op, ops.Table | ops.SoftmaxExponents):
        return int(np.abs(node.op.table.astype(np.int64)).max())
    return int(getattr(node.op, "qmax", max(inputs, default=0)))


def _largest_accumulator(graph: Graph, node: Node, inputs: list[int]) -> int:
    op, shape = node.op, graph[node.inputs[0]].shape if node.inputs else ()
    if isinstance(op, ops.IntegerLinear):
        rows = np.abs(op.weight.astype(np.int64)).sum(axis=1)
        return int((rows * inputs[0] + np.abs(op.bias)).max())
    if isinstance(op, ops.IntegerScores):
        return shape[-1] // op.heads * inputs[0] * inputs[1]
    if isinstance(op, ops.IntegerContext):
        return shape[-1] * inputs[0] * inputs[1]
    if isinstance(op, ops.IntegerMeanTokens):
        return shape[0] * inputs[0]
    return 0
