"""The order of the passes, and running them with each one's effect checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from qvit_hls.errors import QvitError
from qvit_hls.ir.float_ops import Input
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.integer_ops import QuantizedInput
from qvit_hls.ir.passes.attach_quantization import attach_quantization
from qvit_hls.ir.passes.canonicalize_tokens import canonicalize_tokens
from qvit_hls.ir.passes.constant_queries import constant_queries
from qvit_hls.ir.passes.eliminate_dead import eliminate_dead
from qvit_hls.ir.passes.fold_layer_norm_affine import fold_layer_norm_affine
from qvit_hls.ir.passes.fold_layer_scale import fold_layer_scale
from qvit_hls.ir.passes.fold_pixel_convolutions import fold_pixel_convolutions
from qvit_hls.ir.passes.fuse_attention import fuse_attention
from qvit_hls.ir.passes.group_row_precisions import group_row_precisions
from qvit_hls.ir.passes.legalize_patch_embedding import legalize_patch_embedding
from qvit_hls.ir.passes.merge_layout import merge_layout
from qvit_hls.ir.passes.norms_of_heads import norms_of_heads
from qvit_hls.ir.passes.operands_from_stream import operands_from_stream
from qvit_hls.ir.passes.operands_onto_stream import operands_onto_stream
from qvit_hls.ir.passes.patches_from_layout import patches_from_layout
from qvit_hls.ir.passes.read_before_adding import read_before_adding
from qvit_hls.ir.passes.split_fused_linear import split_fused_linear
from qvit_hls.ir.passes.split_joined_channels import split_joined_channels
from qvit_hls.ir.passes.take_tokens_early import take_tokens_early
from qvit_hls.ir.passes.tokens_of_embeddings import tokens_of_embeddings
from qvit_hls.ir.passes.unmix_talking_heads import unmix_talking_heads

Pass = Callable[[Graph], Graph]

#: From the graph as traced to one that lowering understands.
FLOAT_PASSES: Sequence[Pass] = (
    eliminate_dead,
    merge_layout,
    split_fused_linear,
    attach_quantization,
    canonicalize_tokens,
    split_joined_channels,
    take_tokens_early,
    fold_layer_scale,
    patches_from_layout,
    legalize_patch_embedding,
    tokens_of_embeddings,
    constant_queries,
    unmix_talking_heads,
    norms_of_heads,
    fuse_attention,
    operands_onto_stream,
    fold_pixel_convolutions,
    fold_layer_norm_affine,
    operands_from_stream,
    read_before_adding,
)
#: After lowering; bit-equal.
INTEGER_PASSES: Sequence[Pass] = (group_row_precisions,)

#: Largest error of a float pass, relative to the largest output, both graphs run in float64.
_TOLERANCE = 1e-6


def run_passes(graph: Graph, passes: Sequence[Pass], verify: bool = False) -> Graph:
    """Apply ``passes`` in order.

    Args:
        graph: float or integer.
        passes: as in FLOAT_PASSES and INTEGER_PASSES.
        verify: run the graph before and after each pass on the same random images and compare.

    Raises:
        QvitError: with ``verify``, a pass changes what the graph computes; names the pass.
    """
    for apply in passes:
        after = apply(graph)
        if verify:
            _compare(graph, after, getattr(apply, "__name__", str(apply)))
        graph = after
    return graph


def _compare(before: Graph, after: Graph, name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    images = [
        # In float64, so that a difference is the pass's and not that of float32 roundings.
        torch.randn(2, *node.shape, generator=generator, dtype=torch.float64)
        for node in before
        if isinstance(node.op, Input | QuantizedInput)
    ]
    values = before.run(*images), after.run(*images)
    for old, new in zip(before.outputs, after.outputs, strict=True):
        expected, got = values[0][old], values[1][new]
        if expected.shape != got.shape:
            raise QvitError(f"Pass {name} changes the shape of output {old}.")
        allowed = _TOLERANCE * float(expected.abs().max()) if expected.is_floating_point() else 0.0
        error = float((expected - got).abs().max())
        if not error <= allowed:
            raise QvitError(
                f"Pass {name} changes output {old} by up to {error:.3g}; at most {allowed:.3g} is allowed."
            )
