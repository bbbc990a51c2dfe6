// Requantization, reciprocal and integer square root: the arithmetic contract (docs/ir.md).
#pragma once

#include "types.hpp"

namespace qvit {

constexpr int MULTIPLIER_BITS = 17;  // 16 for a row's multiplier, one more for a reciprocal's
constexpr int SHIFT_BITS = 6;
constexpr int MAX_SHIFT = 50;

// multiplier / 2**shift
struct Scaling {
    uint<MULTIPLIER_BITS> multiplier;
    uint<SHIFT_BITS> shift;
};

// clamp((value * multiplier + 2**(shift-1)) >> shift, qmax): rounds half up. 1 <= shift <= MAX_SHIFT.
template <int WIDTH> inline wide_t requantize(sint<WIDTH> value, Scaling scaling, wide_t qmax) {
#pragma HLS INLINE
    constexpr int PRODUCT = WIDTH + MULTIPLIER_BITS + 1;
    constexpr int SUM = maximum(PRODUCT + 1, MAX_SHIFT + 2);
    static_assert(SUM <= 64, "a requantized value has at most 45 bits");
    const sint<SUM> product =
        multiply<WIDTH, MULTIPLIER_BITS + 1>(value, static_cast<sint<MULTIPLIER_BITS + 1>>(scaling.multiplier));
    const sint<SUM> half = static_cast<sint<SUM>>(1) << static_cast<int>(scaling.shift - 1);
    const sint<SUM> rounded = (product + half) >> static_cast<int>(scaling.shift);
    const sint<SUM> limit = qmax;
    return static_cast<wide_t>(rounded > limit ? limit : rounded < -limit ? static_cast<sint<SUM>>(-limit) : rounded);
}

// multiplier / 2**exponent / denominator as a Scaling: ((multiplier << z) / denominator, exponent + z),
// z the bit length of the denominator, which is at least 1.
template <int WIDTH> inline Scaling reciprocal(uint<WIDTH> denominator, uint<16> multiplier, uint<SHIFT_BITS> exponent) {
#pragma HLS INLINE
#if !defined(__SYNTHESIS__)
    // Only a fault elsewhere makes it 0. Hardware would go on, and so does C-simulation, to locate that fault.
    if (denominator == 0) denominator = 1;
#endif
    int length = 0;
bit_length:
    for (int i = 0; i < WIDTH; ++i) {
#pragma HLS UNROLL
        if ((denominator >> i) & 1) length = i + 1;
    }
    const uint<WIDTH + 16> numerator = static_cast<uint<WIDTH + 16>>(multiplier) << length;
    Scaling scaling;
    scaling.multiplier = static_cast<uint<MULTIPLIER_BITS>>(numerator / denominator);
    scaling.shift = static_cast<uint<SHIFT_BITS>>(exponent + length);
    return scaling;
}

// floor(sqrt(value)), one result bit per step.
template <int WIDTH> inline uint<WIDTH / 2> integer_square_root(uint<WIDTH> value) {
#pragma HLS INLINE
    static_assert(WIDTH % 2 == 0, "two bits of the value per bit of the root");
    uint<WIDTH + 2> rest = 0;
    uint<WIDTH / 2 + 2> root = 0;
root_bit:
    for (int i = WIDTH / 2 - 1; i >= 0; --i) {
#pragma HLS UNROLL
        const uint<WIDTH> pair = (value >> (2 * i)) & 3;
        rest = (rest << 2) + pair;
        const uint<WIDTH / 2 + 2> trial = (root << 2) + 1;
        root <<= 1;
        if (rest >= trial) {
            rest -= trial;
            root += 1;
        }
    }
    return static_cast<uint<WIDTH / 2>>(root);
}

}  // namespace qvit
