// Runs vector units on modelled memories: whatever any unit writes at any time is done and shows in the output.
//
// Input, cases one after the other, int32 words unless said otherwise:
//   unit (0 mean, 1 image, 2 result, 3 trace), stall (streams pause with stall/256), seed, limit of cycles,
//   channels per lane, image words, descriptor[32]
//   wide int16[channels][T_N], activation int8[channels][T_N], digit likewise, image bytes[16 * words]
// Output: cycles from start to done (-1: limit reached), writes, writes after done, breaches of valid/ready, image
//   words taken, values streamed; wide, activation, digit as above; streamed int16[values]
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "Vvector_units.h"

namespace {

constexpr int READ_LATENCY = 2, READERS = 3, IMAGE = 1, TRACE = 3, AFTER = 40;

struct Header {
    int32_t unit, stall, seed, limit, channels, image_words;
    uint32_t descriptor[32];
};

template <class T> std::vector<T> read(size_t count) {
    std::vector<T> data(count);
    if (count != 0 && std::fread(data.data(), sizeof(T), count, stdin) != count) std::exit(1);
    return data;
}

template <class T> void write(const std::vector<T> &data) { std::fwrite(data.data(), sizeof(T), data.size(), stdout); }

class Bench {
public:
    Bench() : context(new VerilatedContext) {
        context->randReset(2);
        context->randSeed(11);
        top.reset(new Vvector_units(context.get()));
        top->rst = 1;
        top->start = top->image_valid = top->result_ready = top->trace_ready = 0;
        for (int i = 0; i < 4; ++i) edge();
        top->rst = 0;
    }

    void run(const Header &header) {
        const size_t cells = static_cast<size_t>(header.channels) * T_N;
        wide = read<int16_t>(cells);
        activation = read<int8_t>(cells);
        digit = read<int8_t>(cells);
        image = read<uint8_t>(16 * static_cast<size_t>(header.image_words));
        streamed.clear();
        writes = late_writes = breaches = words_taken = 0;
        random = static_cast<uint32_t>(header.seed);
        std::memcpy(&top->d, header.descriptor, sizeof header.descriptor);

        int32_t cycles = -1, left = header.limit;
        top->start = 1u << header.unit;
        // The cycle of `start` is cycle 0.
        for (int32_t cycle = 0; left > 0; ++cycle, --left) {
            const uint32_t done = step(header, cycles >= 0);
            top->start = 0;
            if (done != 0 && (cycles >= 0 || done != 1u << header.unit)) ++late_writes;
            if (done != 0 && cycles < 0) {
                cycles = cycle;
                left = AFTER;
            }
        }
        const int32_t summary[] = {cycles,      writes, late_writes, breaches,
                                   words_taken, static_cast<int32_t>(streamed.size())};
        std::fwrite(summary, sizeof summary, 1, stdout);
        write(wide);
        write(activation);
        write(digit);
        write(streamed);
    }

private:
    std::unique_ptr<VerilatedContext> context;
    std::unique_ptr<Vvector_units> top;
    std::vector<int16_t> wide, streamed;
    std::vector<int8_t> activation, digit;
    std::vector<uint8_t> image;
    uint32_t address_before[READ_LATENCY][READERS] = {};
    int32_t writes, late_writes, breaches, words_taken;
    uint32_t random;
    int held_result = -1, held_trace = -1;

    void edge() {
        top->clk = 0;
        top->eval();
        top->clk = 1;
        top->eval();
    }

    bool chance(int stall) {
        random = random * 1664525u + 1013904223u;
        return static_cast<int>(random >> 24) >= stall;
    }

    // One cycle; which units are done in it.
    uint32_t step(const Header &header, bool finished) {
        // A word that was offered stays until it is taken.
        if (!top->image_valid)
            top->image_valid = words_taken < header.image_words && header.unit == IMAGE && chance(header.stall);
        if (top->image_valid) std::memcpy(&top->image_data, &image[16 * static_cast<size_t>(words_taken)], 16);
        top->result_ready = chance(header.stall);
        top->trace_ready = chance(header.stall);

        // Of several units that read at once, the one that was started counts: the others' data is not used.
        const int reader = header.unit < IMAGE ? header.unit : header.unit - 1;
        const size_t channels = static_cast<size_t>(header.channels);
        const size_t channel = std::min<size_t>(address_before[READ_LATENCY - 1][reader], channels - 1);
        if (header.unit == TRACE) {
            int8_t word[2][T_N][T_K];
            for (size_t n = 0; n < T_N; ++n)
                for (size_t k = 0; k < T_K; ++k) {
                    word[0][n][k] = activation[std::min(channel / T_K * T_K + k, channels - 1) * T_N + n];
                    word[1][n][k] = digit[std::min(channel / T_K * T_K + k, channels - 1) * T_N + n];
                }
            std::memcpy(&top->activation_data, word[0], sizeof word[0]);
            std::memcpy(&top->digit_data, word[1], sizeof word[1]);
        }
        std::memcpy(&top->wide_data, &wide[channel * T_N], 2 * T_N);
        top->clk = 0;
        top->eval();

        check_stream(top->result_valid, top->result_ready, top->result_data, held_result);
        check_stream(top->trace_valid, top->trace_ready, top->trace_data, held_trace);
        if (top->mean_write) {
            count(finished);
            if (top->mean_address < channels && top->mean_lane < T_N)
                wide[top->mean_address * T_N + top->mean_lane] = static_cast<int16_t>(top->mean_data);
        }
        if (top->image_write) {
            count(finished);
            const uint8_t *pixels = reinterpret_cast<const uint8_t *>(&top->image_pixels);
            for (size_t i = 0; i < IMAGE_PIXELS; ++i)
                if (top->image_address + i < channels && top->image_lane < T_N)
                    activation[(top->image_address + i) * T_N + top->image_lane] = static_cast<int8_t>(pixels[i]);
        }
        if (top->image_ready && !finished && header.unit != IMAGE) ++breaches;
        const bool taken = top->image_valid && top->image_ready;
        const uint32_t done = top->done;
        for (int i = READ_LATENCY - 1; i > 0; --i)
            std::copy(address_before[i - 1], address_before[i - 1] + READERS, address_before[i]);
        for (int i = 0; i < READERS; ++i) address_before[0][i] = top->read_address[static_cast<size_t>(i)];
        top->clk = 1;
        top->eval();
        if (taken) {
            ++words_taken;
            top->image_valid = 0;
        }
        return done;
    }

    void count(bool finished) {
        ++writes;
        if (finished) ++late_writes;
    }

    // A value that was not taken must still be there, unchanged.
    void check_stream(bool valid, bool ready, uint16_t data, int &held) {
        if (held >= 0 && (!valid || data != held)) ++breaches;
        if (valid && ready) streamed.push_back(static_cast<int16_t>(data));
        held = valid && !ready ? data : -1;
    }
};

}  // namespace

int main() {
    Bench bench;
    Header header;
    while (std::fread(&header, sizeof header, 1, stdin) == 1) bench.run(header);
    return 0;
}
