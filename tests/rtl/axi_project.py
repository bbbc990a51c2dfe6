"""A project for the small engine in ``axi_engine/``, and RTL of the whole top around that engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jinja2
import numpy as np

import qvit_hls
from qvit_hls.flow.images import random_images
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.ir.file_format import save_graph
from qvit_hls.ir.graph import Graph, Node, Quantization
from qvit_hls.ir.integer_ops import IntegerLinear, Patches, QuantizedInput, TakeToken

ENGINE = Path(__file__).parent / "axi_engine"
PACKAGE = Path(qvit_hls.__file__).parent
AXI = PACKAGE / "hls_kernels" / "rtl" / "axi"
TOKENS, ROWS, RESULT_TOKEN, PORTS = 64, 12, 38, 4
#: Enough for several bursts, whole and cut by a page's end, of every port.
LAYERS, BEATS = 9, 391
CONFIG = AcceleratorConfig(
    tile_tokens=8,
    tile_rows=4,
    tile_depth=8,
    activation_bits=7,
    dsp_rows=4,
    weight_ports=PORTS,
    activation_depth=64,
    digit_depth=64,
    wide_depth=64,
    weight_depth=64,
    max_row_tiles=4,
    table_bits=0,
    max_tokens=64,
    max_channels=64,
    image_pixels=1,
    accumulator_bits=20,
    softmax=False,
    layer_norm=False,
    mean_tokens=False,
)


def linear_graph() -> Graph:
    codes = Quantization(0.5, 63)
    linear = IntegerLinear(
        weight=np.array([[-119], [97], [-64], [-8], [-3], [-1], [0], [1], [2], [5], [60], [119]], np.int8),
        row_bits=np.full(ROWS, 8, np.uint8),
        bias=np.zeros(ROWS, np.int64),
        multiplier=np.full(ROWS, 2, np.int64),
        shift=np.ones(ROWS, np.int64),
        qmax=63,
    )
    return Graph(
        "linear",
        (
            Node("image", QuantizedInput((1, 8, 8)), (), (1, 8, 8), codes),
            Node("patches", Patches(1), ("image",), (TOKENS, 1), codes),
            Node("fc", linear, ("patches",), (TOKENS, ROWS), codes),
            Node("head", TakeToken(RESULT_TOKEN), ("fc",), (1, ROWS), codes),
        ),
        ("head",),
    )


def write_project(folder: Path, weight_words: int = BEATS, weights: np.ndarray | None = None) -> Path:
    """Write the project.

    Args:
        weight_words: words that the program asks of each weight port.
        weights: int8 of each row; default those of the golden graph.
    """
    graph = linear_graph()
    save_graph(graph, folder)
    for name in ("data", "vectors"):
        (folder / name).mkdir()
    np.savez(folder / "vectors" / "images.npz", images=random_images(graph, 2, seed=7))
    random = np.random.default_rng(11)
    program = random.integers(0, 1 << 32, LAYERS * 32, np.uint32)
    program[:5] = weight_words, TOKENS // 16, TOKENS, ROWS, RESULT_TOKEN
    _write_words(folder / "data" / "program.bin", program.astype("<u4").tobytes(), 4)
    for port in range(PORTS):
        content = bytearray(random.bytes(16 * BEATS))
        if port == 0:
            used = graph["fc"].op.weight[:, 0] if weights is None else weights
            content[:ROWS] = used.astype(np.int8).tobytes()
        _write_words(folder / "data" / f"weights{port}.bin", bytes(content), 16)
    sizes = np.array([LAYERS, BEATS, TOKENS, ROWS, TOKENS * ROWS, 0, 0, 0], "<u4")
    (folder / "data" / "frame.bin").write_bytes(sizes.tobytes())
    (folder / "accelerator.json").write_text(json.dumps(CONFIG.model_dump()))
    csim = {"sources": [], "include": [], "defines": {"functional": [], "packed": []}, "data": "data"}
    (folder / "manifest.json").write_text(json.dumps({"seed": 7, "csim": csim}))
    entry = {
        "unit": "gemm",
        "channels": ROWS,
        "token_pitch": ROWS,
        "channel_pitch": 1,
        "head": None,
        "start": 0,
    }
    entries = [
        {"layer": "fc", "node": "fc", "offset": 0, "tokens": TOKENS, **entry},
        {"layer": "head", "node": "head", "offset": TOKENS * ROWS, "tokens": 1, **entry},
    ]
    program_json = {"layers": [], "trace": {"words": (TOKENS + 1) * ROWS, "entries": entries}}
    (folder / "program.json").write_text(json.dumps(program_json))
    return folder


def write_rtl(folder: Path) -> Path:
    """Put the whole top around the small engine into a folder."""
    folder.mkdir()
    for path in (*AXI.glob("*.sv"), *ENGINE.iterdir()):
        shutil.copyfile(path, folder / path.name)
    (folder / "qvit_top.sv").write_text(render_top(CONFIG))
    return folder


def render_top(config: AcceleratorConfig) -> str:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    template = (PACKAGE / "templates" / "qvit_top.sv.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(config=config)


def _write_words(path: Path, content: bytes, size: int) -> None:
    """Write words with the last one such that the engine's checksum over all of them is 0."""
    bits = 8 * size
    total = 0
    for at in range(0, len(content) - size, size):
        total = _rotate(total, bits) ^ int.from_bytes(content[at : at + size], "little")
    path.write_bytes(content[:-size] + _rotate(total, bits).to_bytes(size, "little"))


def _rotate(value: int, bits: int) -> int:
    return (value << 1 | value >> (bits - 1)) & ((1 << bits) - 1)
