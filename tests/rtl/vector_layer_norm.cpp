// Plays scripts of what surrounds the LayerNorm: when it starts and may step, and what the drain adds meanwhile.
//
// Input, cases one after the other, int32 words unless said otherwise:
//   channels per lane of the memories, cycles, cycle of `start`, groups, descriptor[32]
//   wide int16[channels][T_N], activation int8[channels][T_N]
//   advance uint8[cycles], tiles ready uint16[cycles]; after the script, it advances and nothing changes
//   the table of shifts uint8[table_entries of the descriptor], written before the first cycle
//   groups, each: cycle, tile, first | start << 1 | end << 2, address[CHANNELS] (-1: does not exist)
//   their values int16[groups][CHANNELS][T_N]
// Output: cycle of `done` (-1: never), writes, writes after the end, writes of steps that were not allowed, wrong
//   announcements of a write, wrong counts of tiles, groups added while the unit is in the middle of a pass;
//   activation as above
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "Vvector_layer_norm.h"

namespace {

constexpr int READ_LATENCY = 2, WRITE_LATENCY = 9, AFTER = 40, PATIENCE = 20000;

struct Header {
    int32_t channels, cycles, start, groups;
    uint32_t descriptor[32];
};

struct Group {
    int32_t cycle, tile, flags, address[CHANNELS];
};

using Values = int16_t[CHANNELS][T_N];

template <class T> std::vector<T> read(size_t count) {
    std::vector<T> data(count);
    if (count != 0 && std::fread(data.data(), sizeof(T), count, stdin) != count) std::exit(1);
    return data;
}

class Bench {
public:
    Bench() : context(new VerilatedContext) {
        context->randReset(2);
        context->randSeed(11);
        top.reset(new Vvector_layer_norm(context.get()));
        top->rst = 1;
        top->start = top->advance = top->added_valid = top->shift_write = 0;
        for (int i = 0; i < 12; ++i) edge();
        top->rst = 0;
    }

    void run(const Header &header) {
        const auto script = static_cast<size_t>(header.cycles);
        const auto channels = static_cast<size_t>(header.channels);
        std::vector<int16_t> wide = read<int16_t>(channels * T_N);
        std::vector<int8_t> activation = read<int8_t>(channels * T_N);
        const std::vector<uint8_t> advance = read<uint8_t>(script);
        const std::vector<uint16_t> ready = read<uint16_t>(script);
        load_shifts(read<uint8_t>(header.descriptor[25]));
        const std::vector<Group> groups = read<Group>(static_cast<size_t>(header.groups));
        const std::vector<int16_t> values = read<int16_t>(groups.size() * CHANNELS * T_N);
        std::memcpy(&top->d, header.descriptor, sizeof header.descriptor);
        const auto per_tile = static_cast<int32_t>(header.descriptor[8]);  // d.k
        const uint32_t x_base = header.descriptor[10], x_stride = header.descriptor[11];

        // What the memory answers: the values of a step from a tile that is ready, else noise.
        std::deque<std::vector<int16_t>> answers(READ_LATENCY, noise());
        std::deque<bool> allowed(WRITE_LATENCY, false);
        int32_t done = -1, writes = 0, late = 0, forbidden = 0, announced = 0, counts = 0, inside = 0;
        bool soon = false;
        size_t next = 0;
        for (int32_t cycle = 0; done < 0 ? cycle < header.cycles + PATIENCE : cycle <= done + AFTER; ++cycle) {
            const size_t at = std::min<size_t>(static_cast<size_t>(cycle), script - 1);
            top->start = cycle == header.start;
            top->advance = static_cast<size_t>(cycle) < script ? advance[at] : 1;
            top->tiles_ready = ready[at];
            std::memcpy(&top->wide_data, answers.front().data(), sizeof(Values));
            const bool adds = next < groups.size() && groups[next].cycle == cycle;
            const Group &group = groups.empty() ? none : groups[std::min(next, groups.size() - 1)];
            top->added_valid = adds;
            std::memcpy(&top->added, adds ? &values[next * CHANNELS * T_N] : noise().data(), sizeof(Values));
            top->added_tile = static_cast<uint16_t>(adds ? group.tile : random() % 4);
            const uint32_t flags = adds ? static_cast<uint32_t>(group.flags) : random();
            top->added_first = flags & 1;
            top->added_start = flags >> 1 & 1;
            top->added_end = flags >> 2 & 1;
            top->added_exists = static_cast<uint8_t>(adds ? exists(group) : random());
            top->clk = 0;
            top->eval();

            if (soon != (top->write_enable != 0)) ++announced;
            soon = top->write_soon;
            if (top->write_enable != 0 && !allowed.front()) ++forbidden;
            if (cycle >= header.start && top->tiles_done != writes / per_tile) ++counts;
            if (adds && writes % per_tile != 0) ++inside;
            answers.pop_front();
            const bool readable = top->advance && (top->wide_address - x_base) / x_stride < top->tiles_ready;
            answers.push_back(readable ? column(wide, top->wide_address) : noise());
            allowed.pop_front();
            allowed.push_back(top->advance);
            for (size_t c = 0; c < CHANNELS; ++c)
                if (top->write_enable >> c & 1) {
                    const size_t address = top->write_address + c;
                    ++writes;
                    if (done >= 0 || cycle < header.start) ++late;
                    if (address < channels) std::memcpy(&activation[address * T_N], data(c), T_N);
                }
            if (adds) {
                for (size_t c = 0; c < CHANNELS; ++c)
                    if (group.address[c] >= 0)
                        std::memcpy(&wide[static_cast<size_t>(group.address[c]) * T_N],
                                    &values[(next * CHANNELS + c) * T_N], 2 * T_N);
                ++next;
            }
            if (top->done && (done >= 0 || cycle < header.start)) ++late;
            if (top->done && done < 0) done = cycle;
            top->clk = 1;
            top->eval();
        }
        const int32_t summary[] = {done, writes, late, forbidden, announced, counts, inside};
        std::fwrite(summary, sizeof summary, 1, stdout);
        std::fwrite(activation.data(), 1, activation.size(), stdout);
    }

private:
    std::unique_ptr<VerilatedContext> context;
    std::unique_ptr<Vvector_layer_norm> top;
    uint32_t state = 1;
    const Group none{};

    void edge() {
        top->clk = 0;
        top->eval();
        top->clk = 1;
        top->eval();
    }

    void load_shifts(const std::vector<uint8_t> &shifts) {
        top->added_valid = top->start = 0;
        for (size_t entry = 0; entry < shifts.size(); ++entry) {
            top->shift_write = 1;
            top->shift_entry = static_cast<uint16_t>(entry);
            top->shift_data = shifts[entry];
            edge();
        }
        top->shift_write = 0;
        top->shift_entry = static_cast<uint16_t>(random());
        top->shift_data = static_cast<uint8_t>(random());
    }

    uint32_t random() {
        state = state * 1664525u + 1013904223u;
        return state >> 16;
    }

    std::vector<int16_t> noise() {
        std::vector<int16_t> result(CHANNELS * T_N);
        for (int16_t &value : result) value = static_cast<int16_t>(random());
        return result;
    }

    // CHANNELS channels of the memory; noise behind its end.
    std::vector<int16_t> column(const std::vector<int16_t> &memory, size_t channel) {
        std::vector<int16_t> result = noise();
        for (size_t i = 0; i < result.size(); ++i)
            if (channel * T_N + i < memory.size()) result[i] = memory[channel * T_N + i];
        return result;
    }

    static uint32_t exists(const Group &group) {
        uint32_t result = 0;
        for (size_t c = 0; c < CHANNELS; ++c) result |= static_cast<uint32_t>(group.address[c] >= 0) << c;
        return result;
    }

    const uint8_t *data(size_t c) const { return reinterpret_cast<const uint8_t *>(&top->write_data) + c * T_N; }
};

}  // namespace

int main() {
    Bench bench;
    Header header;
    while (std::fread(&header, sizeof header, 1, stdin) == 1) bench.run(header);
    return 0;
}
