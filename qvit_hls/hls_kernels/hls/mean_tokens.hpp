// Mean over all tokens, channel by channel, within the wide memory; the result is token 0 of its tensor.
#pragma once

#include "gemm_drain.hpp"

namespace qvit {

template <class C> void mean_tokens(const Descriptor &d, Memories<C> &memory) {
#pragma HLS INLINE off
    constexpr int SUM_BITS = 16 + bits_of(C::MAX_TOKENS);
    const Scaling scaling = {static_cast<uint<MULTIPLIER_BITS>>(d.multiplier), static_cast<uint<SHIFT_BITS>>(d.shift)};
    const int tiles = static_cast<int>((d.tokens + C::T_N - 1) / C::T_N);
channel:
    for (int c = 0; c < static_cast<int>(d.k); ++c) {
#pragma HLS LOOP_TRIPCOUNT min=64 max=1024
        sint<SUM_BITS> sum = 0;
    token_tile:
        for (int tile = 0; tile < tiles; ++tile) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=16
#pragma HLS PIPELINE II=1
            for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
                const bool valid = tile * C::T_N + n < static_cast<int>(d.tokens);
                sum += valid ? memory.wide[d.x_base + tile * d.x_stride + c][n] : wide_t(0);
            }
        }
        memory.wide[d.y_base + c][0] = requantize<SUM_BITS>(sum, scaling, static_cast<wide_t>(d.qmax));
    }
}

}  // namespace qvit
