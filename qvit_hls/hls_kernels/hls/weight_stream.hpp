// The weight stream: everything that a frame needs from external memory, in the order of its use.
// Word i of the stream lies behind port i % PORTS; one word of every port together is a beat.
#pragma once

#include "types.hpp"

namespace qvit {

// The 16 signed bytes of a word, lowest first.
inline void unpack_bytes(const word_t &word, sint<8> byte[16]) {
#pragma HLS INLINE
    const uint64_t half[2] = {word.range(63, 0).to_uint64(), word.range(127, 64).to_uint64()};
unpack_byte:
    for (int i = 0; i < 16; ++i) {
#pragma HLS UNROLL
        byte[i] = static_cast<int8_t>(half[i / 8] >> (8 * (i % 8)));
    }
}

// The 32 signed 4-bit atoms of a word, lowest first.
inline void unpack_atoms(const word_t &word, atom_t atom[32]) {
#pragma HLS INLINE
    const uint64_t half[2] = {word.range(63, 0).to_uint64(), word.range(127, 64).to_uint64()};
unpack_atom:
    for (int i = 0; i < 32; ++i) {
#pragma HLS UNROLL
        const int8_t nibble = static_cast<int8_t>((half[i / 16] >> (4 * (i % 16))) & 15);
        atom[i] = static_cast<int8_t>((nibble ^ 8) - 8);
    }
}

// Fill every copy of the table from the stream.
template <class C, int COPIES, int SIZE>
void load_table(hls::stream<word_t> (&stream)[C::PORTS], uint32_t entries, code_t (&table)[COPIES][SIZE]) {
#pragma HLS INLINE off
    constexpr int PER_BEAT = 16 * C::PORTS;
table_beat:
    for (uint32_t first = 0; first < entries; first += PER_BEAT) {
#pragma HLS LOOP_TRIPCOUNT min=4 max=64
    table_port:
        for (int p = 0; p < C::PORTS; ++p) {
            sint<8> byte[16];
#pragma HLS ARRAY_PARTITION variable=byte complete
            unpack_bytes(stream[p].read(), byte);
        table_entry:
            for (int i = 0; i < 16; ++i) {
#pragma HLS PIPELINE II=1
                const uint32_t entry = first + p * 16 + i;
            table_copy:
                for (int n = 0; n < COPIES; ++n) {
#pragma HLS UNROLL
                    if (entry < SIZE) table[n][entry] = byte[i];
                }
            }
        }
    }
}

}  // namespace qvit
