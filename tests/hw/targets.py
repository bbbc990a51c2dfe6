"""Random accelerator configurations."""

from __future__ import annotations

from hypothesis import strategies as st

from qvit_hls.hw.accelerator import AcceleratorConfig

#: Memories and units of no importance.
_ROOMY = {
    "activation_depth": 1024,
    "digit_depth": 1024,
    "wide_depth": 1024,
    "weight_depth": 64,
    "max_row_tiles": 64,
    "table_bits": 8,
    "max_tokens": 64,
    "max_channels": 64,
    "image_pixels": 1,
    "accumulator_bits": 24,
    "softmax": True,
    "layer_norm": True,
    "mean_tokens": True,
}


def configuration(
    tile: tuple[int, int, int], activation_bits: int = 7, weight_ports: int = 1, **changes: object
) -> AcceleratorConfig:
    """A configuration with all atom rows on DSP lanes, as far as rows per DSP divide them."""
    per_dsp = 3 if activation_bits == 8 else 2
    fields = {
        "tile_tokens": tile[0],
        "tile_rows": tile[1],
        "tile_depth": tile[2],
        "activation_bits": activation_bits,
        "dsp_rows": tile[1] // per_dsp * per_dsp,
        "weight_ports": weight_ports,
        **_ROOMY,
    }
    return AcceleratorConfig.model_validate({**fields, **changes})


@st.composite
def configurations(draw: st.DrawFn) -> AcceleratorConfig:
    depth, ports = draw(st.sampled_from([2, 4, 8, 16])), draw(st.sampled_from([1, 2, 4]))
    tokens = depth * draw(st.integers(1, 6))
    rows = 2 * draw(st.integers(1, 40))
    return configuration((tokens, rows, depth), draw(st.integers(4, 8)), ports)
