// LayerNorm, scaled by a power of two for each channel: wide memory to activation memory, T_N tokens at a time.
// With SCALING_CONSTANT the values pass as they are, only requantized: a sum of 0, one channel, a deviation of 1.
#pragma once

#include "gemm_drain.hpp"

namespace qvit {

template <class C>
void layer_norm(const Descriptor &d, hls::stream<word_t> (&stream)[C::PORTS], Memories<C> &memory) {
#pragma HLS INLINE off
    constexpr int CHANNEL_BITS = bits_of(C::MAX_CHANNELS);
    constexpr int SUM_BITS = 16 + CHANNEL_BITS;
    constexpr int ROOT_BITS = 16 + CHANNEL_BITS;  // of N * sigma, epsilon included
    const int channels = static_cast<int>(d.k);
    const bool shifts = C::HAS_NORM_SHIFTS && d.table_entries != 0;
    const bool passes = C::HAS_STREAM_OPERANDS && d.scaling == SCALING_CONSTANT;
    const int weight = passes ? 1 : channels;  // of a value, against the sum
    const uint<2 * ROOT_BITS> epsilon = (static_cast<uint64_t>(d.epsilon_high) << 32) | d.epsilon_low;
    sint<SUM_BITS> sum[C::T_N];
    uint<SUM_BITS + 16> squares[C::T_N];
    Scaling scaling[C::T_N];
#pragma HLS ARRAY_PARTITION variable=sum complete
#pragma HLS ARRAY_PARTITION variable=squares complete
#pragma HLS ARRAY_PARTITION variable=scaling complete
    if (shifts) load_table<C>(stream, d.table_entries, memory.norm_shift);
token_tile:
    for (int tile = 0; tile * C::T_N < static_cast<int>(d.tokens); ++tile) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=16
        const int source = static_cast<int>(d.x_base) + tile * static_cast<int>(d.x_stride);
        const int result = static_cast<int>(d.y_base) + tile * static_cast<int>(d.y_stride);
        for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
            sum[n] = 0;
            squares[n] = 0;
        }
    moments:
        for (int c = 0; c < (passes ? 0 : channels); ++c) {
#pragma HLS LOOP_TRIPCOUNT min=0 max=1024
#pragma HLS PIPELINE II=1
            for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
                const wide_t x = memory.wide[source + c][n];
                sum[n] = sum[n] + x;
                squares[n] = squares[n] + static_cast<uint<SUM_BITS + 16>>(multiply<16, 16>(x, x));
            }
        }
    deviation:
        for (int n = 0; n < C::T_N; ++n) {
#pragma HLS PIPELINE II=1
            const uint<2 * ROOT_BITS> total_squares = static_cast<uint<2 * ROOT_BITS>>(squares[n]) * weight;
            const uint<2 * ROOT_BITS> squared_sum =
                static_cast<uint<2 * ROOT_BITS>>(multiply<SUM_BITS, SUM_BITS>(sum[n], sum[n]));
            const uint<2 * ROOT_BITS> variance = total_squares - squared_sum + epsilon;
            scaling[n] = reciprocal<ROOT_BITS>(integer_square_root<2 * ROOT_BITS>(variance),
                                               static_cast<uint<16>>(d.multiplier),
                                               static_cast<uint<SHIFT_BITS>>(d.shift));
        }
    normalize:
        for (int c = 0; c < channels; ++c) {
#pragma HLS LOOP_TRIPCOUNT min=64 max=1024
#pragma HLS PIPELINE II=1
            const int shift = shifts ? static_cast<int>(memory.norm_shift[0][c]) & 7 : 0;
            for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
                const Scaling channel_scaling = {scaling[n].multiplier,
                                                 static_cast<uint<SHIFT_BITS>>(scaling[n].shift + shift)};
                const sint<SUM_BITS + 1> centred =
                    static_cast<sint<SUM_BITS + 1>>(static_cast<sint<SUM_BITS + 1>>(memory.wide[source + c][n]) * weight - sum[n]);
                memory.activation[(result + c) / C::T_K][(result + c) % C::T_K][n] = static_cast<code_t>(
                    requantize<SUM_BITS + 1>(centred, channel_scaling, static_cast<wide_t>(d.qmax)));
            }
        }
    }
}

}  // namespace qvit
