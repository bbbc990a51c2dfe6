"""Latencies of the RTL engine in cycles, each with the place in ``hls_kernels/rtl/`` that it comes from.

What depends on the accelerator is a function of its numbers (or arrays of them, over candidates).
"""

from __future__ import annotations

import numpy as np

from qvit_hls.hw.accelerator import CASCADE
from qvit_hls.hw.timing.tiles import Numbers

#: qvit_pkg.sv: READ_LATENCY, REQUANTIZE_LATENCY, LAYER_NORM_WRITE, SOFTMAX_WRITE, RING, DESCRIPTOR_WORDS.
READ_LATENCY = 2
REQUANTIZE_LATENCY = 4
LAYER_NORM_WRITE = READ_LATENCY + 7
SOFTMAX_WRITE = READ_LATENCY + 2
RING = 8
DESCRIPTOR_WORDS = 32
#: gemm_loader.sv, MOST_TILES: row tiles that are loaded and not yet multiplied.
MOST_TILES = 6
#: qvit_pkg.sv, GROUP_TILES: row tiles that take turns, as far as half of the weight buffer holds them.
GROUP_TILES = 3
#: gemm_drain.sv, STAGES: from a row's choice to its write.
DRAIN_STAGES = 3 + REQUANTIZE_LATENCY + 3
#: Vector units' multipliers: quotient bits (MULTIPLIER_BITS), and bits per stage of root and reciprocal.
MULTIPLIER_BITS = 17
BITS_PER_STAGE = 2

#: controller.sv: from ap_start to the cycle in which the first descriptor's words are taken.
START = 1
#: controller.sv, gemm_sequencer.sv: from the last step of a GEMM to the first step of the next one, without
#: layers of the other lane between them in the program (each takes one cycle more).
LAYER_CHANGE = 2
#: gemm_loader.sv: IDLE, until the loader sees the next layer, and PLAN, ADVANCE and PUSH of each row tile.
LOAD_LAYER = 2
LOAD_TILE = 3
#: gemm_loader.sv, FLUSH: MEMORY_STAGES + 1, where digits come from the digit memory.
LOAD_FLUSH = READ_LATENCY + 2
#: gemm_loader.sv, gemm/queue.sv, gemm_sequencer.sv: from the cycle behind PUSH to the first step that may use
#: the row tile.
TILE_TO_STEP = 2
#: gemm_sequencer.sv to controller.sv: from the last step of a slot to the cycle in which others see that it
#: is complete, without the MAC tile's latency and the drain's cycles.
STEP_TO_COMPLETE = READ_LATENCY + DRAIN_STAGES + 1
#: gemm_drain.sv: from a drain's last read of the wide memory to the cycle in which others see it complete.
READ_TO_COMPLETE = 4
#: qvit_engine.sv, CODE_BANKS: share of random rows, drained in pairs or singly, that write the banks that
#: LayerNorm's step is for, where there are twice as many banks as rows drain. A row does so half of the time.
#: Half of the pairs write both steps' banks. The others would block half of the steps were they independent,
#: which makes 0.75; but they come in the order of channels. 0.65 fits the measured layers best.
RANDOM_PAIR = 0.65
RANDOM_ROW = 0.5
#: The same of rows in order: cycles per slot, until the two take turns.
TURNS = 0.5
#: From the last step of a LayerNorm's token tile to the first one that the drain of the GEMM that reads it
#: blocks, without the steps of the slot and the MAC tile's latency: the codes' write, the slot's begin, the
#: drain's stages less LAYER_NORM_WRITE.
CODES_TO_DRAIN = LAYER_NORM_WRITE + 1 + READ_LATENCY + 1 + DRAIN_STAGES - LAYER_NORM_WRITE
#: gemm_sequencer.sv, gemm_drain.sv: how much longer the drain of a transposed layer's last slot takes, beside
#: T_n / T_k cycles.
TRANSPOSED_TAIL = 1
#: controller.sv: from the cycle in which a vector layer's operands are seen to the unit's ``start``.
UNIT_START = 1
#: controller.sv: from a unit's ``done`` to the cycle in which others see it.
UNIT_COMPLETE = 1
#: layer_norm.sv: from the cycle in which a token tile is seen to be complete to that in which its scaling
#: begins (COUNTED_ADDED, and COUNTED_OWN for moments that the unit has taken itself), and from there to the
#: first step of its codes, without its tokens and the latency of the scaling.
LAYER_NORM_ADDED = 5
LAYER_NORM_OWN = 7
LAYER_NORM_SCALED = 3
#: mean_tokens.sv, store_result.sv, load_image.sv: from ``start`` to ``done``, without what depends on the
#: shape.
MEAN_TOKENS = 9
STORE_RESULT = 4
IMAGE_LOAD = 2
#: controller.sv: from the last layer's completion to ap_done.
END = 2


def clog2(value: Numbers) -> Numbers:
    """Bits that count from 0 to value - 1."""
    return np.ceil(np.log2(np.asarray(value, np.float64)) - 1e-12)


def mac_latency(activation_bits: Numbers, tile_depth: Numbers) -> Numbers:
    """Cycles of ``mac/mac_tile.sv`` from a step's operands to its sums (``mac_pkg.sv``, mac_latency)."""
    bits, depth = np.broadcast_arrays(np.asarray(activation_bits), np.asarray(tile_depth))
    table = {
        (a, t): min(cascade, t) + _tree_levels(t // min(cascade, t)) + 4
        for a, cascade in CASCADE.items()
        for t in (2, 4, 8, 16, 32)
    }
    return np.array([table[int(a), int(t)] for a, t in zip(bits.flat, depth.flat, strict=True)]).reshape(
        bits.shape
    )


def _tree_levels(terms: int) -> int:
    levels = 0
    while terms > 2:
        terms, levels = terms // 3 + terms % 3, levels + 1
    return levels


def reciprocal_latency(width: Numbers) -> Numbers:
    """Of ``reciprocal.sv`` for denominators of so many bits."""
    return clog2(width) + -(-MULTIPLIER_BITS // BITS_PER_STAGE)


def softmax_latency(max_tokens: Numbers) -> Numbers:
    """Of ``softmax.sv``: from the last step to ``done``, without one cycle per token of the last tile."""
    return 16 + clog2(7 + clog2(np.asarray(max_tokens) + 1))


def layer_norm_scale_latency(max_channels: Numbers) -> Numbers:
    """Of ``layer_norm_scale.sv``: from a token's moments to what normalises it."""
    root_bits = 16 + clog2(np.asarray(max_channels) + 1)
    return 6 + np.ceil(root_bits / BITS_PER_STAGE) + reciprocal_latency(root_bits)
