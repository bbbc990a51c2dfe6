// The processes between memory ports and the engine's streams; each runs beside the engine.
#pragma once

#include "types.hpp"

namespace qvit {

// Copy one port's memory, `units` times UNIT elements, into its stream, in one burst that runs ahead of the engine.
template <int UNIT, class T> inline void fetch(const T *port, uint32_t units, hls::stream<T> &stream) {
#pragma HLS INLINE off
    const uint32_t elements = units * UNIT;
fetch_element:
    for (uint32_t i = 0; i < elements; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=1024 max=1048576
#pragma HLS PIPELINE II=1
        stream.write(port[i]);
    }
}

// Copy a frame's image, and behind it the next frame's, into the image stream; either may have no words. One process
// does both, so that both share a memory port.
template <class T>
inline void fetch_images(const T *image, uint32_t image_words, const T *next_image, uint32_t next_image_words,
                         hls::stream<T> &stream) {
#pragma HLS INLINE off
image_word:
    for (uint32_t i = 0; i < image_words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=0 max=65536
#pragma HLS PIPELINE II=1
        stream.write(image[i]);
    }
next_image_word:
    for (uint32_t i = 0; i < next_image_words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=0 max=65536
#pragma HLS PIPELINE II=1
        stream.write(next_image[i]);
    }
}

// A frame's numbers as a word of a stream, for an engine that takes no scalars: layers in the low half; above them
// whether there is a trace, whether the image is on chip already, and whether the next frame's image follows.
inline void announce_frame(uint32_t layers, uint32_t image_words, uint32_t next_image_words, uint32_t trace_words,
                           hls::stream<uint64_t> &frame) {
#pragma HLS INLINE off
    uint64_t numbers = layers;
    if (trace_words != 0) numbers |= static_cast<uint64_t>(1) << 32;
    if (image_words == 0) numbers |= static_cast<uint64_t>(1) << 33;
    if (next_image_words != 0) numbers |= static_cast<uint64_t>(1) << 34;
    frame.write(numbers);
}

// Copy the engine's results to memory: first the trace, then the logits, which come last. One process does both, so
// that both can share a memory port.
inline void store(hls::stream<int16_t> &trace_stream, int16_t *trace, uint32_t trace_words,
                  hls::stream<int16_t> &result_stream, int16_t *result, uint32_t result_words) {
#pragma HLS INLINE off
store_trace_word:
    for (uint32_t i = 0; i < trace_words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=0 max=16777216
#pragma HLS PIPELINE II=1
        trace[i] = trace_stream.read();
    }
store_result_word:
    for (uint32_t i = 0; i < result_words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=10 max=1000
#pragma HLS PIPELINE II=1
        result[i] = result_stream.read();
    }
}

}  // namespace qvit
