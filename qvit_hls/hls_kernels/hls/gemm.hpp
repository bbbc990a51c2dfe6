// The GEMM engine: T_N tokens by T_M atom rows, T_K products deep per cycle, output-stationary.
//
// One loop at an initiation interval of 1 does three things in every iteration: it loads a part of the next
// row tile's digits, multiplies one step of the current tile, and writes a part of the previous tile's
// results. A slot is one (row tile, token tile); it lasts as long as the longest of the three needs. The
// number of iterations is in the descriptor (hw/gemm_timing.py computes it from the same rules).
#pragma once

#include "gemm_drain.hpp"
#include "gemm_load.hpp"

#if defined(QVIT_FUNCTIONAL)
#include "mac_functional.hpp"
#else
#include "mac_packed.hpp"
#endif

namespace qvit {

// One (row tile, token tile), and how many iterations a part of the work on it takes.
struct Slot {
    RowTile tile;
    int tile_index;
    int token_tile;
    int steps;
};

template <class C>
void gemm(const Descriptor &d, hls::stream<word_t> (&stream)[C::PORTS], Memories<C> &memory) {
#pragma HLS INLINE off
    static WeightBuffer<C> buffer;
    static TilePlan plan[C::MAX_ROW_TILES + 1];
    static typename C::acc_t acc[C::T_M][C::T_N];
    static typename C::acc_t sum[C::T_M][C::T_N];
#pragma HLS ARRAY_PARTITION variable=buffer.digit complete dim=3
#pragma HLS ARRAY_PARTITION variable=buffer.row complete dim=2
#pragma HLS ARRAY_PARTITION variable=acc complete dim=0
#pragma HLS ARRAY_PARTITION variable=sum complete dim=0

    const int token_tiles = static_cast<int>((d.tokens + C::T_N - 1) / C::T_N);
    const int tiles = row_tiles<C>(d);
    const int k_steps = static_cast<int>(d.k_steps);

    // Tiles are planned beforehand, so that the loop below only looks them up. After the last one comes an
    // empty one.
plan_tiles:
    for (int i = 0; i <= tiles; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=2 max=256
#pragma HLS PIPELINE II=1
        plan[i] = plan_tile<C>(d, i);
        if (i == tiles) plan[i].load_cycles = 0;
    }

    // Before the first slot: nothing to multiply or write, and the whole first tile to load.
    LoadState load = start_load(plan[0], 0);
    Slot multiplying = {plan[0].tile, -1, token_tiles - 1, 0};
    Slot draining = {plan[0].tile, -1, 0, 0};
    int step = 0, length = plan[0].load_cycles;
    int drain_group = 0, drain_word = 0;

iteration:
    for (uint32_t i = 0; i < d.steps; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=64 max=65536
#pragma HLS PIPELINE II=1
// A layer never reads what it writes, and a half of the weight buffer is never loaded while it is used.
#pragma HLS DEPENDENCE variable=memory.activation type=inter dependent=false
#pragma HLS DEPENDENCE variable=memory.digit type=inter dependent=false
#pragma HLS DEPENDENCE variable=memory.wide type=inter dependent=false
#pragma HLS DEPENDENCE variable=buffer.digit type=inter dependent=false
#pragma HLS DEPENDENCE variable=buffer.row type=inter dependent=false
        if (step < draining.steps) {
            if (d.destination == TO_ACTIVATION_TRANSPOSED) {
                drain_transposed<C>(d, draining.tile, draining.token_tile, drain_group, drain_word,
                                    buffer.row[draining.tile_index & 3], sum, memory);
                if (++drain_word == C::T_N / C::T_K) {
                    drain_word = 0;
                    ++drain_group;
                }
            } else {
                drain_row<C>(d, draining.tile, draining.token_tile, step, buffer.row[draining.tile_index & 3], sum,
                             memory);
            }
        }
        if (step < multiplying.steps) {
            code_t x[C::T_K][C::T_N];
#pragma HLS ARRAY_PARTITION variable=x complete dim=0
            const int address = static_cast<int>(d.x_base) +
                                multiplying.token_tile * static_cast<int>(d.x_stride) + step * C::T_K;
        operand_channel:
            for (int kk = 0; kk < C::T_K; ++kk) {
#pragma HLS UNROLL
            operand_lane:
                for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
                    // Lanes without a token hold old data that might not fit A bits.
                    const bool valid = multiplying.token_tile * C::T_N + n < static_cast<int>(d.tokens);
                    x[kk][n] = valid ? memory.activation[address / C::T_K][kk][n] : code_t(0);
                }
            }
            mac_tile<C>(buffer.digit[multiplying.tile_index & 1][step], x, acc, multiplying.tile.atoms, step == 0);
        }
        if (load.cycle < load.plan.load_cycles) {
            if (d.digit_source == DIGITS_STREAM)
                load_from_stream<C>(stream, buffer, load);
            else
                load_from_memory<C>(d, memory.digit, buffer, load);
            ++load.cycle;
        }

        if (++step == length) {  // next slot
        hand_over:
            for (int m = 0; m < C::T_M; ++m) {
#pragma HLS UNROLL
                for (int n = 0; n < C::T_N; ++n) {
#pragma HLS UNROLL
                    sum[m][n] = acc[m][n];
                }
            }
            draining = multiplying;
            draining.steps = multiplying.tile_index < 0 ? 0 : plan[multiplying.tile_index].drain_cycles;
            if (++multiplying.token_tile == token_tiles) {
                multiplying.token_tile = 0;
                ++multiplying.tile_index;
                multiplying.tile = load.plan.tile;
                multiplying.steps = multiplying.tile_index < tiles ? k_steps : 0;
                load = start_load(plan[multiplying.tile_index < tiles ? multiplying.tile_index + 1 : tiles],
                                  multiplying.tile_index + 1);
            }
            step = 0;
            drain_group = 0;
            drain_word = 0;
            length = multiplying.steps > draining.steps ? multiplying.steps : draining.steps;
            const int unloaded = load.plan.load_cycles - load.cycle;
            if (multiplying.token_tile == token_tiles - 1 && unloaded > length) length = unloaded;
        }
    }
    if (is_scores(d)) memory.score_bank = static_cast<uint<1>>(memory.score_bank ^ 1);
    if (d.scaling == SCALING_RECIPROCAL) memory.context_bank = static_cast<uint<1>>(memory.context_bank ^ 1);
}

}  // namespace qvit
