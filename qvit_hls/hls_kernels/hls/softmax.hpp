// Softmax without its division: exponents by table go to the digit memory, and each query's reciprocal sum
// becomes the requantization of its context row (deferred normalisation). The row maximum was tracked
// while the scores were written, so the scores are read once.
#pragma once

#include "gemm_drain.hpp"

namespace qvit {

template <class C>
void softmax(const Descriptor &d, hls::stream<word_t> (&stream)[C::PORTS], Memories<C> &memory) {
#pragma HLS INLINE off
    constexpr int SUM_BITS = 8 + bits_of(C::MAX_TOKENS);
    const int keys = static_cast<int>(d.k);
    constexpr int LAST_ENTRY = C::EXPONENTS - 1;
    uint<SUM_BITS> sum[C::T_N];
#pragma HLS ARRAY_PARTITION variable=sum complete
    if (d.table_entries != 0) load_table<C>(stream, d.table_entries, memory.exponent);
token_tile:
    for (int tile = 0; tile * C::T_N < static_cast<int>(d.tokens); ++tile) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=16
        const int source = static_cast<int>(d.x_base) + tile * static_cast<int>(d.x_stride);
        const int result = static_cast<int>(d.y_base) + tile * static_cast<int>(d.y_stride);
    exponent:
        for (int key = 0; key < keys; ++key) {
#pragma HLS LOOP_TRIPCOUNT min=17 max=577
#pragma HLS PIPELINE II=1
            for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
                const sint<17> distance =
                    static_cast<sint<17>>(memory.row_maximum[memory.softmax_bank][tile][n] - memory.wide[source + key][n]);
                // Lanes without a token may hold anything; keep their index inside the table.
                const int entry = distance < 0 ? 0 : distance > LAST_ENTRY ? LAST_ENTRY : static_cast<int>(distance);
                const code_t exponent = memory.exponent[n][entry];
                memory.digit[(result + key) / C::T_K][(result + key) % C::T_K][n] = exponent;
                const uint<SUM_BITS> before = key == 0 ? uint<SUM_BITS>(0) : sum[n];
                sum[n] = before + static_cast<uint<SUM_BITS>>(exponent);
            }
        }
    normalizer:
        for (int n = 0; n < C::T_N; ++n) {
#pragma HLS PIPELINE II=1
            const int token = tile * C::T_N + n;
            const Scaling scaling = reciprocal<SUM_BITS>(sum[n], static_cast<uint<16>>(d.multiplier),
                                                         static_cast<uint<SHIFT_BITS>>(d.shift));
            for (int copy = 0; copy < C::DRAIN_GROUP; ++copy) {
#pragma HLS UNROLL
                if (token < static_cast<int>(d.tokens)) memory.normalizer[copy][memory.softmax_bank][token] = scaling;
            }
        }
    }
    memory.softmax_bank = static_cast<uint<1>>(memory.softmax_bank ^ 1);
}

}  // namespace qvit
