// Successive means of neighbouring tokens, channel by channel, within the wide memory: result j is the mean of the
// d.tokens tokens from d.first_token + j on, and becomes token d.patch + j of its tensor. Means of one token move
// tokens from tensor to tensor.
#pragma once

#include "gemm_drain.hpp"

namespace qvit {

// Where a token lies: a lane, and the address of channel 0 of its token tile.
struct TokenPlace {
    int lane;
    int address;
};

template <class C> inline TokenPlace token_place(uint32_t token, uint32_t base, uint32_t stride) {
#pragma HLS INLINE
    const int index = static_cast<int>(token);
    const TokenPlace place = {index % C::T_N, static_cast<int>(base) + index / C::T_N * static_cast<int>(stride)};
    return place;
}

// The place of the token after this one.
template <class C> inline TokenPlace following(const TokenPlace &place, uint32_t stride) {
#pragma HLS INLINE
    const bool last = place.lane + 1 == C::T_N;
    const TokenPlace next = {last ? 0 : place.lane + 1, last ? place.address + static_cast<int>(stride) : place.address};
    return next;
}

template <class C> void mean_tokens(const Descriptor &d, Memories<C> &memory) {
#pragma HLS INLINE off
    constexpr int SUM_BITS = 16 + bits_of(C::MAX_TOKENS);
    const Scaling scaling = {static_cast<uint<MULTIPLIER_BITS>>(d.multiplier), static_cast<uint<SHIFT_BITS>>(d.shift)};
    TokenPlace x = token_place<C>(d.first_token, d.x_base, d.x_stride);
    TokenPlace y = token_place<C>(d.patch, d.y_base, d.y_stride);
result:
    for (int j = 0; j < static_cast<int>(d.rows); ++j) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=256
        const int end = x.lane + static_cast<int>(d.tokens);  // of the window, from lane 0 of its first token tile
    channel:
        for (int c = 0; c < static_cast<int>(d.k); ++c) {
#pragma HLS LOOP_TRIPCOUNT min=64 max=1024
            sint<SUM_BITS> sum = 0;
        token_tile:
            for (int tile = 0; tile * C::T_N < end; ++tile) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=16
#pragma HLS PIPELINE II=1
                for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
                    const int place = tile * C::T_N + n;
                    const bool valid = place >= x.lane && place < end;
                    sum += valid ? memory.wide[x.address + tile * static_cast<int>(d.x_stride) + c][n] : wide_t(0);
                }
            }
            const wide_t mean = requantize<SUM_BITS>(sum, scaling, static_cast<wide_t>(d.qmax));
            for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
                if (n == y.lane) memory.wide[y.address + c][n] = mean;
            }
        }
        x = following<C>(x, d.x_stride);
        y = following<C>(y, d.y_stride);
    }
}

}  // namespace qvit
