// GEMM, first part: filling one half of the weight buffer with the digits of a row tile, while the other
// half is in use. Digits come from the weight stream, or from the digit memory for attention products.
#pragma once

#include "descriptor.hpp"
#include "requantize.hpp"
#include "weight_stream.hpp"

namespace qvit {

// The rows of one tile: first rows8 of two digits, then the others of one. See hw/gemm_timing.py.
struct RowTile {
    int first_row;
    int rows8;
    int rows;
    int atoms;
};

template <class C> inline RowTile row_tile(const Descriptor &d, int index) {
#pragma HLS INLINE
    const int first_atom = index * C::T_M;
    const int rows8 = static_cast<int>(d.rows8);
    const int rows = static_cast<int>(d.rows);
    RowTile tile;
    tile.first_row = first_atom <= 2 * rows8 ? first_atom / 2 : first_atom - rows8;
    const int left8 = rows8 > tile.first_row ? rows8 - tile.first_row : 0;
    tile.rows8 = left8 < C::T_M / 2 ? left8 : C::T_M / 2;
    const int left4 = rows - tile.first_row - tile.rows8;
    const int room4 = C::T_M - 2 * tile.rows8;
    const int rows4 = left4 < 0 ? 0 : left4 < room4 ? left4 : room4;
    tile.rows = tile.rows8 + rows4;
    tile.atoms = 2 * tile.rows8 + rows4;
    return tile;
}

// Number of row tiles.
template <class C> inline int row_tiles(const Descriptor &d) {
#pragma HLS INLINE
    return static_cast<int>((d.rows + d.rows8 + C::T_M - 1) / C::T_M);
}

// What a row needs after its sum: 64 bits of the weight stream.
struct RowParameters {
    sint<30> bias;
    Scaling scaling;
    uint<12> channel;
};

inline RowParameters unpack_row(uint64_t bits) {
#pragma HLS INLINE
    RowParameters row;
    row.bias = static_cast<int32_t>(static_cast<uint32_t>(bits << 2)) >> 2;
    row.scaling.multiplier = static_cast<uint16_t>(bits >> 30);
    row.scaling.shift = static_cast<uint8_t>((bits >> 46) & 63);
    row.channel = static_cast<uint16_t>(bits >> 52);
    return row;
}

// Two halves of digits, one step of a tile in each word; parameters of the tile that is loaded, the one
// that is multiplied and the one that is written.
template <class C> struct WeightBuffer {
    atom_t digit[2][C::WEIGHT_DEPTH][C::T_M * C::T_K];
    RowParameters row[4][C::T_M];
};

// What the engine's loop needs to know of a row tile, worked out before it starts.
struct TilePlan {
    RowTile tile;
    int beats;         // of each step, when its digits are streamed
    int load_cycles;   // to fill half of the weight buffer
    int drain_cycles;  // to write the results of one token tile
};

template <class C> inline TilePlan plan_tile(const Descriptor &d, int index) {
#pragma HLS INLINE
    TilePlan plan;
    plan.tile = row_tile<C>(d, index);
    plan.beats = (plan.tile.atoms + C::ROWS_PER_BEAT - 1) / C::ROWS_PER_BEAT;
    const int k_steps = static_cast<int>(d.k_steps);
    const int parameter_beats = (plan.tile.rows + 2 * C::PORTS - 1) / (2 * C::PORTS);
    const int load_groups = (plan.tile.rows + C::DIGIT_GROUP - 1) / C::DIGIT_GROUP;
    const int drain_groups = (plan.tile.rows + C::DRAIN_GROUP - 1) / C::DRAIN_GROUP;
    plan.load_cycles = d.digit_source == DIGITS_STREAM ? parameter_beats + k_steps * plan.beats : load_groups * k_steps;
    plan.drain_cycles =
        d.destination == TO_ACTIVATION_TRANSPOSED ? drain_groups * (C::T_N / C::T_K) : plan.tile.rows;
    return plan;
}

// Progress of a load; one call of load_from_stream or load_from_memory is one cycle.
struct LoadState {
    TilePlan plan;
    int index;  // of the row tile: selects the buffer halves
    int cycle;  // done so far
    int row;    // next row of the tile whose parameters arrive, or whose digits are copied
    int step;   // step of T_K channels
    int beat;   // within the step
};

inline LoadState start_load(const TilePlan &plan, int index) {
#pragma HLS INLINE
    const LoadState state = {plan, index, 0, 0, 0, 0};
    return state;
}

template <class C>
inline void load_from_stream(hls::stream<word_t> (&stream)[C::PORTS], WeightBuffer<C> &buffer, LoadState &state) {
#pragma HLS INLINE
    const int half = state.index & 1;
    const bool parameters = state.row < state.plan.tile.rows;
    word_t word[C::PORTS];
#pragma HLS ARRAY_PARTITION variable=word complete
port:
    for (int p = 0; p < C::PORTS; ++p) {
#pragma HLS UNROLL
        word[p] = stream[p].read();
    }
    if (parameters) {
    row:
        for (int r = 0; r < C::T_M; ++r) {
#pragma HLS UNROLL
            const word_t &pair = word[r / 2 % C::PORTS];
            if (r / (2 * C::PORTS) == state.row / (2 * C::PORTS))
                buffer.row[state.index & 3][r] =
                    unpack_row(r % 2 == 0 ? pair.range(63, 0).to_uint64() : pair.range(127, 64).to_uint64());
        }
    } else {
        atom_t atom[C::PORTS][32];
#pragma HLS ARRAY_PARTITION variable=atom complete dim=0
        for (int p = 0; p < C::PORTS; ++p) {
#pragma HLS UNROLL
            unpack_atoms(word[p], atom[p]);
        }
    beat:
        for (int b = 0; b < C::BEATS_PER_STEP; ++b) {
#pragma HLS UNROLL
            if (b != state.beat) continue;
        atom:
            for (int i = 0; i < 32 * C::PORTS; ++i) {
#pragma HLS UNROLL
                const int place = b * 32 * C::PORTS + i;  // the last beat may hold more than the tile
                if (place < C::T_M * C::T_K) buffer.digit[half][state.step][place] = atom[i / 32][i % 32];
            }
        }
    }
    if (parameters) {
        state.row += 2 * C::PORTS;
    } else if (++state.beat == state.plan.beats) {
        state.beat = 0;
        ++state.step;
    }
}

template <class C>
inline void load_from_memory(const Descriptor &d, const code_t (&digits)[C::DIGIT_DEPTH / C::T_K][C::T_K][C::T_N],
                             WeightBuffer<C> &buffer, LoadState &state) {
#pragma HLS INLINE
    const int half = state.index & 1;
    const int first_row = state.plan.tile.first_row + state.row;
    const int lane0 = first_row % C::T_N;
    const int address = static_cast<int>(d.digit_base) + first_row / C::T_N * static_cast<int>(d.digit_stride);
    const int word = address / C::T_K + state.step;
    const bool two_digits = d.rows8 != 0;
row:
    for (int row = 0; row < C::T_M; ++row) {
#pragma HLS UNROLL
        if (row / C::DIGIT_GROUP != state.row / C::DIGIT_GROUP) continue;
    channel:
        for (int kk = 0; kk < C::T_K; ++kk) {
#pragma HLS UNROLL
            const bool valid = row < state.plan.tile.rows && state.step * C::T_K + kk < static_cast<int>(d.k);
            const sint<8> value = valid ? digits[word][kk][lane0 + row % C::DIGIT_GROUP] : code_t(0);
            const sint<8> low = static_cast<sint<8>>(((value + 8) & 15) - 8);
            const sint<8> high = static_cast<sint<8>>((value - low) >> 4);
            if (!two_digits) {
                buffer.digit[half][state.step][row * C::T_K + kk] = static_cast<atom_t>(value);
            } else if (row < C::T_M / 2) {
                buffer.digit[half][state.step][2 * row * C::T_K + kk] = static_cast<atom_t>(high);
                buffer.digit[half][state.step][(2 * row + 1) * C::T_K + kk] = static_cast<atom_t>(low);
            }
        }
    }
    if (++state.step == static_cast<int>(d.k_steps)) {
        state.step = 0;
        state.row += C::DIGIT_GROUP;
    }
}

}  // namespace qvit
