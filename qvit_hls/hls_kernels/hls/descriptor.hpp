// A layer descriptor: 32 words of 32 bits that tell the engine what to do. The generator's
// hw/descriptor.py lists the same words in the same order and says what each means.
#pragma once

#include "types.hpp"

namespace qvit {

enum Unit { LOAD_IMAGE, LOAD_RESIDUAL, GEMM, LAYER_NORM, SOFTMAX, MEAN_TOKENS, STORE_RESULT };
enum Memory { MEMORY_ACTIVATION, MEMORY_DIGIT, MEMORY_WIDE, MEMORY_NONE };
enum DigitSource { DIGITS_STREAM, DIGITS_MEMORY };
enum Destination { TO_ACTIVATION, TO_ACTIVATION_TRANSPOSED, TO_DIGIT, TO_WIDE, TO_WIDE_ADD, TO_SCORES,
                   TO_SCORES_ADD };
enum ScalingSource { SCALING_PER_ROW, SCALING_CONSTANT, SCALING_RECIPROCAL };

constexpr int DESCRIPTOR_WORDS = 32;

struct Descriptor {
    uint32_t unit;
    uint32_t steps;
    uint32_t trace_memory;
    uint32_t trace_base;
    uint32_t trace_stride;
    uint32_t trace_tokens;
    uint32_t trace_channels;
    uint32_t tokens;
    uint32_t k;
    uint32_t k_steps;
    uint32_t x_base;
    uint32_t x_stride;
    uint32_t rows;
    uint32_t rows8;
    uint32_t digit_source;
    uint32_t digit_base;
    uint32_t digit_stride;
    uint32_t destination;
    uint32_t y_base;
    uint32_t y_stride;
    uint32_t first_token;
    uint32_t scaling;
    uint32_t multiplier;
    uint32_t shift;
    uint32_t qmax;
    uint32_t table_entries;
    uint32_t epsilon_low;
    uint32_t epsilon_high;
    uint32_t patch;
    uint32_t height;
    uint32_t width;
    uint32_t after;
};

// The next record of the program.
inline Descriptor read_descriptor(hls::stream<uint32_t> &program) {
    uint32_t word[DESCRIPTOR_WORDS];
#pragma HLS ARRAY_PARTITION variable=word complete
read_word:
    for (int i = 0; i < DESCRIPTOR_WORDS; ++i) {
#pragma HLS PIPELINE II=1
        word[i] = program.read();
    }
    const Descriptor d = {word[0],  word[1],  word[2],  word[3],  word[4],  word[5],  word[6],  word[7],
                          word[8],  word[9],  word[10], word[11], word[12], word[13], word[14], word[15],
                          word[16], word[17], word[18], word[19], word[20], word[21], word[22], word[23],
                          word[24], word[25], word[26], word[27], word[28], word[29], word[30], word[31]};
    return d;
}

}  // namespace qvit
