"""A generated project in miniature: one linear layer, with a C-simulation of a few lines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from qvit_hls.flow.images import random_images
from qvit_hls.ir.file_format import save_graph
from qvit_hls.ir.graph import Graph, Node, Quantization
from qvit_hls.ir.integer_ops import IntegerLinear, Patches, QuantizedInput, TakeToken

#: y[t, r] = clamp((r + 1) * x[t], 63) for four pixels; the result is the second token.
_SOURCE = """
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <ap_int.h>

#include "fault.h"

int main(int argc, char** argv) {
    (void)argc;
    const int images = std::atoi(argv[4]);
    std::FILE* in = std::fopen(argv[2], "rb");
    std::FILE* out = std::fopen(argv[3], "wb");
    for (int n = 0; n < images; ++n) {
        int8_t x[4];
        if (std::fread(x, 1, 4, in) != 4) return 2;
        std::vector<int16_t> trace;
        for (int t = 0; t < 4; ++t)
            for (int r = 0; r < 3; ++r) {
                ap_int<16> y = std::clamp(FAULTY(x[t], r) * (r + 1), -63, 63);
                trace.push_back(y.to_int());
            }
        for (int r = 0; r < 3; ++r) trace.push_back(trace[3 + r]);
        std::fwrite(trace.data(), 2, trace.size(), out);
    }
    std::fclose(out);
    return 0;
}
"""
HEALTHY = "#define FAULTY(x, r) (x)"


def small_graph() -> Graph:
    codes = Quantization(0.5, 63)
    linear = IntegerLinear(
        weight=np.array([[1], [2], [3]], np.int8),
        row_bits=np.array([4, 4, 4], np.uint8),
        bias=np.zeros(3, np.int64),
        multiplier=np.full(3, 2, np.int64),
        shift=np.ones(3, np.int64),
        qmax=63,
    )
    return Graph(
        "small",
        (
            Node("image", QuantizedInput((1, 2, 2)), (), (1, 2, 2), codes),
            Node("patches", Patches(1), ("image",), (4, 1), codes),
            Node("fc", linear, ("patches",), (4, 3), codes),
            Node("head", TakeToken(1), ("fc",), (1, 3), codes),
        ),
        ("head",),
    )


def trace_entry(
    layer: str, node: str, offset: int, tokens: int, channels: int, start: int = 0
) -> dict[str, object]:
    """A trace entry as in program.json, of a tensor whose rows have three words."""
    return {
        "layer": layer,
        "unit": "gemm",
        "node": node,
        "offset": offset,
        "tokens": tokens,
        "channels": channels,
        "token_pitch": 3,
        "channel_pitch": 1,
        "head": None,
        "start": start,
    }


def write_project(folder: Path, fault: str = HEALTHY, source: str = _SOURCE) -> Path:
    """Write the project. ``fault`` defines the macro ``FAULTY(x, r)`` that every input goes through."""
    graph = small_graph()
    save_graph(graph, folder)
    (folder / "src").mkdir()
    (folder / "src" / "main.cpp").write_text(source)
    (folder / "src" / "fault.h").write_text(fault + "\n")
    (folder / "data").mkdir()
    (folder / "vectors").mkdir()
    np.savez(folder / "vectors" / "images.npz", images=random_images(graph, 3, seed=7))
    manifest = {
        "seed": 7,
        "csim": {
            "sources": ["src/main.cpp"],
            "include": ["src"],
            "defines": {"functional": [], "packed": ["QVIT_PACKED"]},
            "data": "data",
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    entries = [
        trace_entry("fc", "fc", 0, 4, 2),
        trace_entry("fc", "fc", 2, 4, 1, start=2),
        trace_entry("head", "head", 12, 1, 3),
    ]
    (folder / "program.json").write_text(json.dumps({"trace": {"words": 15, "entries": entries}}))
    return folder
