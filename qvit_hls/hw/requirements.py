"""What a program needs of an accelerator: used to size one, and to check whether a program fits another."""

from __future__ import annotations

from math import gcd

import numpy as np

from qvit_hls.errors import QvitError
from qvit_hls.hw.accelerator import MIN_ACCUMULATOR_BITS, PORT_BITS, AcceleratorConfig
from qvit_hls.hw.cycles import item_bytes
from qvit_hls.hw.descriptor import DESCRIPTOR_WORDS, Scaling, Unit
from qvit_hls.hw.gemm_timing import ceil_div
from qvit_hls.hw.program import Program, StreamedWeights
from qvit_hls.ir import integer_ops as ops
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.quant.levels import EXPONENT_LEVELS, MIN_ACTIVATION_BITS

#: The digits of an 8-bit weight, added in magnitude, are at most this: 104 = 16 * 7 - 8.
_LARGEST_DIGITS = 16 * 7 + 8
#: What each field of the configuration is called in messages.
_WORDS = {
    "activation_bits": "activation bits",
    "activation_depth": "channels per lane of the activation memory",
    "digit_depth": "channels per lane of the digit memory",
    "wide_depth": "channels per lane of the wide memory",
    "weight_depth": "steps in half of the weight buffer",
    "max_row_tiles": "row tiles of one matrix product",
    "table_bits": "bits into the elementwise table",
    "max_tokens": "tokens",
    "max_channels": "channels of the residual stream",
    "accumulator_bits": "accumulator bits",
}
_UNITS = {
    "softmax": "softmax unit",
    "layer_norm": "LayerNorm unit",
    "mean_tokens": "token mean unit",
    "norm_shifts": "LayerNorm with a shift per channel",
    "stream_operands": "LayerNorm unit that passes the residual stream as it is",
}


def requirements(graph: Graph, program: Program) -> dict[str, int | bool]:
    """The least value of each AcceleratorConfig field that runs the program (tile and lanes excepted)."""
    needs: dict[str, int | bool] = dict(program.depths)
    units = {layer.descriptor.unit for layer in program.layers}
    gemms = [layer.descriptor for layer in program.layers if layer.descriptor.unit == Unit.GEMM]
    tables = [d.table_entries for d in gemms if d.table_entries]
    # Only these units have something for every token of a sequence.
    counting = (Unit.SOFTMAX, Unit.MEAN_TOKENS)
    tokens = [layer.descriptor.tokens for layer in program.layers if layer.descriptor.unit in counting]
    needs["weight_depth"] = max(d.k_steps for d in gemms)
    needs["max_row_tiles"] = max(ceil_div(d.rows + d.rows8, program.config.tile_rows) for d in gemms)
    needs["table_bits"] = max((entries.bit_length() for entries in tables), default=0)
    needs["max_tokens"] = max(tokens, default=1)
    needs["max_channels"] = max(_norm_channels(node) for node in graph)
    largest_sum = max(_largest_sum(graph, node) for node in graph)
    needs["accumulator_bits"] = max(largest_sum.bit_length() + 1, MIN_ACCUMULATOR_BITS)
    needs["softmax"] = Unit.SOFTMAX in units
    needs["layer_norm"] = Unit.LAYER_NORM in units
    needs["mean_tokens"] = Unit.MEAN_TOKENS in units
    norms = [layer.descriptor for layer in program.layers if layer.descriptor.unit == Unit.LAYER_NORM]
    needs["norm_shifts"] = any(d.table_entries for d in norms)
    needs["stream_operands"] = any(d.scaling == Scaling.CONSTANT for d in norms)
    qmax = max(_operand_qmax(graph, node) for node in graph)
    needs["activation_bits"] = max(qmax.bit_length() + 1, MIN_ACTIVATION_BITS)
    return needs


def image_pixels(graph: Graph, tile_depth: int) -> int:
    """Pixels the image loader can take per cycle: the most that share a patch row and a memory word."""
    sizes = [node.op.size for node in graph if isinstance(node.op, ops.Patches)]
    return gcd(*sizes, tile_depth, 16)


def check_fits(graph: Graph, program: Program) -> None:
    """Check that a program runs on the accelerator it was scheduled for.

    Raises:
        QvitError: it does not; every lack is named with what there is and what is needed.
    """
    config = program.config
    problems = []
    for name, need in requirements(graph, program).items():
        have = getattr(config, name)
        if name in _UNITS:
            if need and not have:
                problems.append(f"the model needs a {_UNITS[name]}; the accelerator has none")
        elif have < need:
            problems.append(f"the model needs {need} {_WORDS[name]}; the accelerator has {have}")
    for node in graph:
        if isinstance(node.op, ops.Patches) and node.op.size % config.image_pixels:
            problems.append(
                f"the model's patches are {node.op.size} pixels wide; the accelerator loads "
                f"{config.image_pixels} pixels at once, so patches are a multiple of that"
            )
    problems += [
        f"{layer.name} has {len(item.codes)} rows; the weight stream numbers at most 4096"
        for layer in program.layers
        for item in layer.stream
        if isinstance(item, StreamedWeights) and item.parameters.channel.max() >= 4096
    ]
    if problems:
        raise QvitError(problems)


def _norm_channels(node: Node) -> int:
    """Channels for which LayerNorm's square root must be built: its bits hold N**2 * 2**32.

    That is enough for N channels of 16 bits and the usual epsilon, but a very fine residual step makes
    epsilon large: then the root of more channels is needed than there are.
    """
    if isinstance(node.op, ops.IntegerRequantize):
        return node.shape[-1]
    if not isinstance(node.op, ops.IntegerLayerNorm):
        return 1
    channels = node.shape[-1] // node.op.groups
    variance = (channels << 15) ** 2 + node.op.epsilon
    channel_bits = ceil_div(variance.bit_length() - 32, 2)
    return max(channels, 1 << max(channel_bits - 1, 0))


def _operand_qmax(graph: Graph, node: Node) -> int:
    """Largest code of the value that a matrix product reads as its activation operand."""
    if isinstance(node.op, ops.IntegerLinear | ops.IntegerScores):
        quant = graph[node.inputs[0]].quant
    elif isinstance(node.op, ops.IntegerContext):
        quant = graph[node.inputs[1]].quant
    else:
        return 0
    return 0 if quant is None else quant.qmax


def _largest_sum(graph: Graph, node: Node) -> int:
    """Bound of a matrix product's accumulator over all inputs, high and low digits added in magnitude."""
    qmax = _operand_qmax(graph, node)
    if isinstance(node.op, ops.IntegerLinear):
        codes = node.op.weight.astype(np.int64)
        low = ((codes + 8) & 15) - 8
        magnitude = np.where(node.op.row_bits[:, None] == 8, np.abs(codes - low) + np.abs(low), np.abs(codes))
        return int((magnitude.sum(axis=1) * qmax + np.abs(node.op.bias)).max())
    if isinstance(node.op, ops.IntegerScores):
        keys = graph[node.inputs[1]].quant
        width = graph[node.inputs[0]].shape[-1] // node.op.heads
        return width * qmax * ((0 if keys is None else keys.qmax) + 16)
    if isinstance(node.op, ops.IntegerContext):
        return graph[node.inputs[1]].shape[0] * qmax * (EXPONENT_LEVELS + 16)
    return 0


def sized(
    config: AcceleratorConfig, graph: Graph, program: Program, activation_bits: int | None = None
) -> AcceleratorConfig:
    """``config`` with memories and units as the program needs them, and with some activation bits.

    Accumulators get the width that the shapes need whatever the weights are, and room for biases as large
    as the products: the same architecture, trained again, still fits.

    Args:
        activation_bits: of the accelerator, at least the model's; by default the model's.
    """
    needs = requirements(graph, program)
    if activation_bits is not None:
        needs["activation_bits"] = activation_bits
    bound = max(_largest_sum_of_shape(graph, node) for node in graph)
    needs["accumulator_bits"] = max(int(needs["accumulator_bits"]), bound.bit_length() + 1)
    needs |= _port_words(config, program)
    return AcceleratorConfig.model_validate({**config.model_dump(), **needs})


def _port_words(config: AcceleratorConfig, program: Program) -> dict[str, int]:
    """Elements behind each memory port for one frame."""
    channels, height, width = program.image_shape
    stream = sum(item_bytes(item, config) for layer in program.layers for item in layer.stream)
    return {
        "program_words": len(program.layers) * DESCRIPTOR_WORDS,
        "stream_words": stream * 8 // config.beat_bits,
        "image_words": ceil_div(channels * height * width * 8, PORT_BITS),
        "result_words": program.classes,
    }


def _largest_sum_of_shape(graph: Graph, node: Node) -> int:
    """The bound for any weights of the layer's shape and a bias up to the largest product sum."""
    if isinstance(node.op, ops.IntegerLinear):
        return 2 * node.op.weight.shape[1] * _operand_qmax(graph, node) * _LARGEST_DIGITS
    return _largest_sum(graph, node)
