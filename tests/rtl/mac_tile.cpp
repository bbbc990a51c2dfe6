// One MAC tile against plain products: every sum of every slot, and when it comes.
//
// Modes, which say where a block's operands (the rows and tokens that share DSP slices) come from:
//
//   random    drawn from all values
//   corners   drawn from -8, -7, -1, 0, 1, 7 and -q, -1, 0, 1, q
//   narrow    drawn from all values and -2**(A-1), which the tile does not take
//   same      every combination of corners, the same for all k
//   chain     every combination of corners over all links of a cascade
//   extremes  the same with -8, 7 and -q, q only
//   pairs     every combination of all values
//
// Enumerations end by themselves. Their combinations go round all blocks whose rows and tokens are free and all
// positions along k; what is not enumerated is drawn. Slots have random lengths, and bubbles lie between steps.
// Prints "steps slots dsp_products lut_products combinations wrong_sums wrong_times".
#include <algorithm>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

#include "mac_bench.h"

namespace {

using Values = std::vector<int>;

Values range(int low, int high) {
    Values values;
    for (int v = low; v <= high; ++v) values.push_back(v);
    return values;
}

// The operands of the steps.
class Operands {
  public:
    Operands(int bits, int depth, const char *mode, int64_t seed) : depth_(depth), random_(seed) {
        const auto is = [&](const char *name) { return std::strcmp(mode, name) == 0; };
        const int q = (1 << (bits - 1)) - 1;
        rows_ = bits == 8 ? 3 : 2;
        tokens_ = bits == 8 ? 1 : 2;
        weights_ = {-8, -7, -1, 0, 1, 7};
        activations_ = {-q, -1, 0, 1, q};
        if (is("random") || is("pairs")) weights_ = range(-8, 7), activations_ = range(-q, q);
        if (is("narrow")) weights_ = range(-8, 7), activations_ = range(-q - 1, q);
        if (is("extremes")) weights_ = {-8, 7}, activations_ = {-q, q};
        same_ = is("same");
        if (is("chain") || is("extremes")) links_ = std::min(cascade_links(bits), depth);
        if (same_ || is("pairs") || is("chain") || is("extremes")) {
            combinations_ = 1;
            for (int i = 0; i < links_ * rows_; ++i) combinations_ *= weights_.size();
            for (int i = 0; i < links_ * tokens_; ++i) combinations_ *= activations_.size();
        }
    }

    uint64_t combinations() const { return combinations_; }
    bool exhausted() const { return next_ >= combinations_; }
    uint64_t draw() { return random_(); }

    void draw_step(Bench &bench) {
        for (int m = 0; m < T_M; ++m)
            for (int k = 0; k < depth_; ++k) bench.weight[m][k] = weights_[random_() % weights_.size()];
        for (int n = 0; n < T_N; ++n)
            for (int k = 0; k < depth_; ++k)
                bench.activation[n][k] = activations_[random_() % activations_.size()];
    }

    // Blocks on the tile's diagonal share neither rows nor tokens.
    void enumerate_step(Bench &bench) {
        for (int block = 0; block < std::min(T_M / rows_, T_N / tokens_); ++block)
            for (int k = 0; k < (same_ ? 1 : depth_); k += links_) place(bench, block, k);
    }

  private:
    void place(Bench &bench, int block, int first_k) {
        uint64_t combination = next_++ % combinations_;
        const auto take = [&](const Values &values) {
            const int value = values[combination % values.size()];
            combination /= values.size();
            return value;
        };
        for (int link = 0; link < links_; ++link) {
            const int from = first_k + link, to = same_ ? depth_ : from + 1;
            for (int m = 0; m < rows_; ++m) {
                const int w = take(weights_);
                for (int k = from; k < to; ++k) bench.weight[block * rows_ + m][k] = w;
            }
            for (int n = 0; n < tokens_; ++n) {
                const int x = take(activations_);
                for (int k = from; k < to; ++k) bench.activation[block * tokens_ + n][k] = x;
            }
        }
    }

    int depth_, rows_, tokens_, links_ = 1;
    bool same_;
    Values weights_, activations_;
    uint64_t combinations_ = 0, next_ = 0;
    std::mt19937_64 random_;
};

struct Slot {
    int64_t due = 0;  // the cycle of its sums
    int sums[T_M][T_N] = {};
};

}  // namespace

int run_tile(Bench &bench, int bits, int form, const char *mode, int64_t cycles, int64_t seed) {
    bench.width = bits;
    bench.form = form;
    bench.rst = 1;
    bench.valid = bench.first = bench.last = 0;
    const auto edge = [&] {
        bench.clk = 0;
        bench.eval();
        bench.clk = 1;
        bench.eval();
    };
    for (int i = 0; i < 4; ++i) edge();
    bench.rst = 0;

    const int depth = bench.depth, latency = bench.latency;
    Operands operands(bits, depth, mode, seed);
    const bool enumerate = operands.combinations() > 0;
    std::deque<Slot> under_way;
    Slot slot;
    bool open = false;
    int64_t steps = 0, slots = 0, wrong_sums = 0, wrong_times = 0;
    int flush = 2 * latency + 16;  // long enough for the last slot to end and to come out
    for (int64_t cycle = 0; flush > 0; ++cycle) {
        const bool done = enumerate ? operands.exhausted() : cycle >= cycles;
        flush -= done;
        const bool valid = (!done || open) && operands.draw() % 5 != 0;
        const bool first = valid ? !open : operands.draw() % 2;
        const bool last = valid ? done || operands.draw() % 4 == 0 : operands.draw() % 2;
        operands.draw_step(bench);
        if (valid && enumerate && !done) operands.enumerate_step(bench);
        if (valid) {
            if (first) slot = Slot();
            for (int m = 0; m < T_M; ++m)
                for (int n = 0; n < T_N; ++n)
                    for (int k = 0; k < depth; ++k)
                        slot.sums[m][n] += static_cast<int8_t>(bench.weight[m][k]) *
                                           static_cast<int8_t>(bench.activation[n][k]);
            ++steps;
            open = !last;
            if (last) {
                slot.due = cycle + latency;
                under_way.push_back(slot);
                ++slots;
            }
        }
        bench.valid = valid;
        bench.first = first;
        bench.last = last;
        edge();
        // What is visible now is the next cycle's.
        const bool due = !under_way.empty() && under_way.front().due == cycle + 1;
        wrong_times += due != static_cast<bool>(bench.sums_valid);
        if (!due) continue;
        for (int m = 0; m < T_M; ++m)
            for (int n = 0; n < T_N; ++n)
                wrong_sums += under_way.front().sums[m][n] != static_cast<int>(bench.sums[m][n]);
        under_way.pop_front();
    }
    wrong_times += under_way.size() + open;
    const int64_t products = steps * T_N * depth;
    std::printf("%lld %lld %lld %lld %llu %lld %lld\n", static_cast<long long>(steps),
                static_cast<long long>(slots), static_cast<long long>(products * DSP_ROWS),
                static_cast<long long>(products * (T_M - DSP_ROWS)),
                static_cast<unsigned long long>(operands.combinations()), static_cast<long long>(wrong_sums),
                static_cast<long long>(wrong_times));
    return 0;
}
