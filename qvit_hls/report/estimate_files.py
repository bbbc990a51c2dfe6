"""The estimate as the four JSON files that FINN's tools write, so that scripts for those can read ours."""

from __future__ import annotations

import json
from typing import Any

from qvit_hls.flow.estimate import ModelEstimate
from qvit_hls.hw.program import Layer, StreamedWeights
from qvit_hls.hw.resources.model import resources


def estimate_files(result: ModelEstimate) -> dict[str, bytes]:
    """File names and contents.

    The keys are FINN's; what differs, because one engine runs all layers: resources are per unit instead of
    per layer, and the throughput follows from the whole frame (``critical_path_cycles``) instead of the
    slowest layer.
    """
    contents = {
        "estimate_layer_cycles.json": {layer.name: layer.cycles for layer in result.frame.layers},
        "estimate_layer_resources.json": _resources(result),
        "estimate_network_performance.json": _performance(result),
        "op_and_param_counts.json": _counts(result),
    }
    return {name: (json.dumps(content, indent=2) + "\n").encode() for name, content in contents.items()}


def _resources(result: ModelEstimate) -> dict[str, dict[str, int]]:
    """LUTs, flip-flops, DSP slices and block RAMs of 18 Kbit, of each unit and in all."""
    units = {
        name: {
            "LUT": usage.lut,
            "FF": usage.ff,
            "DSP": usage.dsp,
            "BRAM_18K": round(2 * usage.bram36),
            "URAM": 0,
        }
        for name, usage in resources(result.config).units.items()
    }
    totals = next(iter(units.values())).keys()
    return {**units, "total": {key: sum(unit[key] for unit in units.values()) for key in totals}}


def _performance(result: ModelEstimate) -> dict[str, Any]:
    frame = result.frame
    slowest = max(frame.layers, key=lambda layer: layer.cycles)
    return {
        "critical_path_cycles": frame.cycles,
        "max_cycles": slowest.cycles,
        "max_cycles_node_name": slowest.name,
        "estimated_throughput_fps": frame.frames_per_second,
        "estimated_latency_ns": frame.cycles * 1e3 / frame.clock_mhz,
    }


def _counts(result: ModelEstimate) -> dict[str, dict[str, int]]:
    """Multiply-accumulates and parameters by precision, of each layer that has any, and in all."""
    layers = {layer.name: _layer_counts(layer, result) for layer in result.program.layers if layer.macs}
    total: dict[str, int] = {}
    for counts in layers.values():
        for key, value in counts.items():
            total[key] = total.get(key, 0) + value
    return {**layers, "total": dict(sorted(total.items()))}


def _layer_counts(layer: Layer, result: ModelEstimate) -> dict[str, int]:
    # A product of an 8-bit weight is two of 4 bits, so the excess over the products counts the 8-bit ones.
    eight = layer.atom_macs - layer.macs
    activation = f"INT{result.config.activation_bits}"
    counts = {f"op_mac_INT4_{activation}": layer.macs - eight, f"op_mac_INT8_{activation}": eight}
    weights = [item for item in layer.stream if isinstance(item, StreamedWeights)]
    if weights:
        tokens = layer.descriptor.tokens - layer.descriptor.first_token
        counts |= {
            "param_weight_INT4": (layer.macs - eight) // tokens,
            "param_weight_INT8": eight // tokens,
            "param_bias_INT30": sum(len(item.codes) for item in weights),
        }
    return {key: value for key, value in counts.items() if value}
