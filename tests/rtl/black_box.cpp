// The engine as a black box between FIFOs, as Vitis HLS builds them around it: first-word-fall-through, with random
// gaps, and a clock enable that falls at random.
//
//   black_box SEED FRAMES GAP FOLDER    reads FOLDER/<input>.bin, writes FOLDER/<output>.bin, prints the cycles
//
// ports.h lists the ports of each FIFO, from blackbox.json. GAP is the percentage of cycles in which a FIFO has nothing new, in which it is full, and in which ap_ce is 0.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "Vqvit_engine_rtl.h"
#include "ports.h"
#include "verilated.h"

static Vqvit_engine_rtl top;
static std::mt19937 generator;
static unsigned gap;

static bool skips() { return generator() % 100 < gap; }

static void fail(const std::string &what, const char *stream) {
    std::fprintf(stderr, "%s: %s\n", stream, what.c_str());
    std::exit(1);
}

// One FIFO that the black box reads; `data`, `empty_n` and `read` are its ports.
struct Source {
    const char *name;
    size_t bytes;
    void *data;
    CData *empty_n;
    const CData *read;
    std::vector<uint8_t> words;
    size_t next = 0;
    bool taken = false;

    void load(const std::string &folder) {
        const std::string path = folder + "/" + name + ".bin";
        std::FILE *file = std::fopen(path.c_str(), "rb");
        if (file == nullptr) fail("cannot be read", path.c_str());
        uint8_t byte;
        while (std::fread(&byte, 1, 1, file) == 1) words.push_back(byte);
        std::fclose(file);
    }
    void show() {
        // A word that was there stays until it is read.
        if (*empty_n == 0 && next < words.size() && !skips()) *empty_n = 1;
        if (*empty_n) std::memcpy(data, words.data() + next, bytes);
    }
    void before_edge() {
        taken = *read;
        if (taken && !*empty_n) fail("read while empty", name);
        if (taken && !top.ap_ce) fail("read without ap_ce", name);
    }
    void after_edge() {
        if (!taken) return;
        next += bytes;
        *empty_n = next < words.size() && !skips();
    }
};

// One that it writes.
struct Sink {
    const char *name;
    size_t bytes;
    const SData *data;
    CData *full_n;
    const CData *write;
    std::vector<uint16_t> words;

    void show() { *full_n = !skips(); }
    void before_edge() {
        if (!*write) return;
        if (!*full_n) fail("written while full", name);
        if (!top.ap_ce) fail("written without ap_ce", name);
        words.push_back(*data);
    }
    void save(const std::string &folder) const {
        const std::string path = folder + "/" + name + ".bin";
        std::FILE *file = std::fopen(path.c_str(), "wb");
        std::fwrite(words.data(), 2, words.size(), file);
        std::fclose(file);
    }
};

static Source sources[] = {SOURCES};
static Sink sinks[] = {SINKS};

int main(int, char **argv) {
    generator.seed(std::atoi(argv[1]));
    const int frames = std::atoi(argv[2]);
    gap = std::atoi(argv[3]);
    for (Source &source : sources) source.load(argv[4]);
    int started = 0, done = 0;
    bool held = false;
    top.ap_rst = 1;
    for (long cycle = 0; done < frames; ++cycle) {
        if (cycle == 200'000) fail("no end of the frames", "ap_done");
        top.ap_ce = !skips();
        top.ap_start = cycle >= 4 && started < frames;
        top.ap_continue = !skips();
        for (Source &source : sources) source.show();
        for (Sink &sink : sinks) sink.show();
        top.eval();
        if (cycle >= 4) {
            if (held && !top.ap_done) fail("fell before ap_continue", "ap_done");
            held = top.ap_done && !(top.ap_continue && top.ap_ce);
            if (top.ap_ready && !(top.ap_start && top.ap_ce)) fail("without ap_start and ap_ce", "ap_ready");
            if (top.ap_idle && top.ap_start) fail("while a frame is asked for", "ap_idle");
            started += top.ap_ready;
            done += top.ap_done && top.ap_continue && top.ap_ce;
            for (Source &source : sources) source.before_edge();
            for (Sink &sink : sinks) sink.before_edge();
        }
        top.ap_clk = 1;
        top.eval();
        top.ap_clk = 0;
        top.eval();
        for (Source &source : sources) source.after_edge();
        if (cycle == 3) top.ap_rst = 0;
        if (done == frames) std::printf("%ld\n", cycle);
    }
    if (started != frames) fail("of another number of frames", "ap_ready");
    for (Source &source : sources) {
        if (source.next != source.words.size()) fail("not read to its end", source.name);
    }
    for (Sink &sink : sinks) sink.save(argv[4]);
    return 0;
}
