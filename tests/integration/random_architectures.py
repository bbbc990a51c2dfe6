"""Random networks and random accelerators: shapes that divide no tile, every option, every bit width."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from qvit_hls.nets.config import BlockConfig, VitConfig

shares = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.8, 1.0])

blocks = st.builds(
    BlockConfig,
    heads=st.integers(1, 4),
    head_dim=st.sampled_from([3, 5, 8, 12, 17, 20]),
    mlp_hidden=st.sampled_from([7, 24, 33, 50, 90]),
)


@st.composite
def networks(draw: st.DrawFn) -> VitConfig:
    patch_size = draw(st.integers(2, 5))
    depth = draw(st.integers(1, 3))
    layers = [
        f"blocks.{i}.{name}" for i in range(depth) for name in ("attn.q", "attn.v", "mlp.fc1", "mlp.fc2")
    ]
    return VitConfig(
        image_size=patch_size * draw(st.integers(1, 6)),
        channels=draw(st.sampled_from([1, 3])),
        patch_size=patch_size,
        classes=draw(st.sampled_from([2, 5, 11, 40])),
        embed_dim=draw(st.sampled_from([5, 13, 20, 32, 36, 52])),
        blocks=tuple(draw(blocks) for _ in range(depth)),
        pooling=draw(st.sampled_from(["cls", "mean"])),
        layer_scale=draw(st.booleans()),
        activation=draw(st.sampled_from(["gelu", "gelu_tanh", "relu", "silu"])),
        activation_bits=draw(st.integers(4, 8)),
        residual_bits=draw(st.integers(12, 16)),
        table_bits=draw(st.integers(4, 10)),
        score_step=draw(st.sampled_from([1 / 46, 1 / 32, 1 / 8, 1.0])),
        layer_norm_eps=draw(st.sampled_from([1e-6, 1e-5, 1e-2])),
        eight_bit_share=draw(shares),
        layer_eight_bit_share=draw(
            st.dictionaries(st.sampled_from([*layers, "patch_embed", "head"]), shares, max_size=4)
        ),
    )


@dataclass(frozen=True)
class Tile:
    """T_n, T_m and T_k, and how many of the T_m atom rows are LUT lanes (as nearly as rows per DSP allow)."""

    tokens: int
    rows: int
    depth: int
    lut_share: float

    def dsp_rows(self, activation_bits: int) -> int:
        per_dsp = 3 if activation_bits == 8 else 2
        return int(self.rows * (1 - self.lut_share)) // per_dsp * per_dsp


@st.composite
def tiles(draw: st.DrawFn) -> Tile:
    depth = draw(st.sampled_from([2, 4, 8]))
    tokens = draw(st.sampled_from([n for n in (2, 4, 6, 8, 12, 14, 16, 24) if n % depth == 0]))
    rows = 2 * draw(st.integers(1, 12))
    return Tile(tokens, rows, depth, draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])))
