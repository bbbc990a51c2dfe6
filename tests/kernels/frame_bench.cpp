// Runs the bench of qvit_hls/verify/rtl without cocotb, whose start takes longer than a small graph's frames.
//
//   frame_bench +verilator+... number...   the bench's inputs in the order of INPUTS, words, seeds
//
// Prints what it ended with: the numbers of OUTPUTS, then the words that each stream took or gave.
#include "Vframe_bench.h"

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <vector>

int main(int argc, char **argv) {
    auto context = std::make_unique<VerilatedContext>();
    context->commandArgs(argc, argv);
    auto bench = std::make_unique<Vframe_bench>(context.get());

    IData *const inputs[] = {&bench->frames,      &bench->traced_frames, &bench->layers,  &bench->single,
                             &bench->burst_begin, &bench->burst_stay,    &bench->patience};
    std::vector<uint32_t> numbers;
    for (int i = 1; i < argc; ++i)
        if (argv[i][0] != '+') numbers.push_back(static_cast<uint32_t>(std::strtoul(argv[i], nullptr, 10)));
    constexpr size_t COUNT = std::size(inputs);
    if (numbers.size() < COUNT || numbers.size() % 2 != 0) return 2;
    const size_t streams = (numbers.size() - COUNT - 1) / 2;
    for (size_t i = 0; i < COUNT; ++i) *inputs[i] = numbers[i];
    for (size_t i = 0; i < streams; ++i) bench->packed_words[i] = numbers[COUNT + i];
    for (size_t i = 0; i <= streams; ++i) bench->packed_seeds[i] = numbers[COUNT + streams + i];

    for (int cycle = 0; cycle < 8 || !bench->finished; ++cycle) {  // before the reset it is random
        bench->rst = cycle < 4;
        for (int clk : {0, 1}) {
            bench->clk = clk;
            bench->eval();
            context->timeInc(1);
        }
        if (context->gotFinish()) return 3;
    }
    bench->final();

    for (IData output : {IData(bench->hung), IData(bench->busy_after_last), bench->frame, bench->cycle,
                         bench->layers_begun, bench->layers_completed, IData(bench->offered),
                         bench->result_broken, bench->trace_broken})
        std::printf("%u ", output);
    for (size_t i = 0; i < streams; ++i) std::printf("%u ", bench->packed_passed[i]);
}
