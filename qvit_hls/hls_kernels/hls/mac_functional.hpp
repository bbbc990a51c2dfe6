// The MAC tile as plain native arithmetic, for fast C-simulation. Same meaning as mac_packed.hpp.
#pragma once

#include "types.hpp"

namespace qvit {

// acc[m][n] (+)= sum over k of weight[m][k] * x[k][n]; `first` starts a new sum.
template <class C>
inline void mac_tile(const atom_t *weight, const code_t (&x)[C::T_K][C::T_N],
                     typename C::acc_t (&acc)[C::T_M][C::T_N], int atoms, bool first) {
    // 32 products of 8 * 127 still fit 16 bits.
    static_assert(C::T_K <= 32, "partial sums are 16 bits wide");
    int16_t operand[C::T_K][C::T_N];
    for (int k = 0; k < C::T_K; ++k)
        for (int n = 0; n < C::T_N; ++n) operand[k][n] = x[k][n];
    for (int m = 0; m < atoms; ++m) {
        int16_t sum[C::T_N] = {};
        for (int k = 0; k < C::T_K; ++k) {
            const int16_t w = weight[m * C::T_K + k];
            for (int n = 0; n < C::T_N; ++n) sum[n] = static_cast<int16_t>(sum[n] + w * operand[k][n]);
        }
        if (first)
            for (int n = 0; n < C::T_N; ++n) acc[m][n] = sum[n];
        else
            for (int n = 0; n < C::T_N; ++n) acc[m][n] += sum[n];
    }
}

}  // namespace qvit
