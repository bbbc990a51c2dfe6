"""The number grids of the arithmetic contract: which codes a weight row or an activation may take."""

from __future__ import annotations

#: Largest code of a 4-bit weight row. Symmetric, so that a LayerScale's sign can fold into the codes.
WEIGHT_QMAX_4 = 7
#: Largest code of an 8-bit weight row: the largest ``q`` with both ``q`` and ``-q`` equal to
#: ``16*h + l`` for digits h, l in [-8, 7].
WEIGHT_QMAX_8 = 119
#: Unnormalised softmax exponents run from 0 to this; two digits, like an 8-bit weight.
EXPONENT_LEVELS = 119
#: The largest power of two among them: the first exponent of a softmax whose exponents are powers.
LARGEST_POWER = 64
#: Entries of the exponent table; larger distances from the row maximum share the last entry.
EXPONENT_TABLE_SIZE = 256

MIN_ACTIVATION_BITS = 4
MAX_ACTIVATION_BITS = 8
MAX_RESIDUAL_BITS = 16


def activation_qmax(bits: int) -> int:
    """Largest code of a narrow symmetric ``bits``-bit activation (63 at 7 bits)."""
    return (1 << (bits - 1)) - 1


def digit_operand_qmax(bits: int) -> int:
    """Largest code of an activation that is split into digits (attention keys): at most 119."""
    return min(activation_qmax(bits), WEIGHT_QMAX_8)


def weight_qmax(row_bits: int) -> int:
    """Largest code of a weight row of 4 or 8 bits."""
    return {4: WEIGHT_QMAX_4, 8: WEIGHT_QMAX_8}[row_bits]
