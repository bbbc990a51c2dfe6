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

// Progress of a load; one call of load_step is one cycle.
struct LoadState {
    RowTile tile;
    int index;       // of the row tile: selects the buffer halves
    int cycles;      // that the load takes in all
    int cycle;       // done so far
    int row;         // next row of the tile whose parameters arrive, or whose digits are copied
    int step;        // step of T_K channels
    int beat;        // within the step
    int beats;       // of each step
};

template <class C> inline LoadState start_load(const Descriptor &d, int index) {
#pragma HLS INLINE
    LoadState state;
    state.tile = row_tile<C>(d, index);
    state.index = index;
    state.cycle = 0;
    state.row = 0;
    state.step = 0;
    state.beat = 0;
    state.beats = (state.tile.atoms + C::ROWS_PER_BEAT - 1) / C::ROWS_PER_BEAT;
    const int k_steps = static_cast<int>(d.k_steps);
    const int parameter_beats = (state.tile.rows + 2 * C::PORTS - 1) / (2 * C::PORTS);
    const int groups = (state.tile.rows + C::DIGIT_GROUP - 1) / C::DIGIT_GROUP;
    state.cycles = d.digit_source == DIGITS_STREAM ? parameter_beats + k_steps * state.beats : groups * k_steps;
    return state;
}

template <class C>
inline void load_from_stream(hls::stream<word_t> (&stream)[C::PORTS], WeightBuffer<C> &buffer, LoadState &state) {
#pragma HLS INLINE
    const int half = state.index & 1;
    const bool parameters = state.row < state.tile.rows;
port:
    for (int p = 0; p < C::PORTS; ++p) {
#pragma HLS UNROLL
        const word_t word = stream[p].read();
        if (parameters) {
            const uint64_t low = word.range(63, 0).to_uint64(), high = word.range(127, 64).to_uint64();
            const int row = state.row + 2 * p;
            if (row < C::T_M) buffer.row[state.index & 3][row] = unpack_row(low);
            if (row + 1 < C::T_M) buffer.row[state.index & 3][row + 1] = unpack_row(high);
        } else {
            atom_t atom[32];
#pragma HLS ARRAY_PARTITION variable=atom complete
            unpack_atoms(word, atom);
            const int first = (state.beat * C::PORTS + p) * 32;
        atom:
            for (int i = 0; i < 32; ++i) {
#pragma HLS UNROLL
                buffer.digit[half][state.step][first + i] = atom[i];
            }
        }
    }
    if (parameters) {
        state.row += 2 * C::PORTS;
    } else if (++state.beat == state.beats) {
        state.beat = 0;
        ++state.step;
    }
}

template <class C>
inline void load_from_memory(const Descriptor &d, const code_t (&digits)[C::DIGIT_DEPTH][C::T_N],
                             WeightBuffer<C> &buffer, LoadState &state) {
#pragma HLS INLINE
    const int half = state.index & 1;
    const int first_row = state.tile.first_row + state.row;
    const int lane0 = first_row % C::T_N;
    const int address = static_cast<int>(d.digit_base) + first_row / C::T_N * static_cast<int>(d.digit_stride);
row:
    for (int j = 0; j < C::DIGIT_GROUP; ++j) {
#pragma HLS UNROLL
    channel:
        for (int kk = 0; kk < C::T_K; ++kk) {
#pragma HLS UNROLL
            const int k = state.step * C::T_K + kk;
            const bool valid = state.row + j < state.tile.rows && k < static_cast<int>(d.k);
            const sint<8> value = valid ? digits[address + k][lane0 + j] : code_t(0);
            const sint<8> low = static_cast<sint<8>>(((value + 8) & 15) - 8);
            const sint<8> high = static_cast<sint<8>>((value - low) >> 4);
            const int row = state.row + j;
            if (d.rows8 != 0) {
                if (2 * row + 1 < C::T_M) {
                    buffer.digit[half][state.step][2 * row * C::T_K + kk] = static_cast<atom_t>(high);
                    buffer.digit[half][state.step][(2 * row + 1) * C::T_K + kk] = static_cast<atom_t>(low);
                }
            } else if (row < C::T_M) {
                buffer.digit[half][state.step][row * C::T_K + kk] = static_cast<atom_t>(value);
            }
        }
    }
    if (++state.step == static_cast<int>(d.k_steps)) {
        state.step = 0;
        state.row += C::DIGIT_GROUP;
    }
}

}  // namespace qvit
