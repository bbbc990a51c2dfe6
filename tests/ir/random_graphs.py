"""Random graphs for tests: an integer Vision Transformer of any shape, a float graph of every operation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from qvit_hls.ir import float_ops as f
from qvit_hls.ir import integer_ops as i
from qvit_hls.ir.graph import Graph, Node, Op, Quantization
from qvit_hls.ir.tables import exponent_table
from qvit_hls.quant.levels import activation_qmax, digit_operand_qmax


class Builder:
    """Appends nodes whose shapes are inferred."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def add(self, name: str, op: Op, *inputs: str, quant: Quantization | None = None) -> str:
        shape = op.infer_shape(tuple(self.nodes[value].shape for value in inputs))
        self.nodes[name] = Node(name, op, inputs, shape, quant, source=name.rpartition(".")[0])
        return name

    def graph(self, *outputs: str) -> Graph:
        return Graph("random", tuple(self.nodes.values()), outputs)


@dataclass(frozen=True)
class VitShape:
    channels: int
    grid: tuple[int, int]
    patch: int
    heads: int
    head_dim: int
    hidden: int
    depth: int
    bits: int
    residual_bits: int
    share_8bit: float
    class_token: bool
    seed: int


vit_shapes = st.builds(
    VitShape,
    channels=st.integers(1, 3),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    patch=st.integers(1, 4),
    heads=st.integers(1, 3),
    head_dim=st.integers(1, 9),
    hidden=st.integers(1, 40),
    depth=st.integers(0, 2),
    bits=st.integers(4, 8),
    residual_bits=st.sampled_from([8, 12, 16]),
    share_8bit=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    class_token=st.booleans(),
    seed=st.integers(0, 1 << 16),
)


def random_linear(
    rng: np.random.Generator, rows: int, k: int, share_8bit: float, x_qmax: int, qmax: int
) -> i.IntegerLinear:
    row_bits = np.where(rng.random(rows) < share_8bit, 8, 4).astype(np.uint8)
    limit = np.where(row_bits == 8, 119, 7)[:, None]
    weight = rng.integers(-limit, limit + 1, (rows, k)).astype(np.int8)
    spread = np.maximum(1.0, np.sqrt(k) * limit[:, 0] * x_qmax / 3)
    multiplier = rng.integers(1 << 15, 1 << 16, rows)
    shift = np.clip(np.round(np.log2(spread / qmax * multiplier * rng.uniform(0.5, 4, rows))), 1, 47)
    return i.IntegerLinear(
        weight,
        row_bits,
        np.round(rng.normal(0, spread)).astype(np.int64),
        multiplier.astype(np.int64),
        shift.astype(np.int64),
        qmax,
    )


def integer_vit(v: VitShape) -> Graph:
    """A network with every integer operation, of random codes; scales are of no meaning."""
    rng = np.random.default_rng(v.seed)
    b = Builder()
    qmax, wide, key = activation_qmax(v.bits), activation_qmax(v.residual_bits), digit_operand_qmax(v.bits)
    dim = v.heads * v.head_dim

    def quant(q: int) -> Quantization:
        return Quantization(float(rng.uniform(0.001, 1)), q)

    def linear(name: str, x: str, rows: int, out: int, x_qmax: int = qmax) -> str:
        k = b.nodes[x].shape[-1]
        return b.add(name, random_linear(rng, rows, k, v.share_8bit, x_qmax, out), x, quant=quant(out))

    def norm(name: str, x: str) -> str:
        op = i.IntegerLayerNorm(
            int(rng.integers(1, 50)),
            int(rng.integers(1 << 15, 1 << 16)),
            16 - v.bits + int(rng.integers(3)),
            qmax,
            rng.integers(0, 8, dim).astype(np.uint8) if rng.random() < 0.5 else None,
            v.heads if rng.random() < 0.5 else 1,
        )
        return b.add(name, op, x, quant=quant(qmax))

    size = (v.channels, v.grid[0] * v.patch, v.grid[1] * v.patch)
    x = b.add("image", i.QuantizedInput(size), quant=Quantization(float(rng.uniform(0.01, 0.1)), qmax))
    x = b.add("patches", i.Patches(v.patch), x)
    x = linear("patch_embed", x, dim, wide)
    offset = int(v.class_token)
    tokens = v.grid[0] * v.grid[1] + offset
    position = rng.integers(-wide, wide + 1, (tokens, dim)).astype(np.int32)
    x = b.add("embed", i.Embed(position, offset, wide), x, quant=quant(wide))
    for n in range(v.depth):
        p = f"blocks.{n}"
        y = norm(f"{p}.norm1", x)
        q = linear(f"{p}.attn.q", y, dim, qmax)
        k = linear(f"{p}.attn.k", y, dim, key)
        value = linear(f"{p}.attn.v", y, dim, qmax)
        bias = rng.integers(-qmax, qmax + 1, (v.heads, tokens, tokens)).astype(np.int16)
        scores = i.IntegerScores(
            v.heads, int(rng.integers(1 << 15, 1 << 16)), 17 + v.bits // 2, qmax, bias if n % 2 else None
        )
        s = b.add(f"{p}.attn.scores", scores, q, k)
        table = exponent_table(float(rng.uniform(0.01, 0.3)), int(rng.integers(0, 3)))
        e = b.add(f"{p}.attn.softmax", i.SoftmaxExponents(table), s)
        context = i.IntegerContext(v.heads, int(rng.integers(1 << 15, 1 << 16)), 15, qmax)
        y = b.add(f"{p}.attn.context", context, e, value)
        x = b.add(f"{p}.add1", i.IntegerAdd(wide), x, linear(f"{p}.attn.proj", y, dim, wide))
        y = linear(f"{p}.mlp.fc1", norm(f"{p}.norm2", x), v.hidden, 127)
        table = rng.integers(-qmax, qmax + 1, 255).astype(np.int16)
        y = b.add(f"{p}.mlp.act", i.Table(table), y, quant=quant(qmax))
        x = b.add(f"{p}.add2", i.IntegerAdd(wide), x, linear(f"{p}.mlp.fc2", y, dim, wide))
        requantize = i.IntegerRequantize(int(rng.integers(0, 1 << 16)), int(rng.integers(1, 32)), qmax)
        y = b.add(f"{p}.operand", requantize, x, quant=quant(qmax))
        x = b.add(f"{p}.add3", i.IntegerAdd(wide), x, linear(f"{p}.adapter", y, dim, wide))
    last, some = b.add("last", i.TakeToken(tokens - 1), x), b.add("some", i.Slice(0, 0, tokens), x)
    x = norm("norm", b.add("joined", i.ConcatTokens(), last, some))
    if v.class_token:
        x = b.add("pool", i.TakeToken(0), x)
    else:
        mean = i.IntegerMeanTokens((1 << 16) // (tokens + 1), 16, qmax)
        x = b.add("pool", mean, x)
    return b.graph(linear("head", x, 5, wide))


def float_graph(seed: int, dims: tuple[int, int]) -> Graph:
    """A graph with every float operation, optional attributes present and absent."""
    rng = np.random.default_rng(seed)
    heads, head_dim = dims
    dim = heads * head_dim
    b = Builder()

    def array(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    bits = np.where(rng.random(dim) < 0.5, 8, 4).astype(np.uint8)
    x = b.add("x", f.Input((3, 4, 6)), quant=Quantization(0.1, 63))
    x = b.add("fake", f.FakeQuantize(float(rng.uniform(0.01, 1)), 63), x)
    p = b.add("patches", f.Patches(2), x)
    p = b.add("patch_linear", f.Linear(array(dim, 12)), p)
    y = b.add("conv", f.Conv2d(array(dim, 3, 2, 2), (2, 2), array(dim), np.abs(array(dim)), bits), x)
    y = b.add("reshape", f.Reshape((dim, 6)), y)
    y = b.add("permute", f.Permute((1, 0)), y)
    y = b.add("sum", f.Add(), y, p)
    y = b.add("concat", f.ConcatTokens(), b.add("token", f.Constant(array(1, dim))), y)
    y = b.add("norm", f.LayerNorm(1e-6, array(dim), array(dim)), y)
    q = b.add("q", f.Linear(array(dim, dim), array(dim), np.abs(array(dim)), bits), y)
    some = b.add("slice", f.Slice(0, 1, 5), q)
    biased = f.AttentionScores(heads, float(rng.uniform(0.1, 1)), array(heads, 4, 7))
    few = b.add("biased_scores", biased, some, y)
    s = b.add("scores", f.AttentionScores(heads, float(rng.uniform(0.1, 1))), q, y)
    s = b.add("softmax", f.Softmax(float(rng.uniform(0.01, 0.2)), int(rng.integers(0, 3))), s)
    y = b.add("context", f.AttentionContext(heads), s, y)
    y = b.add("act", f.Elementwise("gelu"), b.add("scale", f.Scale(array()), y))
    y = b.add("product", f.MatMul(), b.add("square", f.Reshape((dim, 7)), y), y)
    y = b.add("plain_norm", f.LayerNorm(1e-5), b.add("norm_of_heads", f.LayerNorm(1e-5, groups=heads), y))
    y = b.add("operand", f.Requantize(), b.add("mean", f.MeanTokens(), y))
    few = b.add("joined", f.ConcatChannels(), few, few)
    return b.graph(
        b.add("take", f.TakeToken(0), b.add("scale_channels", f.Scale(array(dim)), y)), "norm", few
    )
