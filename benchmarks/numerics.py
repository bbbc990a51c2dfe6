"""Numerical quality of the integer LayerNorm, softmax and GELU against float64, in LSB of the output grid.

A correctly rounded operation is at most 0.5 LSB from the real value, 0.25 on average, and always equal to
the correctly rounded code. Inputs are codes, so what is measured is the operation itself; where the
rounding of an operand is part of the method (the softmax's exponents, the input of the GELU table), that
part is measured alone and together with the rest. Elements that the output grid clips are left out.

    python benchmarks/numerics.py            prints the table and writes benchmarks/results/numerics.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from qvit_hls.ir import float_ops as ops
from qvit_hls.ir.file_format import write_file
from qvit_hls.ir.graph import Graph, Node, Op, Quantization
from qvit_hls.ir.lowering import lower
from qvit_hls.quant.levels import activation_qmax

RESULTS = Path(__file__).parent / "results" / "numerics.json"

EPS = 1e-6  # of the LayerNorm, where its input has unit variance
RANGE = 4.0  # the output grids of LayerNorm and GELU end here
SCORE_STEP = 1 / 32
SCORE_QMAX = activation_qmax(12)
HEAD_DIM = 64
TOKENS = 256  # in each measurement of the LayerNorm


@dataclass(frozen=True)
class Row:
    """One measurement, over ``elements`` output codes.

    Attributes:
        operation: what was measured.
        parameters: for which inputs and grids.
        real_max, real_mean: distance from the real value, in LSB.
        rounded_max, rounded_mean: distance from the correctly rounded code, in LSB.
        differing: share of codes that are not the correctly rounded ones.
    """

    operation: str
    parameters: Mapping[str, float]
    real_max: float
    real_mean: float
    rounded_max: int
    rounded_mean: float
    differing: float
    elements: int


def compare(
    operation: str, parameters: Mapping[str, float], codes: np.ndarray, real: np.ndarray, qmax: int
) -> Row:
    """Measure integer ``codes`` against ``real``, the float64 values in LSB, of the same shape."""
    inside = np.abs(real) <= qmax
    codes, real = codes[inside], real[inside]
    distance = np.abs(codes - real)
    steps = np.abs(codes - np.floor(real + 0.5))
    return Row(
        operation,
        parameters,
        float(distance.max()),
        float(distance.mean()),
        int(steps.max()),
        float(steps.mean()),
        float((steps > 0).mean()),
        int(codes.size),
    )


class Bench:
    """A float graph of a few operations, lowered and run on codes."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.images: list[torch.Tensor] = []

    def input(self, name: str, codes: np.ndarray, quant: Quantization) -> None:
        """An input that takes the given codes, at most 16 bits."""
        self.nodes[name] = Node(name, ops.Input(codes.shape), (), codes.shape, quant)
        self.images.append(torch.from_numpy((codes * quant.scale).astype(np.float32))[None])

    def apply(self, name: str, op: Op, *inputs: str, quant: Quantization | None = None) -> None:
        """An operation whose value has the grid ``quant``."""
        shape = op.infer_shape(tuple(self.nodes[value].shape for value in inputs))
        self.nodes[name] = Node(name, op, inputs, shape, quant)

    def run(self) -> dict[str, np.ndarray]:
        """The codes of every value in the integer graph."""
        graph = lower(Graph("bench", tuple(self.nodes.values()), (list(self.nodes)[-1],)))
        return {name: value[0].numpy() for name, value in graph.run(*self.images).items()}


def layer_norm(
    channels: int, residual_bits: int, sigma: float, outliers: int, bits: int, seed: int = 0
) -> Row:
    """LayerNorm of tokens whose codes have deviation ``sigma``; outlier channels are 20 times as wide."""
    rng = np.random.default_rng(seed)
    limit, qmax = activation_qmax(residual_bits), activation_qmax(bits)
    x = rng.normal(rng.normal(0, sigma / 2, (TOKENS, 1)), sigma, (TOKENS, channels))
    x[:, rng.permutation(channels)[:outliers]] *= 20
    codes = np.clip(np.floor(x + 0.5), -limit, limit)
    scale_in, scale_out = 1 / sigma, RANGE / qmax
    bench = Bench()
    bench.input("x", codes, Quantization(scale_in, limit))
    bench.apply("y", ops.LayerNorm(EPS), "x", quant=Quantization(scale_out, qmax))
    value = codes * scale_in
    centred = value - value.mean(axis=1, keepdims=True)
    real = centred / np.sqrt(value.var(axis=1, keepdims=True) + EPS) / scale_out
    parameters = {
        "channels": channels,
        "residual bits": residual_bits,
        "sigma": sigma,
        "outliers": outliers,
        "A": bits,
    }
    return compare("LayerNorm", parameters, bench.run()["y"], real, qmax)


def softmax(tokens: int, spread: float, bits: int, seed: int = 0) -> tuple[Row, Row]:
    """Softmax and context of one head, with scores of deviation ``spread``.

    Returns:
        The error of the whole, and that of the deferred normalisation alone (exponents taken as exact).
    """
    rng = np.random.default_rng(seed)
    qmax = activation_qmax(bits)
    scores = np.floor(rng.normal(0, spread / SCORE_STEP, (1, tokens, tokens)) + 0.5)
    v = np.clip(np.floor(rng.normal(0, qmax / 3, (tokens, HEAD_DIM)) + 0.5), -qmax, qmax)

    def average(weights: np.ndarray) -> np.ndarray:
        return np.asarray((weights / weights.sum(axis=-1, keepdims=True) @ v)[0])

    exact = average(np.exp(SCORE_STEP * (scores - scores.max(axis=-1, keepdims=True))))
    scale_out = float(np.abs(exact).max()) / qmax  # the output grid covers the context, in steps of v
    bench = Bench()
    bench.input("scores", scores, Quantization(SCORE_STEP, SCORE_QMAX))
    bench.input("v", v, Quantization(1.0, qmax))
    bench.apply("e", ops.Softmax(SCORE_STEP), "scores")
    bench.apply("y", ops.AttentionContext(1), "e", "v", quant=Quantization(scale_out, qmax))
    values = bench.run()
    parameters = {"tokens": tokens, "spread": spread, "A": bits}
    return (
        compare("softmax and context", parameters, values["y"], exact / scale_out, qmax),
        compare("normalisation alone", parameters, values["y"], average(values["e"]) / scale_out, qmax),
    )


def gelu(bits: int, table_bits: int) -> tuple[Row, Row]:
    """GELU by table, over its whole input range.

    Returns:
        The error of the table at its codes, and that with the rounding of its input.
    """
    qmax, qmax_in = activation_qmax(bits), activation_qmax(table_bits)
    scale_in, scale_out = RANGE / qmax_in, RANGE / qmax
    fine = np.linspace(-qmax_in, qmax_in, 100 * 2 * qmax_in + 1)  # in steps of the input
    codes = np.floor(fine + 0.5)
    bench = Bench()
    bench.input("x", codes, Quantization(scale_in, qmax_in))
    bench.apply("y", ops.Elementwise("gelu"), "x", quant=Quantization(scale_out, qmax))
    y = bench.run()["y"]

    def real(x: np.ndarray) -> np.ndarray:
        return torch.nn.functional.gelu(torch.from_numpy(x * scale_in)).numpy() / scale_out

    parameters = {"table bits": table_bits, "A": bits}
    return (
        compare("GELU table", parameters, y[::100], real(codes[::100]), qmax),
        compare("GELU with its input", parameters, y, real(fine), qmax),
    )


def measurements() -> Iterator[Row]:
    """Every row of the table, in order."""
    for channels in (48, 192, 384, 768):
        for residual_bits, sigmas in ((12, (2, 32, 512)), (16, (8, 512, 8192))):
            for sigma in sigmas:
                for outliers in (0, 3):
                    yield layer_norm(channels, residual_bits, sigma, outliers, bits=8)
    for bits in (4, 5, 6, 7):
        yield layer_norm(192, 16, 512, 0, bits)
    wholes, parts = [], []
    cases = [(tokens, spread, 8) for tokens in (17, 65, 197, 577) for spread in (0.5, 1, 2, 4)]
    for tokens, spread, bits in [*cases, *((197, 2, bits) for bits in (4, 5, 6, 7))]:
        whole, part = softmax(tokens, spread, bits)
        wholes.append(whole)
        parts.append(part)
    yield from (*wholes, *parts)
    alone, with_input = zip(*(gelu(bits, t) for bits in range(4, 9) for t in range(6, 11)), strict=True)
    yield from (*alone, *with_input)


def tables(rows: list[Row]) -> Iterator[Table]:
    """One terminal table per operation."""
    for operation in dict.fromkeys(row.operation for row in rows):
        of_operation = [row for row in rows if row.operation == operation]
        table = Table(title=f"{operation}: error in LSB of the output grid")
        for heading in (*of_operation[0].parameters, "max", "mean"):
            table.add_column(heading, justify="right")
        for heading in ("max to rounded", "mean to rounded", "codes differing"):
            table.add_column(heading, justify="right")
        for row in of_operation:
            table.add_row(
                *(f"{value:g}" for value in row.parameters.values()),
                f"{row.real_max:.3f}",
                f"{row.real_mean:.3f}",
                str(row.rounded_max),
                f"{row.rounded_mean:.4f}",
                f"{row.differing:.2%}",
            )
        yield table


def main() -> None:
    """Measure, print and save."""
    rows = list(measurements())
    console = Console(width=110, highlight=False)
    for table in tables(rows):
        console.print(table)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    write_file(RESULTS, (json.dumps([asdict(row) for row in rows], indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
