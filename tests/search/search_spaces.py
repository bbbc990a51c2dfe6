"""Small search spaces for the tests of the search."""

from __future__ import annotations

from qvit_hls.nets.space import SearchSpace, space_of


def small_space(**changes: object) -> SearchSpace:
    """Networks of one to three narrow blocks."""
    fields = {
        "name": "small",
        "depth": [1, 2, 3],
        "embed_dim": [8, 12, 16],
        "heads": [1, 2, 3],
        "head_dim": [4, 8],
        "mlp_ratio": [1.5, 2],
        "eight_bit_share": [0, 0.25, 0.5, 1],
        "activation_bits": [5, 7],
        "network": {"image_size": 8, "channels": 1, "patch_size": 2, "classes": 5},
    }
    return space_of({**fields, **changes}, "small")
