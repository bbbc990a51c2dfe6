// The MAC tile as hardware does it: several 4-bit x A-bit products in one DSP48E2 (27 x 18-bit multiplier,
// 48-bit cascade), and LUT lanes beside them.
//
// Two rows by two tokens (A <= 7): port A = (w1 << 22) + w0, port B = (x1 << 11) + x0; the product holds
// w0*x0, w0*x1, w1*x0, w1*x1 in fields of 11 bits. Three rows by one token (A = 8): port A = (w2 << 22) +
// (w1 << 11) + w0. Sums of CASCADE products stay within +-1023, so a field's value is its 11 bits read
// as signed plus the bit just below the field: that bit is 1 exactly when the fields below borrowed.
#pragma once

#include "types.hpp"

namespace qvit {

constexpr int FIELD = 11;

// The value of one field of a cascade's result.
template <int INDEX> inline ap_int<FIELD + 1> decode_field(const ap_int<48> &cascade) {
#pragma HLS INLINE
    const ap_int<FIELD> bits = cascade.range(FIELD * INDEX + FIELD - 1, FIELD * INDEX);
    const ap_uint<1> below = INDEX == 0 ? ap_uint<1>(0) : ap_uint<1>(cascade[FIELD * INDEX - (INDEX > 0 ? 1 : 0)]);
    return bits + below;
}

// Sums over T_K products of two rows by two tokens: {w0*x0, w0*x1, w1*x0, w1*x1}.
template <class C>
void dsp_two_by_two(const ap_int<4> (&w0)[C::T_K], const ap_int<4> (&w1)[C::T_K], const ap_int<C::A> (&x0)[C::T_K],
                    const ap_int<C::A> (&x1)[C::T_K], ap_int<16> (&sum)[4]) {
#pragma HLS INLINE off
#pragma HLS PIPELINE II=1
#pragma HLS ARRAY_PARTITION variable=w0 complete
#pragma HLS ARRAY_PARTITION variable=w1 complete
#pragma HLS ARRAY_PARTITION variable=x0 complete
#pragma HLS ARRAY_PARTITION variable=x1 complete
#pragma HLS ARRAY_PARTITION variable=sum complete
    for (int field = 0; field < 4; ++field) sum[field] = 0;
chain:
    for (int k0 = 0; k0 < C::T_K; k0 += C::CASCADE) {
#pragma HLS UNROLL
        ap_int<48> cascade = 0;
    link:
        for (int k = k0; k < k0 + C::CASCADE; ++k) {
#pragma HLS UNROLL
            const ap_int<27> port_a = (ap_int<27>(w1[k]) << (2 * FIELD)) + w0[k];
            const ap_int<18> port_b = (ap_int<18>(x1[k]) << FIELD) + x0[k];
            // Not bound to a DSP by pragma: that would keep the cascade's adder out of the slice.
            const ap_int<45> product = port_a * port_b;
            cascade += product;
        }
        sum[0] += decode_field<0>(cascade);
        sum[1] += decode_field<1>(cascade);
        sum[2] += decode_field<2>(cascade);
        sum[3] += decode_field<3>(cascade);
    }
}

// Sums over T_K products of three rows by one token: {w0*x, w1*x, w2*x}.
template <class C>
void dsp_three_by_one(const ap_int<4> (&w0)[C::T_K], const ap_int<4> (&w1)[C::T_K], const ap_int<4> (&w2)[C::T_K],
                      const ap_int<C::A> (&x)[C::T_K], ap_int<16> (&sum)[3]) {
#pragma HLS INLINE off
#pragma HLS PIPELINE II=1
#pragma HLS ARRAY_PARTITION variable=w0 complete
#pragma HLS ARRAY_PARTITION variable=w1 complete
#pragma HLS ARRAY_PARTITION variable=w2 complete
#pragma HLS ARRAY_PARTITION variable=x complete
#pragma HLS ARRAY_PARTITION variable=sum complete
    for (int field = 0; field < 3; ++field) sum[field] = 0;
product:
    for (int k = 0; k < C::T_K; ++k) {
#pragma HLS UNROLL
        const ap_int<27> port_a = (ap_int<27>(w2[k]) << (2 * FIELD)) + (ap_int<27>(w1[k]) << FIELD) + w0[k];
        const ap_int<18> port_b = x[k];
        const ap_int<45> product = port_a * port_b;
#pragma HLS BIND_OP variable=product op=mul impl=dsp
        const ap_int<48> result = product;
        sum[0] += decode_field<0>(result);
        sum[1] += decode_field<1>(result);
        sum[2] += decode_field<2>(result);
    }
}

// The sum over T_K products of one row by one token, with multipliers in fabric.
template <class C> ap_int<16> lut_lane(const ap_int<4> (&w)[C::T_K], const ap_int<C::A> (&x)[C::T_K]) {
#pragma HLS INLINE off
#pragma HLS PIPELINE II=1
#pragma HLS ARRAY_PARTITION variable=w complete
#pragma HLS ARRAY_PARTITION variable=x complete
    ap_int<16> sum = 0;
product:
    for (int k = 0; k < C::T_K; ++k) {
#pragma HLS UNROLL
        const ap_int<C::A + 4> product = w[k] * x[k];
#pragma HLS BIND_OP variable=product op=mul impl=fabric
        sum += product;
    }
    return sum;
}

// All products of the tile's DSP rows, for A <= 7 (PAIRED) or A = 8.
template <class C, bool PAIRED> struct DspRows;

template <class C> struct DspRows<C, true> {
    static void run(const ap_int<4> (&w)[C::T_M][C::T_K], const ap_int<C::A> (&x)[C::T_N][C::T_K],
                    ap_int<16> (&sum)[C::T_M][C::T_N]) {
#pragma HLS INLINE
    row_pair:
        for (int m = 0; m < C::DSP_ROWS; m += 2) {
#pragma HLS UNROLL
        token_pair:
            for (int n = 0; n < C::T_N; n += 2) {
#pragma HLS UNROLL
                ap_int<16> field[4];
                dsp_two_by_two<C>(w[m], w[m + 1], x[n], x[n + 1], field);
                sum[m][n] = field[0];
                sum[m][n + 1] = field[1];
                sum[m + 1][n] = field[2];
                sum[m + 1][n + 1] = field[3];
            }
        }
    }
};

template <class C> struct DspRows<C, false> {
    static void run(const ap_int<4> (&w)[C::T_M][C::T_K], const ap_int<C::A> (&x)[C::T_N][C::T_K],
                    ap_int<16> (&sum)[C::T_M][C::T_N]) {
#pragma HLS INLINE
    row_triple:
        for (int m = 0; m < C::DSP_ROWS; m += 3) {
#pragma HLS UNROLL
        token:
            for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
                ap_int<16> field[3];
                dsp_three_by_one<C>(w[m], w[m + 1], w[m + 2], x[n], field);
                sum[m][n] = field[0];
                sum[m + 1][n] = field[1];
                sum[m + 2][n] = field[2];
            }
        }
    }
};

// acc[m][n] (+)= sum over k of weight[m][k] * x[k][n]; `first` starts a new sum. Rows from `atoms` on
// hold old weights and yield sums that nothing reads.
template <class C>
void mac_tile(const atom_t *weight, const code_t (&x)[C::T_K][C::T_N], typename C::acc_t (&acc)[C::T_M][C::T_N],
              int /*atoms*/, bool first) {
#pragma HLS INLINE
    ap_int<4> w[C::T_M][C::T_K];
    ap_int<C::A> operand[C::T_N][C::T_K];
    ap_int<16> sum[C::T_M][C::T_N];
#pragma HLS ARRAY_PARTITION variable=w complete dim=0
#pragma HLS ARRAY_PARTITION variable=operand complete dim=0
#pragma HLS ARRAY_PARTITION variable=sum complete dim=0
operands:
    for (int k = 0; k < C::T_K; ++k) {
#pragma HLS UNROLL
        for (int m = 0; m < C::T_M; ++m) w[m][k] = weight[m * C::T_K + k];
        for (int n = 0; n < C::T_N; ++n) operand[n][k] = x[k][n];
    }
    DspRows<C, (C::A <= 7)>::run(w, operand, sum);
lut_row:
    for (int m = C::DSP_ROWS; m < C::T_M; ++m) {
#pragma HLS UNROLL
    lut_token:
        for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
            sum[m][n] = lut_lane<C>(w[m], operand[n]);
        }
    }
accumulate:
    for (int m = 0; m < C::T_M; ++m) {
#pragma HLS UNROLL
        for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
            acc[m][n] = (first ? typename C::acc_t(0) : acc[m][n]) + sum[m][n];
        }
    }
}

}  // namespace qvit
