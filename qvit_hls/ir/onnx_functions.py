"""The arithmetic contract in ONNX: model-local functions whose bodies are standard integer operations.

Written in ONNX's text syntax. Codes are int32, multipliers and shifts int64; types 6, 7 and 11 are int32,
int64 and double. ONNX rounds integer division toward zero and shifts unsigned numbers only, so an
arithmetic shift is a floor division by a power of two, with the remainder of the divisor's sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

DOMAIN = "qvit_hls"
OPSET = 21  # the first with 4-bit integers

_POWERS_OF_TWO = ", ".join(str(1 << n) for n in range(63))

_BODIES = (
    # floor(a / d) for d > 0.
    """FloorDivide (a, d) => (quotient) {
        remainder = Mod <fmod = 0> (a, d)
        multiple = Sub (a, remainder)
        quotient = Div (multiple, d)
    }""",
    # clamp((acc * multiplier + 2**(shift-1)) >> shift, qmax)
    f"""Requantize (acc, multiplier, shift, qmax) => (y) {{
        powers = Constant <value_ints: ints = [{_POWERS_OF_TWO}]> ()
        two = Constant <value_int: int = 2> ()
        wide = Cast <to = 7> (acc)
        product = Mul (wide, multiplier)
        divisor = Gather (powers, shift)
        half = Div (divisor, two)
        rounded = Add (product, half)
        shifted = qvit_hls.FloorDivide (rounded, divisor)
        low = Neg (qmax)
        clamped = Clip (shifted, low, qmax)
        y = Cast <to = 6> (clamped)
    }}""",
    # M = (multiplier << z) // d and shift = exponent + z, z the bit length of d (the powers of two <= d).
    f"""Reciprocal (d, multiplier, exponent) => (M, shift) {{
        powers = Constant <value_ints: ints = [{_POWERS_OF_TWO}]> ()
        last = Constant <value_ints: ints = [-1]> ()
        column = Unsqueeze (d, last)
        reached = GreaterOrEqual (column, powers)
        ones = Cast <to = 7> (reached)
        z = ReduceSum <keepdims = 0> (ones, last)
        power = Gather (powers, z)
        numerator = Mul (multiplier, power)
        M = Div (numerator, d)
        shift = Add (exponent, z)
    }}""",
    # floor(sqrt(v)) for 0 <= v < 2**53: the rounded root is at most one too large.
    """IntegerSqrt (v) => (q) {
        real = Cast <to = 11> (v)
        root = Sqrt (real)
        candidate = Cast <to = 7> (root)
        square = Mul (candidate, candidate)
        over = Greater (square, v)
        excess = Cast <to = 7> (over)
        q = Sub (candidate, excess)
    }""",
    # S = sum(x), V = N*sum(x*x) - S*S + epsilon, (M, s) = reciprocal(isqrt(V), ..),
    # y = requantize(N*x - S, M, s + shifts, qmax); shifts is one number for all channels, or [N].
    """IntegerLayerNorm (codes, epsilon, multiplier, exponent, qmax, shifts) => (y) {
        last = Constant <value_ints: ints = [-1]> ()
        x = Cast <to = 7> (codes)
        N = Shape <start = -1> (x)
        S = ReduceSum <keepdims = 1> (x, last)
        scaled = Mul (N, x)
        d = Sub (scaled, S)
        squares = Mul (x, x)
        sum_of_squares = ReduceSum <keepdims = 1> (squares, last)
        scaled_squares = Mul (N, sum_of_squares)
        square_of_sum = Mul (S, S)
        variance = Sub (scaled_squares, square_of_sum)
        V = Add (variance, epsilon)
        q = qvit_hls.IntegerSqrt (V)
        M, s = qvit_hls.Reciprocal (q, multiplier, exponent)
        shift = Add (s, shifts)
        y = qvit_hls.Requantize (d, M, shift, qmax)
    }""",
    # table[min(max(x) - x, size - 1)]
    """SoftmaxExponents (x, table) => (y) {
        last = Constant <value_ints: ints = [-1]> ()
        one = Constant <value_int: int = 1> ()
        size = Size (table)
        end = Sub (size, one)
        limit = Cast <to = 6> (end)
        top = ReduceMax <keepdims = 1> (x, last)
        distance = Sub (top, x)
        index = Min (distance, limit)
        y = Gather (table, index)
    }""",
)


def contract_functions() -> list[onnx.FunctionProto]:
    """The functions that an exported graph calls, each before those that call it."""
    from onnx import parser

    header = f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}, "{DOMAIN}" : 1]>\n'
    return [parser.parse_function(header + body) for body in _BODIES]
