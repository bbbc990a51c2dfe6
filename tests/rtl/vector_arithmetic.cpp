// Input: a selector, a count, and per operand (value, multiplier, shift, qmax), all int64; one enters per cycle, with
// bubbles for the units that have a valid. Output: int64 results in the order of the operands.
//
// Selectors 0..4 are requantize of 14, 24, 27, 32 bits and round_shift of 42: no valid, so results are what comes
// LATENCY cycles later. 10..14 are the reciprocals, 20..23 the square roots: multiplier and shift are those of
// the first operand.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <vector>

#include "Vvector_arithmetic.h"

namespace {

constexpr int REQUANTIZE_LATENCY = 4, ROUND_LATENCY = 2;

int64_t output(const Vvector_arithmetic &top, int64_t selector) {
    switch (selector) {
    case 0: return static_cast<int16_t>(top.requantized_14);
    case 1: return static_cast<int16_t>(top.requantized_24);
    case 2: return static_cast<int16_t>(top.requantized_27);
    case 3: return static_cast<int16_t>(top.requantized_32);
    case 4: return static_cast<int8_t>(top.rounded_42);
    case 10: return top.reciprocal_2;
    case 11: return top.reciprocal_10;
    case 12: return top.reciprocal_15;
    case 13: return top.reciprocal_24;
    case 14: return top.reciprocal_28;
    case 20: return top.root_8;
    case 21: return top.root_16;
    case 22: return top.root_48;
    default: return top.root_56;
    }
}

bool output_valid(const Vvector_arithmetic &top, int64_t selector) {
    return selector >= 20 ? top.root_valid >> (selector - 20) & 1 : top.reciprocal_valid >> (selector - 10) & 1;
}

void clock(Vvector_arithmetic &top) {
    top.clk = 0;
    top.eval();
    top.clk = 1;
    top.eval();
}

}  // namespace

int main() {
    auto context = std::make_unique<VerilatedContext>();
    context->randReset(2);
    context->randSeed(7);
    auto top = std::make_unique<Vvector_arithmetic>(context.get());
    top->rst = 1;
    for (int i = 0; i < 4; ++i) clock(*top);
    top->rst = 0;
    int64_t header[2];
    while (std::fread(header, sizeof header, 1, stdin) == 1) {
        const int64_t selector = header[0];
        const size_t count = static_cast<size_t>(header[1]);
        const bool has_valid = selector >= 10;
        const size_t latency = selector == 4 ? ROUND_LATENCY : REQUANTIZE_LATENCY;
        std::vector<int64_t> operand(4 * count), result;
        if (std::fread(operand.data(), 32, count, stdin) != count) return 1;
        uint32_t random = 1;
        size_t next = 0;
        for (size_t cycle = 0; result.size() < count; ++cycle) {
            if (cycle > 2 * count + 1000) return 2;
            random = random * 1664525u + 1013904223u;
            const bool enters = next < count && !(has_valid && random >> 29 == 0);
            top->valid = enters && has_valid;
            if (enters) {
                const int64_t *o = &operand[4 * next++];
                const int64_t *constant = has_valid ? operand.data() : o;
                top->value = static_cast<uint64_t>(o[0]);
                top->multiplier = static_cast<uint32_t>(constant[1]);
                top->shift = static_cast<uint8_t>(constant[2]);
                top->qmax = static_cast<uint16_t>(o[3]);
            }
            clock(*top);
            if (has_valid ? output_valid(*top, selector) : cycle + 1 >= latency)
                result.push_back(output(*top, selector));
        }
        std::fwrite(result.data(), sizeof(int64_t), count, stdout);
    }
    return 0;
}
