// Runs the softmax on modelled memories, cycle by cycle as the input says. What it must not use is random: data of a
// cycle in which it may not read, scores and maxima of a token tile that is not ready yet.
//
// Input, runs one after the other:
//   int32 cycles, channels per lane, token tiles, table entries; descriptor uint32[32]
//   wide int16[channels][T_N], digit int8[channels][T_N], maximum int16[tiles][T_N], table bytes[entries]
//   of each cycle from that of `start` on: advance uint8[cycles], tiles ready int16[cycles]
// Output: of each cycle done uint8[cycles], keys written uint8[cycles], normalizers written uint8[cycles];
//   digit as above; normalizers int32[4096], -1 where none was written
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "Vvector_softmax.h"

namespace {

constexpr size_t READ_LATENCY = 2;
constexpr size_t X_BASE = 10, X_STRIDE = 11;  // words of a descriptor

struct Header {
    int32_t cycles, channels, tiles, table_entries;
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
        top.reset(new Vvector_softmax(context.get()));
        top->rst = 1;
        top->start = top->table_write = 0;
        for (int i = 0; i < 4; ++i) edge();
        top->rst = 0;
    }

    void run(const Header &header) {
        const size_t channels = static_cast<size_t>(header.channels), cycles = static_cast<size_t>(header.cycles);
        const std::vector<int16_t> wide = read<int16_t>(channels * T_N);
        std::vector<int8_t> digit = read<int8_t>(channels * T_N);
        const std::vector<int16_t> maximum = read<int16_t>(static_cast<size_t>(header.tiles) * T_N);
        const std::vector<uint8_t> table = read<uint8_t>(static_cast<size_t>(header.table_entries));
        const std::vector<uint8_t> advance = read<uint8_t>(cycles);
        const std::vector<int16_t> ready = read<int16_t>(cycles);
        std::vector<uint8_t> done(cycles), keys(cycles), normalizers(cycles);
        std::vector<int32_t> normalizer(4096, -1);
        const size_t base = header.descriptor[X_BASE], stride = header.descriptor[X_STRIDE];

        top->table_write = 1;
        for (size_t i = 0; i < table.size(); ++i) {
            top->table_entry = static_cast<uint8_t>(i);
            top->table_data = table[i];
            edge();
        }
        top->table_write = 0;
        std::memcpy(&top->d, header.descriptor, sizeof header.descriptor);

        for (size_t cycle = 0; cycle < cycles; ++cycle) {
            top->start = cycle == 0;
            top->advance = advance[cycle];
            top->tiles_ready = static_cast<uint16_t>(ready[cycle]);
            std::memcpy(&top->wide_data, values[READ_LATENCY - 1], sizeof values[0]);
            top->clk = 0;
            top->eval();
            int16_t largest[T_N];
            for (size_t n = 0; n < T_N; ++n) {
                const size_t tile = top->maximum_tile;
                const bool known = static_cast<int>(tile) < ready[cycle] && tile * T_N + n < maximum.size();
                largest[n] = known ? maximum[tile * T_N + n] : noise();
            }
            std::memcpy(&top->maximum, largest, sizeof largest);
            top->eval();

            std::memcpy(values[1], values[0], sizeof values[0]);
            for (size_t i = 0; i < KEYS; ++i) {
                // Bank i has the channels whose remainder is i.
                const size_t channel = top->wide_address / KEYS * KEYS + i;
                const bool known = cycle > 0 && advance[cycle] && channel < channels && channel >= base &&
                                   static_cast<int>((channel - base) / stride) < ready[cycle];
                for (size_t n = 0; n < T_N; ++n) values[0][i][n] = known ? wide[channel * T_N + n] : noise();
                const size_t target = top->write_address / KEYS * KEYS + i;
                if ((top->write_enable >> i & 1) && target < channels)
                    std::memcpy(&digit[target * T_N], reinterpret_cast<const int8_t *>(&top->write_data) + i * T_N, T_N);
            }
            keys[cycle] = static_cast<uint8_t>(top->write_enable);
            done[cycle] = top->done;
            normalizers[cycle] = top->normalizer_write;
            if (top->normalizer_write) normalizer[top->normalizer_token] = static_cast<int32_t>(top->normalizer);
            top->clk = 1;
            top->eval();
        }
        write(done);
        write(keys);
        write(normalizers);
        write(digit);
        write(normalizer);
    }

private:
    std::unique_ptr<VerilatedContext> context;
    std::unique_ptr<Vvector_softmax> top;
    int16_t values[READ_LATENCY][KEYS][T_N] = {};  // read one cycle ago, two cycles ago
    uint32_t random = 1;

    int16_t noise() {
        random = random * 1664525u + 1013904223u;
        return static_cast<int16_t>(random >> 16);
    }

    void edge() {
        top->clk = 0;
        top->eval();
        top->clk = 1;
        top->eval();
    }
};

}  // namespace

int main() {
    Bench bench;
    Header header;
    while (std::fread(&header, sizeof header, 1, stdin) == 1) bench.run(header);
    return 0;
}
