// The leaf modules of the MAC tile in both forms, and cascades, against plain arithmetic.
#include <random>

#include "mac_bench.h"

namespace {

constexpr uint32_t INVERT_A[8] = {0, 0b1000, 0, 0, 0, 0, 0, 0};
constexpr uint32_t INVERT_B[8] = {0, 0, 0b1100, 0, 0, 0, 0, 0};
constexpr uint32_t INVERT_C[8] = {0, 0, 0, 0b0110, ~0u << 7, ~0u << 7, ~0u << 7, ~0u << 7};

struct Tally {
    int64_t tried = 0, wrong = 0;
    void operator()(bool right) {
        ++tried;
        wrong += !right;
    }
};

void check_adders(Bench &bench, int from, int to, Tally &tally) {
    bench.eval();
    for (int i = from; i < to; ++i) {
        const uint32_t mask = (uint64_t{1} << bench.adder_width[i]) - 1;
        const uint32_t plain = ((bench.clear ? 0 : bench.a ^ INVERT_A[i]) + (bench.b ^ INVERT_B[i]) +
                                (bench.c ^ INVERT_C[i]) + (bench.carry & 1) + (bench.carry >> 1)) & mask;
        for (int form = 0; form < 2; ++form) tally(static_cast<uint32_t>(bench.adder_sum[i][form]) == plain);
    }
}

}  // namespace

// Prints "tried wrong".
int run_leaves(Bench &bench) {
    Tally tally;
    // Every input of the adders of four bits.
    for (uint32_t inputs = 0; inputs < 1u << 15; ++inputs) {
        bench.a = inputs & 15;
        bench.b = inputs >> 4 & 15;
        bench.c = inputs >> 8 & 15;
        bench.carry = inputs >> 12 & 3;
        bench.clear = inputs >> 14 & 1;
        check_adders(bench, 0, 4, tally);
    }
    // The wider ones: random inputs, and long runs of carries.
    std::mt19937 random(5);
    for (int i = 0; i < 100'000; ++i) {
        bench.a = random();
        bench.b = i % 4 == 0 ? ~bench.a : random();
        bench.c = i % 8 == 0 ? (i % 16 == 0 ? 0 : ~0u) : random();
        bench.carry = random() % 4;
        bench.clear = random() % 4 == 0;
        check_adders(bench, 4, 8, tally);
    }
    // Every product.
    for (int w = -8; w < 8; ++w) {
        for (int x = -127; x < 128; ++x) {
            bench.weight[0][0] = w;
            bench.a = x;
            bench.eval();
            const int rest = w >> 1 & 1;  // the low digit's carry, which the product leaves out
            for (int bits = 4; bits <= 8; ++bits) {
                if (x < -((1 << (bits - 1)) - 1) || x >= 1 << (bits - 1)) continue;
                for (int form = 0; form < 2; ++form)
                    tally(static_cast<int>(bench.product[bits - 4][form]) == w * x - rest);
            }
        }
    }
    std::printf("%lld %lld\n", static_cast<long long>(tally.tried), static_cast<long long>(tally.wrong));
    return 0;
}

// Every combination of corner operands, the same in every link. Prints "combinations wrong".
int run_cascade(Bench &bench, int bits, int longer, int links) {
    const int q = (1 << (bits - 1)) - 1;
    const int weights[] = {-8, -7, -1, 0, 1, 7}, activations[] = {-q, -1, 0, 1, q};
    int64_t tried = 0, wrong = 0;
    for (int w0 : weights)
        for (int w1 : weights)
            for (int x0 : activations)
                for (int x1 : activations) {
                    for (int i = 0; i < links; ++i) {
                        bench.weight[0][i] = w0;
                        bench.weight[1][i] = w1;
                        bench.activation[0][i] = x0;
                        bench.activation[1][i] = x1;
                    }
                    for (int cycle = 0; cycle < links + 4; ++cycle) {
                        bench.cascade_clk = 0;
                        bench.eval();
                        bench.cascade_clk = 1;
                        bench.eval();
                    }
                    const int plain[4] = {w0 * x0, w0 * x1, w1 * x0, w1 * x1};
                    bool right = true;
                    for (int i = 0; i < 4; ++i)
                        right &= static_cast<int>(bench.field[bits - 4][longer][i]) == links * plain[i];
                    ++tried;
                    wrong += !right;
                }
    std::printf("%lld %lld\n", static_cast<long long>(tried), static_cast<long long>(wrong));
    return 0;
}
