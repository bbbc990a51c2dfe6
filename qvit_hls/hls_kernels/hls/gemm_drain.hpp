// GEMM, last part: recombining digits, bias, requantization, table, and writing the results of one tile
// while the next one is multiplied.
#pragma once

#include "gemm_load.hpp"

#if !defined(__SYNTHESIS__)
#include <cassert>
#endif

namespace qvit {

// Everything on chip that holds tensors. Value (token t, channel c) of a tensor is in lane t % T_N at address
// base + t / T_N * stride + c. Bases and strides are whole words of T_K channels, so that a step of the MAC
// tile reads one word of every lane; word and channel in it are separate indices, which makes the banks plain
// to see.
template <class C> struct Memories {
    code_t activation[C::ACTIVATION_DEPTH / C::T_K][C::T_K][C::T_N];
    code_t digit[C::DIGIT_DEPTH / C::T_K][C::T_K][C::T_N];
    wide_t wide[C::WIDE_DEPTH][C::T_N];
    // Of the attention scores; attention's layers take these two banks and those of the normalisers in turn.
    wide_t row_maximum[2][C::TOKEN_TILES][C::T_N];
    // Deferred softmax normalisation of each query; a copy for every row that is written at once.
    Scaling normalizer[C::DRAIN_GROUP][2][C::MAX_TOKENS];
    uint<1> score_bank, softmax_bank, context_bank;
    code_t table[C::T_N][C::TABLE_SIZE];    // elementwise function, a copy for every lane
    code_t exponent[C::T_N][C::EXPONENTS];  // of the softmax, by distance from the maximum
    code_t norm_shift[1][C::HAS_NORM_SHIFTS ? C::MAX_CHANNELS : 1];  // of LayerNorm's channels, for all lanes
};

// Row parameters from wherever this layer takes them. `row` counts from the tile's first row; `copy` is the
// row's place among those that are written at once.
template <class C>
inline RowParameters row_parameters(const Descriptor &d, const RowTile &tile, int row, int copy,
                                    const RowParameters (&streamed)[C::T_M], const Memories<C> &memory) {
#pragma HLS INLINE
    const int index = tile.first_row + row;
    RowParameters result = streamed[row];
    if (d.scaling != SCALING_PER_ROW) {
        result.bias = 0;
        result.channel = static_cast<uint<12>>(index);
        if (d.scaling == SCALING_CONSTANT) {
            result.scaling.multiplier = static_cast<uint<MULTIPLIER_BITS>>(d.multiplier);
            result.scaling.shift = static_cast<uint<SHIFT_BITS>>(d.shift);
        } else {
            result.scaling = memory.normalizer[copy][memory.context_bank][index < C::MAX_TOKENS ? index : 0];
        }
    }
    return result;
}

// The requantized result of one row for one lane.
template <class C>
inline wide_t finish_value(const Descriptor &d, const RowTile &tile, int row, int lane, const RowParameters &parameters,
                           const typename C::acc_t (&sum)[C::T_M][C::T_N]) {
#pragma HLS INLINE
    typedef typename C::acc_t acc_t;
    const bool two_digits = row < tile.rows8;
    const int atom = two_digits ? 2 * row : tile.rows8 + row;
    const acc_t first = sum[atom][lane];
    const acc_t second = sum[two_digits ? atom + 1 : atom][lane];
    const acc_t total = (two_digits ? static_cast<acc_t>(16 * first + second) : first) + parameters.bias;
#if !defined(__SYNTHESIS__)
    // The generator has proven this bound for every valid lane; lanes without a token are zero plus bias.
    assert(static_cast<long long>(total) < (1LL << (C::ACCUMULATOR_BITS - 1)) &&
           static_cast<long long>(total) >= -(1LL << (C::ACCUMULATOR_BITS - 1)));
#endif
    return requantize<C::ACCUMULATOR_BITS>(total, parameters.scaling, static_cast<wide_t>(d.qmax));
}

// Write row `row` of the tile for all lanes of a token tile. One cycle.
template <class C>
inline void drain_row(const Descriptor &d, const RowTile &tile, int token_tile, int row,
                      const RowParameters (&streamed)[C::T_M], const typename C::acc_t (&sum)[C::T_M][C::T_N],
                      Memories<C> &memory) {
#pragma HLS INLINE
    const RowParameters parameters = row_parameters<C>(d, tile, row, 0, streamed, memory);
    const int channel = static_cast<int>(parameters.channel);
    const int address = static_cast<int>(d.y_base) + token_tile * static_cast<int>(d.y_stride) + channel;
    const bool first_score = tile.first_row + row == 0;
    const wide_t qmax = static_cast<wide_t>(d.qmax);
lane:
    for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
        const int token = token_tile * C::T_N + n;
        if (token < static_cast<int>(d.first_token) || token >= static_cast<int>(d.tokens)) continue;
        wide_t value = finish_value<C>(d, tile, row, n, parameters, sum);
        if (C::TABLE_BITS > 0 && d.table_entries != 0) value = memory.table[n][static_cast<int>(value + qmax)];
        if (d.destination == TO_ACTIVATION) {
            memory.activation[address / C::T_K][address % C::T_K][n] = static_cast<code_t>(value);
        } else if (d.destination == TO_DIGIT) {
            memory.digit[address / C::T_K][address % C::T_K][n] = static_cast<code_t>(value);
        } else if (d.destination == TO_WIDE_ADD) {
            const sint<17> added = static_cast<sint<17>>(memory.wide[address][n] + value);
            memory.wide[address][n] = static_cast<wide_t>(added > qmax ? static_cast<sint<17>>(qmax)
                                                          : added < -qmax ? static_cast<sint<17>>(-qmax)
                                                                          : added);
        } else {
            memory.wide[address][n] = value;
            if (C::HAS_SOFTMAX && d.destination == TO_SCORES) {
                const wide_t before = memory.row_maximum[memory.score_bank][token_tile][n];
                memory.row_maximum[memory.score_bank][token_tile][n] = first_score || value > before ? value : before;
            }
        }
    }
}

// Write a group of rows for T_K lanes, transposed: rows become tokens and lanes channels; no table here. One cycle; the
// rows of a group go to different lanes.
template <class C>
inline void drain_transposed(const Descriptor &d, const RowTile &tile, int token_tile, int group, int word,
                             const RowParameters (&streamed)[C::T_M],
                             const typename C::acc_t (&sum)[C::T_M][C::T_N], Memories<C> &memory) {
#pragma HLS INLINE
    code_t value[C::DRAIN_GROUP][C::T_K];
    int lane_of[C::DRAIN_GROUP];
    int address_of[C::DRAIN_GROUP];
#pragma HLS ARRAY_PARTITION variable=value complete dim=0
#pragma HLS ARRAY_PARTITION variable=lane_of complete
#pragma HLS ARRAY_PARTITION variable=address_of complete
    const int first_token = token_tile * C::T_N + word * C::T_K;
row:
    for (int j = 0; j < C::DRAIN_GROUP; ++j) {
#pragma HLS UNROLL
        const int row = group * C::DRAIN_GROUP + j;
        const bool valid = row < tile.rows;
        const RowParameters parameters = row_parameters<C>(d, tile, valid ? row : 0, j, streamed, memory);
        const int result_token = static_cast<int>(parameters.channel);
        lane_of[j] = valid ? result_token % C::T_N : -1;
        address_of[j] = static_cast<int>(d.y_base) + result_token / C::T_N * static_cast<int>(d.y_stride);
    token:
        for (int kk = 0; kk < C::T_K; ++kk) {
#pragma HLS UNROLL
            value[j][kk] =
                static_cast<code_t>(finish_value<C>(d, tile, valid ? row : 0, word * C::T_K + kk, parameters, sum));
        }
    }
lane:
    for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
    writer:
        for (int j = 0; j < C::DRAIN_GROUP; ++j) {
#pragma HLS UNROLL
            if (lane_of[j] != n) continue;
        channel:
            for (int kk = 0; kk < C::T_K; ++kk) {
#pragma HLS UNROLL
                if (first_token + kk < static_cast<int>(d.tokens))
                    memory.activation[(address_of[j] + first_token) / C::T_K][kk][n] = value[j][kk];
            }
        }
    }
}

}  // namespace qvit
