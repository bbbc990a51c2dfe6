// Integer types of the kernels.
//
// Exact widths (ap_int) are what is synthesized, and what C-simulation uses in its packed build: a value
// that did not fit its width would show as a mismatch. With QVIT_FUNCTIONAL every type is the native
// integer that holds it, which changes nothing but speed.
#pragma once

#include <ap_int.h>
#include <hls_stream.h>

#include <cstdint>

namespace qvit {

#if defined(QVIT_FUNCTIONAL)
namespace native {
template <int BYTES> struct holder;
template <> struct holder<1> { typedef int8_t sint; typedef uint8_t uint; };
template <> struct holder<2> { typedef int16_t sint; typedef uint16_t uint; };
template <> struct holder<4> { typedef int32_t sint; typedef uint32_t uint; };
template <> struct holder<8> { typedef int64_t sint; typedef uint64_t uint; };
constexpr int bytes(int width) { return width <= 8 ? 1 : width <= 16 ? 2 : width <= 32 ? 4 : 8; }
}  // namespace native
template <int WIDTH> using sint = typename native::holder<native::bytes(WIDTH)>::sint;
template <int WIDTH> using uint = typename native::holder<native::bytes(WIDTH)>::uint;
#else
template <int WIDTH> using sint = ap_int<WIDTH>;
template <int WIDTH> using uint = ap_uint<WIDTH>;
#endif

typedef sint<4> atom_t;     // a 4-bit weight, or one digit of an 8-bit one
typedef sint<8> code_t;     // activation codes, attention exponents
typedef sint<16> wide_t;    // residual stream, scores, logits
typedef ap_uint<128> word_t;  // a word of a memory port

// Exact product of a W_A-bit and a W_B-bit signed number.
template <int W_A, int W_B> inline sint<W_A + W_B> multiply(sint<W_A> a, sint<W_B> b) {
#pragma HLS INLINE
#if defined(QVIT_FUNCTIONAL)
    return static_cast<sint<W_A + W_B>>(static_cast<int64_t>(a) * static_cast<int64_t>(b));
#else
    return a * b;
#endif
}

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
constexpr int maximum(int a, int b) { return a > b ? a : b; }
constexpr int minimum(int a, int b) { return a < b ? a : b; }
constexpr int gcd(int a, int b) {
    while (b != 0) {
        const int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}
// Bits of an unsigned number up to n.
constexpr int bits_of(long long n) {
    int bits = 0;
    while (n >> bits != 0) ++bits;
    return bits;
}

}  // namespace qvit
