// Testbench: runs frames through the accelerator's top function.
//
//   testbench DATA IMAGES TRACE COUNT        run COUNT frames and write every layer's result to TRACE
//   testbench DATA IMAGES - COUNT EXPECTED   run COUNT frames and compare the logits with EXPECTED
//
// DATA holds frame.bin, program.bin and weights<port>.bin. IMAGES holds int8 codes, TRACE and EXPECTED
// int16. Where the accelerator can, two frames of three take the next one's image, so that every frame but each third
// finds its own on chip. Exit status: 0 done (and equal), 1 different, 2 a file is missing or too short.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "top.hpp"

namespace {

template <class T> std::vector<T> read_file(const std::string &path, size_t count) {
    std::vector<T> data(count);
    FILE *file = std::fopen(path.c_str(), "rb");
    const size_t got = file != nullptr ? std::fread(data.data(), sizeof(T), count, file) : 0;
    if (file != nullptr) std::fclose(file);
    if (got != count) {
        std::fprintf(stderr, "%s: expected %zu values of %zu bytes, found %zu\n", path.c_str(), count, sizeof(T), got);
        std::exit(2);
    }
    return data;
}

std::vector<qvit::word_t> to_words(const std::vector<uint8_t> &bytes, size_t depth) {
    std::vector<qvit::word_t> words(std::max((bytes.size() + 15) / 16, depth));
    for (size_t i = 0; i < bytes.size(); i += 8) {
        uint64_t part = 0;
        for (size_t j = 0; j < 8 && i + j < bytes.size(); ++j) part |= static_cast<uint64_t>(bytes[i + j]) << (8 * j);
        if (i % 16 == 0)
            words[i / 16].range(63, 0) = part;
        else
            words[i / 16].range(127, 64) = part;
    }
    return words;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 5) {
        std::fprintf(stderr, "usage: %s DATA IMAGES TRACE COUNT | DATA IMAGES - COUNT EXPECTED\n", argv[0]);
        return 2;
    }
    const std::string data = argv[1];
    const size_t count = static_cast<size_t>(std::atol(argv[4]));
    const bool tracing = std::strcmp(argv[3], "-") != 0;

    const std::vector<uint32_t> frame = read_file<uint32_t>(data + "/frame.bin", 8);
    const uint32_t layers = frame[0], beats = frame[1], image_bytes = frame[2], classes = frame[3], trace_words = frame[4];
    std::vector<uint32_t> program = read_file<uint32_t>(data + "/program.bin", static_cast<size_t>(layers) * 32);
    program.resize(std::max(program.size(), PROGRAM_DEPTH));
    std::vector<std::vector<qvit::word_t> > weights;
    std::vector<const qvit::word_t *> ports;
    for (int p = 0; p < WEIGHT_PORTS; ++p) {
        const std::string path = data + "/weights" + std::to_string(p) + ".bin";
        weights.push_back(to_words(read_file<uint8_t>(path, static_cast<size_t>(beats) * 16), WEIGHTS_DEPTH));
    }
    for (int p = 0; p < WEIGHT_PORTS; ++p) ports.push_back(weights[p].data());
    const std::vector<uint8_t> codes = read_file<uint8_t>(argv[2], count * image_bytes);
    std::vector<std::vector<qvit::word_t> > images;
    for (size_t i = 0; i < count; ++i) {
        const auto first = codes.begin() + i * image_bytes;
        images.push_back(to_words(std::vector<uint8_t>(first, first + image_bytes), IMAGE_DEPTH));
    }
    const uint32_t image_words = (image_bytes + 15) / 16;
    std::vector<int16_t> expected;
    if (argc > 5) expected = read_file<int16_t>(argv[5], count * classes);

    std::vector<int16_t> result(std::max<size_t>(classes, RESULT_DEPTH)), trace(tracing ? trace_words : 1);
    FILE *out = tracing ? std::fopen(argv[3], "wb") : nullptr;
    if (tracing && out == nullptr) {
        std::fprintf(stderr, "%s: cannot be written\n", argv[3]);
        return 2;
    }
    int status = 0;
    bool loaded = false;
    for (size_t i = 0; i < count; ++i) {
        const bool follows = IMAGE_AHEAD && i % 3 != 2 && i + 1 < count;
        run_frame(program.data(), layers, ports.data(), beats, images[i].data(), loaded ? 0 : image_words,
                  images[std::min(i + 1, count - 1)].data(), follows ? image_words : 0, result.data(), classes,
                  trace.data(), tracing ? trace_words : 0);
        loaded = follows;
        // The trace as the accelerator wrote it, and behind it the logits.
        if (tracing && (std::fwrite(trace.data(), 2, trace.size(), out) != trace.size() ||
                        std::fwrite(result.data(), 2, classes, out) != classes)) {
            std::fprintf(stderr, "%s: cannot be written\n", argv[3]);
            return 2;
        }
        for (size_t c = 0; c < classes && !expected.empty(); ++c) {
            if (result[c] != expected[i * classes + c]) {
                std::fprintf(stderr, "image %zu, logit %zu: expected %d, got %d\n", i, c, expected[i * classes + c],
                             result[c]);
                status = 1;
            }
        }
        std::printf("%zu\n", i + 1);  // progress
        std::fflush(stdout);
    }
    if (out != nullptr) std::fclose(out);
    if (!expected.empty()) std::fprintf(stderr, "%zu frames, logits %s\n", count, status == 0 ? "equal" : "DIFFER");
    return status;
}
